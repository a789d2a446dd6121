"""What goes wrong with a job itself, as against what paycore refuses."""


class UsageError(Exception):
    """What was asked for makes no sense; the message says how to right it."""


class UnavailableError(Exception):
    """A server that the job needs cannot be reached."""
