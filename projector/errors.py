"""Why the projector stops following, for a moment or for good."""


class EpochChangedError(Exception):
    """The ledger's history is another one than the sink was filled from: it must be rebuilt.

    Until then the sink takes nothing.
    """


class LedgerIncompleteError(Exception):
    """The journal names rows that the ledger does not have."""


class DeadLettersFullError(Exception):
    """More was refused for good than the dead letters may hold."""


class LeadershipLostError(Exception):
    """The connection that held the sink's lock is gone: another projector may lead."""


class SinkLostError(Exception):
    """What the sink had taken is gone, so that it must be filled from the beginning."""


class SinkRefusedError(Exception):
    """The sink refused a request as such, for a reason that waiting does not cure."""


class IndexUnequalError(Exception):
    """A fresh index does not hold what the ledger holds, though it was mended."""


class ChainCutError(Exception):
    """The chain of seals ends before the rows that were sealed: seals are gone."""


class UnknownSinkError(Exception):
    """The settings name a sink that there is not."""
