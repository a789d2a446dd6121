ALTER TABLE ledger.transfers VALIDATE CONSTRAINT transfers_first_bound;
ALTER TABLE ledger.transfers VALIDATE CONSTRAINT transfers_legs;
ALTER TABLE ledger.transfers VALIDATE CONSTRAINT transfers_child;
ALTER TABLE ledger.transfers VALIDATE CONSTRAINT transfers_extras;
