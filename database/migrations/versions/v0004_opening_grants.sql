-- Opening an account through which money enters, or one that may go below zero, needs a grant.

ALTER TYPE ledger.grant_action ADD VALUE 'OPEN_EXTERNAL';
ALTER TYPE ledger.grant_action ADD VALUE 'SET_OVERDRAFT';
