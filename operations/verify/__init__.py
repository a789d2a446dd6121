"""Proof that the ledger is whole, and that the index says the same."""

from operations.verify.index import IndexAddress
from operations.verify.report import Check, Report
from operations.verify.verify import verify_ledger

__all__ = ["Check", "IndexAddress", "Report", "verify_ledger"]
