-- Looks at every row without a lock that stops its readers or writers.
ALTER TABLE ledger.transfer_details VALIDATE CONSTRAINT transfer_details_plain_or_sealed;
