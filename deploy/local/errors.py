"""What can go wrong with the local stack. Every message says what to do next."""

from pathlib import Path


class StackError(Exception):
    """The base of every failure of the local stack."""


class StateInUseError(StackError):
    """Another supervisor, still alive, owns the state folder."""

    def __init__(self, root: Path, pid: int) -> None:
        super().__init__(
            f"the stack in {root} is already run by process {pid}: stop that one first"
            f" (Ctrl-C there, or `python -m deploy.local down --state {root}`),"
            " or choose another folder with --state"
        )
        self.root = root
        self.pid = pid


class StateUnreadableError(StackError):
    """A file of the state folder is missing or is not what the stack wrote."""


class PartStartError(StackError):
    """A part did not become ready.

    Carries the tail of the part's log, since that is where its own reason stands.
    """

    def __init__(self, name: str, reason: str, log: Path, tail: str) -> None:
        text = f"{name} did not start: {reason}"
        if tail:
            text += f"\n--- end of {log}\n{tail}"
        super().__init__(text)
        self.name = name
        self.reason = reason
        self.log = log


class StartCancelledError(StackError):
    """The start was given up because the stack was told to stop."""


class UnknownPartError(StackError):
    """A part was named that this stack does not run."""

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        super().__init__(f"no part {name!r} here; the parts are: {', '.join(known)}")


class DownloadError(StackError):
    """A part could not be fetched, or what came is not what was pinned."""


class PrivilegeError(StackError):
    """The unprivileged user for the stores is missing or cannot reach a needed folder."""


class NoFreePortError(StackError):
    """No free port was found within the bounded number of tries."""
