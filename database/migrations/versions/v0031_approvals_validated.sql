-- Looks at every row without a lock that stops its readers or writers.
ALTER TABLE ledger.authorizations VALIDATE CONSTRAINT authorizations_of_one;
