ALTER TABLE ledger.transfers VALIDATE CONSTRAINT transfers_first_bound;
