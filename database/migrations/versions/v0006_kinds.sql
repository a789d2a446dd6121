-- Holds and what follows a transfer: captures, releases, refunds, reversals; fees and settlement.

ALTER TYPE ledger.transfer_kind ADD VALUE 'HOLD';
ALTER TYPE ledger.transfer_kind ADD VALUE 'CAPTURE';
ALTER TYPE ledger.transfer_kind ADD VALUE 'RELEASE';
ALTER TYPE ledger.transfer_kind ADD VALUE 'REFUND';
ALTER TYPE ledger.transfer_kind ADD VALUE 'REVERSAL';
ALTER TYPE ledger.transfer_kind ADD VALUE 'FEE';
ALTER TYPE ledger.transfer_kind ADD VALUE 'NET_SETTLEMENT';

ALTER TYPE ledger.grant_action ADD VALUE 'HOLD';
ALTER TYPE ledger.grant_action ADD VALUE 'CAPTURE';
ALTER TYPE ledger.grant_action ADD VALUE 'RELEASE';
ALTER TYPE ledger.grant_action ADD VALUE 'REFUND';
ALTER TYPE ledger.grant_action ADD VALUE 'REVERSAL';
ALTER TYPE ledger.grant_action ADD VALUE 'FEE';
ALTER TYPE ledger.grant_action ADD VALUE 'NET_SETTLEMENT';
ALTER TYPE ledger.grant_action ADD VALUE 'REVIEW';
ALTER TYPE ledger.grant_action ADD VALUE 'LINK_IDENTIFIER';

ALTER TYPE ledger.outcome_kind ADD VALUE 'GROUP';
ALTER TYPE ledger.outcome_kind ADD VALUE 'ACCOUNT_LIMIT';
ALTER TYPE ledger.outcome_kind ADD VALUE 'ACCOUNT_IDENTIFIER';

CREATE TYPE ledger.transfer_state AS ENUM (
  'POSTED', 'FAILED', 'HELD', 'PARTIALLY_CAPTURED', 'CAPTURED', 'RELEASED', 'EXPIRED',
  'PARTIALLY_REFUNDED', 'REFUNDED', 'REVERSED', 'ROLLED_BACK');
