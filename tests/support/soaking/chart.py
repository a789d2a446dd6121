"""A soak as one picture: what callers saw, how far copies were behind, what processes had."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import cycle, pairwise
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from tests.support.soaking.pace import Seen, windows
from tests.support.soaking.samples import Needs, Samples, Scrape
from tests.support.soaking.soak import Run

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
"""Okabe and Ito's: told apart by those who see colours otherwise, too."""

STYLES = ("-", "--", ":", "-.")
"""Lines that cross are told apart where the picture is grey, too."""

WIDE, HIGH = 11.0, 18.0
DOTS = 100
WINDOWS = 40
"""Stretches of the time in which percentiles are taken."""

LEAST_WINDOW_S = 5.0
MIB = 2**20
GROUPS = {
    "single payments": ("single",),
    "bulk, groups, streams": ("bulk", "group", "stream"),
    "holds and what follows": ("hold", "capture", "release", "refund", "reversal"),
    "approved by PIN or device": ("by PIN", "by device"),
    "history and balances": ("balance", "transfer", "list", "statement"),
    "searches and analytics": ("search", "analytics"),
}


def draw(run: Run, path: Path, title: str) -> None:
    """Write the picture of `run` to `path`, as PNG."""
    figure = Figure(figsize=(WIDE, HIGH), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    panels = figure.subplots(7, 1, sharex=True, height_ratios=(1.4, 0.7, 1.0, 1.2, 0.8, 1.0, 0.8))
    latency, rate, lag, *needs, last = panels
    figure.suptitle(title, fontsize=13)
    every_s = max(LEAST_WINDOW_S, run.seconds / WINDOWS)
    _latency(latency, run, every_s)
    _rate(rate, run, every_s)
    _lag(lag, run.samples.scrapes, run.seconds)
    services = _services(run.samples, run.seconds)
    stores = run.samples.of_stores()
    _needs(needs[0], services, _mib, "Resident memory of the services", "MiB")
    _needs(needs[1], stores, _mib, "Resident memory of the stores, each as a whole", "MiB")
    _needs(needs[2], services, _files, "Open files and sockets of the services", "descriptors")
    _needs(last, stores, _files, "Open files and sockets of the stores", "descriptors")
    last.set_xlabel("minutes since the load began")
    for axes in panels:
        axes.set_xlim(0, run.seconds / 60)
        axes.grid(visible=True, alpha=0.3)
        axes.title.set_fontsize(11)
        axes.title.set_horizontalalignment("left")
        axes.title.set_position((0.0, 1.0))
        axes.spines[["top", "right"]].set_visible(False)
    canvas.print_figure(path, dpi=DOTS, metadata={"Software": None})


def _latency(axes: Axes, run: Run, every_s: float) -> None:
    styles = _styles()
    for name, kinds in GROUPS.items():
        calls = [one for one in run.measured.calls if one.kind in kinds]
        _percentile(axes, calls, every_s, name, next(styles))
    _percentile(axes, run.watched.heard, every_s, "heard by watchers", next(styles))
    _logarithmic(axes)
    axes.set_title(f"Latency from the due time: 99% of {every_s:g} s stayed within")
    axes.set_ylabel("milliseconds, log scale")
    _legend(axes)


def _percentile(
    axes: Axes, calls: Sequence[Seen], every_s: float, name: str, style: tuple[str, str]
) -> None:
    found = [one for one in windows(calls, every_s) if one.calls > one.troubled]
    axes.plot(
        [(one.from_s + every_s / 2) / 60 for one in found],
        [one.p99_s * 1_000 for one in found],
        style[1],
        color=style[0],
        label=name,
        linewidth=1.4,
    )


def _rate(axes: Axes, run: Run, every_s: float) -> None:
    found = windows(run.measured.calls, every_s)
    minutes = [(one.from_s + every_s / 2) / 60 for one in found]
    answered = [(one.calls - one.troubled) / every_s for one in found]
    troubled = [one.troubled / every_s for one in found]
    axes.plot(minutes, answered, color=COLOURS[0], label="answered", linewidth=1.4)
    axes.plot(minutes, troubled, "--", color=COLOURS[1], label="not answered", linewidth=1.4)
    axes.set_ylim(bottom=0)
    axes.set_title("Calls, of the mix, by when they were due")
    axes.set_ylabel("calls per second")
    _legend(axes)


def _lag(axes: Axes, scrapes: Sequence[Scrape], seconds: float) -> None:
    styles = _styles()
    least_s = max(LEAST_WINDOW_S, seconds / WINDOWS)
    some = [scrapes[0]]
    for one in scrapes[1:]:
        if one.at_s - some[-1].at_s >= least_s:
            some.append(one)
    for sink in sorted({sink for one in scrapes for sink in one.lag}):
        points = [
            (now.at_s / 60, within_s)
            for before, now in pairwise(some)
            if sink in now.lag
            and (within_s := now.lag[sink].since(before.lag.get(sink)).within_s(99)) is not None
        ]
        colour, style = next(styles)
        axes.plot(
            [at for at, _ in points],
            [value for _, value in points],
            style,
            color=colour,
            label=sink,
            drawstyle="steps-pre",
            linewidth=1.4,
        )
    _logarithmic(axes)
    axes.set_title("From the ledger to a sink's readers: 99% stayed within (bounds of a histogram)")
    axes.set_ylabel("seconds, log scale")
    _legend(axes)


def _mib(needs: Needs) -> float:
    return needs.resident / MIB


def _files(needs: Needs) -> float:
    return needs.descriptors


def _services(samples: Samples, seconds: float) -> dict[str, Sequence[Needs]]:
    """Processes that were there for a while, numbered within their service."""
    found: dict[str, Sequence[Needs]] = {}
    numbers: Counter[str] = Counter()
    for (part, _), seen in samples.of_service():
        if seen[-1].at_s - seen[0].at_s >= seconds / 10:
            numbers[part] += 1
            found[f"{part} {numbers[part]}"] = seen
    return found


def _needs(
    axes: Axes,
    lines: Mapping[str, Sequence[Needs]],
    of: Callable[[Needs], float],
    title: str,
    unit: str,
) -> None:
    styles = _styles()
    for name, seen in lines.items():
        _line(axes, seen, of, name, next(styles))
    # From zero: growth is then seen as what it is.
    axes.set_ylim(bottom=0)
    axes.set_title(title)
    axes.set_ylabel(unit)
    _legend(axes)


def _line(
    axes: Axes,
    seen: Sequence[Needs],
    of: Callable[[Needs], float],
    name: str,
    style: tuple[str, str],
) -> None:
    axes.plot(
        [one.at_s / 60 for one in seen],
        [of(one) for one in seen],
        style[1],
        color=style[0],
        label=name,
        linewidth=1.4,
    )


def _logarithmic(axes: Axes) -> None:
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())


def _styles() -> Iterator[tuple[str, str]]:
    """A colour and a style for each line; neighbours differ in both."""
    return zip(cycle(COLOURS), cycle(STYLES))


def _legend(axes: Axes) -> None:
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=9)
