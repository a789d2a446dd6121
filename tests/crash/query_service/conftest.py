"""The query service of the integration tests, on the stack that these tests disturb."""

from tests.integration.query_service.conftest import (
    connect,
    era,
    index,
    ledger,
    ledger_database,
    settings,
    target,
)

__all__ = ["connect", "era", "index", "ledger", "ledger_database", "settings", "target"]
