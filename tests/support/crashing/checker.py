"""Whether what clients were told and what the tables hold go together.

Independent of the engine: it knows only the history of the clients and the rows. Every command of
the load carries its key as its reference too, so that a second effect of one request is found even
where it has another key, or none.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from tests.support.crashing.chains import chain_breaches
from tests.support.crashing.families import family_breaches
from tests.support.crashing.history import History, Operation, Reply, Told, Verdict
from tests.support.crashing.tables import Decline, Tables, Transfer


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found: nothing, if all is well."""

    lost: tuple[str, ...]
    """Acknowledged, and not in the tables."""
    doubled: tuple[str, ...]
    """Done more than once."""
    other: tuple[str, ...]

    @property
    def all(self) -> tuple[str, ...]:
        return (*self.lost, *self.doubled, *self.other)


class Effects:
    """What the tables hold of each request, by its reference."""

    def __init__(self, tables: Tables, before: Collection[int]) -> None:
        """`before` are transfers that were there before the first request of the history."""
        self.transfers: dict[str, list[Transfer]] = defaultdict(list)
        self.declines: dict[str, list[Decline]] = defaultdict(list)
        for transfer in tables.transfers:
            if transfer.id not in before:
                self.transfers[transfer.reference or ""].append(transfer)
        for decline in tables.declines:
            self.declines[decline.reference or ""].append(decline)


def check(history: History, tables: Tables, before: Collection[int] = ()) -> Findings:
    """Hold `history` against `tables`; see `Effects` for `before`."""
    effects = Effects(tables, before)
    return Findings(
        lost=tuple(_lost(history, effects)),
        doubled=tuple(_doubled(history, effects)),
        other=(
            *_unforeseen(history),
            *_invented(history, effects),
            *_otherwise(history, effects),
            *_unheard(history, effects),
            *_replays(history),
            *_keys(history, tables),
            *chain_breaches(tables),
            *family_breaches(tables),
            *_journal(tables),
        ),
    )


def _lost(history: History, effects: Effects) -> Iterator[str]:
    for operation in history:
        if (posted := operation.posted) is not None:
            there = {row.id for row in effects.transfers[operation.key]}
            for told in posted.transfers:
                if told.id not in there:
                    yield f"{_name(operation)}: told of transfer {told.id}, which is not there"
            if not posted.transfers:
                yield f"{_name(operation)}: told that it is posted, and of no transfer"
        elif (declined := operation.declined) is not None and not any(
            row.id == declined.decline for row in effects.declines[operation.key]
        ):
            yield f"{_name(operation)}: told of decline {declined.decline}, which is not there"


def _doubled(history: History, effects: Effects) -> Iterator[str]:
    for operation in history:
        rows = effects.transfers[operation.key]
        declines = effects.declines[operation.key]
        if len(rows) > len(operation.legs):
            ids = [row.id for row in rows]
            yield f"{_name(operation)}: asked for {len(operation.legs)} transfers, has {ids}"
        elif rows and declines:
            yield f"{_name(operation)}: posted as {rows[0].id} and declined as {declines[0].id}"
        elif len(declines) > 1:
            yield f"{_name(operation)}: declined {len(declines)} times"
        elif 0 < len(rows) < len(operation.legs):
            yield f"{_name(operation)}: {len(rows)} of its {len(operation.legs)} are posted"


def _unforeseen(history: History) -> Iterator[str]:
    for operation in history:
        if any(reply.reason == "INTERNAL" for reply in operation.replies):
            yield f"{_name(operation)}: met what the service had not foreseen"


def _invented(history: History, effects: Effects) -> Iterator[str]:
    asked = {operation.key for operation in history}
    for found in (effects.transfers, effects.declines):
        for reference, rows in found.items():
            if rows and reference not in asked:
                yield f"{rows[0].id} has reference {reference!r}, which nobody asked for"


def _otherwise(history: History, effects: Effects) -> Iterator[str]:
    """What was told, or done, is not what was asked, or what the row says."""
    for operation in history:
        rows = sorted(effects.transfers[operation.key], key=lambda row: row.id)
        for leg, row in zip(operation.legs, rows, strict=False):
            if (
                row.kind != leg.kind
                or row.client != operation.client
                or row.currency != leg.currency
                or (leg.amount is not None and row.amount != leg.amount)
                or (leg.debit and (row.debit, row.credit) != (leg.debit, leg.credit))
                or (operation.parent or None) != row.parent
            ):
                yield f"{_name(operation)}: asked for {leg}, transfer {row.id} is another"
        by_id = {row.id: row for row in rows}
        for reply in operation.replies:
            if reply.verdict is Verdict.POSTED:
                for told in reply.transfers:
                    if told.id in by_id and told != as_told(by_id[told.id]):
                        yield (
                            f"{_name(operation)}: told {told}, the row is {as_told(by_id[told.id])}"
                        )
            elif reply.verdict is Verdict.DECLINED:
                for decline in effects.declines[operation.key]:
                    if decline.id == reply.decline and decline.reason != reply.reason:
                        yield f"{_name(operation)}: told {reply.reason}, stored {decline.reason}"
        if (
            operation.answer is None
            and not operation.unheard
            and (rows or _declined(operation, effects))
        ):
            yield f"{_name(operation)}: every attempt was refused, and it has an outcome"


