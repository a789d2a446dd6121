-- The methods of authorizations hold for every row, those from before devices too.

ALTER TABLE signing.authorizations VALIDATE CONSTRAINT authorizations_method_check;
