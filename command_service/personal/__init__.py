"""Personal data on its way into the ledger and out again."""