def _declined(operation: Operation, effects: Effects) -> bool:
    return bool(effects.declines[operation.key])


def _unheard(history: History, effects: Effects) -> Iterator[str]:
    """A look-up by key finds what is there, and nothing else."""
    for operation in history:
        found = operation.looked_up
        if found is None:
            if operation.unheard:
                yield f"{_name(operation)}: nobody knows what became of it"
            continue
        rows = effects.transfers[operation.key]
        declines = effects.declines[operation.key]
        there = {row.id for row in rows} or {row.id for row in declines}
        told = {one.id for one in found.transfers} | ({found.decline} if found.decline else set())
        if there != told:
            yield f"{_name(operation)}: the look-up finds {sorted(told)}, there is {sorted(there)}"
        by_id = {row.id: as_told(row) for row in rows}
        if any(by_id.get(one.id, one) != one for one in found.transfers):
            yield f"{_name(operation)}: the look-up shows other figures than the row"


def _replays(history: History) -> Iterator[str]:
    for operation in history:
        answers = [reply for reply in operation.replies if _is_answer(reply)]
        if len({(reply.verdict, reply.body) for reply in answers}) > 1:
            yield f"{_name(operation)}: {len(answers)} replies, which are not equal"
        firsts = sum(not reply.replayed for reply in answers)
        if firsts > 1:
            yield f"{_name(operation)}: {firsts} replies say that they are the first"


def _is_answer(reply: Reply) -> bool:
    return reply.verdict in (Verdict.POSTED, Verdict.DECLINED)


def _keys(history: History, tables: Tables) -> Iterator[str]:
    """A key has the outcome that was told, and no outcome has two keys."""
    stored = {(key.client, key.key): key for key in tables.keys}
    for operation in history:
        answer = operation.answer
        if answer is None:
            continue
        key = stored.get((operation.client, operation.key))
        if key is None:
            yield f"{_name(operation)}: its key is not stored"
        elif key.outcome_id != _outcome_id(operation, answer):
            yield f"{_name(operation)}: its key leads to {key.outcome} {key.outcome_id}"
    for (client, name), times in Counter((key.client, key.key) for key in tables.keys).items():
        if times > 1:
            yield f"key {name} of {client} is stored {times} times"
    for outcome, times in Counter(key.outcome_id for key in tables.keys).items():
        if times > 1:
            yield f"outcome {outcome} has {times} keys"


def _outcome_id(operation: Operation, answer: Reply) -> int:
    if answer.verdict is Verdict.DECLINED:
        return answer.decline
    first = answer.transfers[0] if answer.transfers else None
    if first is None:
        return 0
    return first.group if operation.command == "GROUP" else first.id


def _journal(tables: Tables) -> Iterator[str]:
    """Every transfer and every decline is told once."""
    told = Counter(one for row in tables.journal for one in (*row.transfers, *row.declines))
    there = {row.id for row in tables.transfers} | {row.id for row in tables.declines}
    for one, times in told.items():
        if times > 1:
            yield f"the journal tells {times} times of {one}"
        if one not in there:
            yield f"the journal tells of {one}, which is not there"
    for one in sorted(there - told.keys()):
        yield f"the journal does not tell of {one}"


def as_told(row: Transfer) -> Told:
    """How a reply shows `row` to a client that may read both accounts."""
    return Told(
        id=row.id,
        kind=row.kind,
        debit=row.debit,
        credit=row.credit,
        amount=row.amount,
        currency=row.currency,
        client=row.client,
        reference=row.reference or "",
        debit_version=row.debit_version,
        credit_version=row.credit_version or 0,
        debit_balance=row.debit_balance,
        credit_balance=row.credit_balance,
        held=row.held,
        created_at_us=row.created_at_us,
        parent=row.parent or 0,
        parent_sequence=row.parent_sequence or 0,
        parent_remaining=row.parent_remaining,
        parent_state=row.parent_state or "",
        released=row.released,
        group=row.group or 0,
        step_up=row.step_up,
    )


def _name(operation: Operation) -> str:
    return f"{operation.command} {operation.key} of {operation.client}"
