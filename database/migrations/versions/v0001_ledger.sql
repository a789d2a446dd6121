-- The ledger: accounts, transfers with both legs in one row, idempotency keys, declines, journal.
-- Times are microseconds since 1970 (suffix _us); amounts are minor units of the row's currency.

CREATE SCHEMA ledger;

CREATE TYPE ledger.account_kind AS ENUM ('CUSTOMER', 'EXTERNAL');
CREATE TYPE ledger.account_status AS ENUM ('ACTIVE', 'FROZEN', 'CLOSED');
CREATE TYPE ledger.transfer_kind AS ENUM ('TRANSFER', 'DEPOSIT', 'WITHDRAWAL');
CREATE TYPE ledger.step_up_basis AS ENUM
  ('AUTHORIZED', 'BELOW_THRESHOLD', 'CLIENT_EXEMPT', 'NOT_APPLICABLE');
CREATE TYPE ledger.outcome_kind AS ENUM ('TRANSFER', 'DECLINE', 'ACCOUNT', 'ACCOUNT_STATUS');

-- Which history the positions of this cluster belong to. Raised when a cluster is restored or
-- replaced: readers then rebuild.
CREATE TABLE ledger.epoch (
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  epoch    bigint  NOT NULL CHECK (epoch > 0)
);
INSERT INTO ledger.epoch (epoch) VALUES (1);

CREATE TABLE ledger.accounts (
  id              bigint PRIMARY KEY,
  balance         bigint NOT NULL DEFAULT 0,
  held            bigint NOT NULL DEFAULT 0,
  overdraft_limit bigint NOT NULL DEFAULT 0,
  version         bigint NOT NULL DEFAULT 0,
  revision        bigint NOT NULL DEFAULT 0,
  last_entry_us   bigint NOT NULL DEFAULT 0,
  created_at_us   bigint NOT NULL,
  kind            ledger.account_kind   NOT NULL,
  status          ledger.account_status NOT NULL DEFAULT 'ACTIVE',
  currency        text NOT NULL,
  owner           text NOT NULL,
  institution     text NOT NULL,
  opened_by       text NOT NULL,
  CONSTRAINT accounts_currency_code CHECK (currency ~ '^[A-Z]{3}$'),
  CONSTRAINT accounts_held_not_negative CHECK (held >= 0),
  CONSTRAINT accounts_limit_not_negative CHECK (overdraft_limit >= 0),
  CONSTRAINT accounts_version_not_negative CHECK (version >= 0 AND revision >= 0),
  CONSTRAINT accounts_floor CHECK (kind = 'EXTERNAL' OR balance - held >= -overdraft_limit),
  CONSTRAINT accounts_closed_empty CHECK (status <> 'CLOSED' OR (balance = 0 AND held = 0)),
  CONSTRAINT accounts_names_bounded CHECK (
    length(owner) BETWEEN 1 AND 128 AND length(institution) BETWEEN 1 AND 64
    AND length(opened_by) BETWEEN 1 AND 128)
) WITH (fillfactor = 50);
COMMENT ON COLUMN ledger.accounts.version IS 'Number of entries on the account, gap-free from 1.';
COMMENT ON COLUMN ledger.accounts.revision IS 'Raised by each change that is not an entry.';

CREATE TABLE ledger.transfers (
  id                   bigint PRIMARY KEY,
  debit_account        bigint NOT NULL,
  credit_account       bigint NOT NULL,
  amount               bigint NOT NULL,
  debit_version        bigint NOT NULL,
  credit_version       bigint NOT NULL,
  debit_balance_after  bigint NOT NULL,
  credit_balance_after bigint NOT NULL,
  debit_held_after     bigint NOT NULL,
  created_at_us        bigint NOT NULL,
  effective_at_us      bigint,
  authorization_id     bigint,
  kind                 ledger.transfer_kind NOT NULL,
  step_up              ledger.step_up_basis NOT NULL,
  currency             text NOT NULL,
  client               text NOT NULL,
  reference            text,
  details_hash         bytea,
  CONSTRAINT transfers_amount_positive CHECK (amount > 0),
  CONSTRAINT transfers_two_accounts CHECK (debit_account <> credit_account),
  CONSTRAINT transfers_versions_positive CHECK (debit_version > 0 AND credit_version > 0),
  CONSTRAINT transfers_authorized CHECK ((step_up = 'AUTHORIZED') = (authorization_id IS NOT NULL))
);
CREATE UNIQUE INDEX transfers_debit_entry ON ledger.transfers (debit_account, debit_version);
CREATE UNIQUE INDEX transfers_credit_entry ON ledger.transfers (credit_account, credit_version);
CREATE INDEX transfers_reference ON ledger.transfers (client, reference, id)
  WHERE reference IS NOT NULL;
COMMENT ON COLUMN ledger.transfers.details_hash IS
  'Keyed hash of the row''s personal data in transfer_details, which may be erased.';

-- Refusals that the ledger remembers: the same key gets the same refusal again.
CREATE TABLE ledger.declines (
  id             bigint PRIMARY KEY,
  debit_account  bigint NOT NULL,
  credit_account bigint NOT NULL,
  amount         bigint NOT NULL CHECK (amount > 0),
  created_at_us  bigint NOT NULL,
  effective_at_us bigint,
  kind           ledger.transfer_kind NOT NULL,
  currency       text NOT NULL,
  client         text NOT NULL,
  reason         text NOT NULL,
  figures        jsonb NOT NULL,
  reference      text,
  details_hash   bytea
);
CREATE INDEX declines_reference ON ledger.declines (client, reference, id)
  WHERE reference IS NOT NULL;
COMMENT ON COLUMN ledger.declines.figures IS
  'Metadata of the error: account, currency, available, requested and the like, as text.';

-- Personal data of a transfer or a decline (same id), apart so that it can be erased.
CREATE TABLE ledger.transfer_details (
  id          bigint PRIMARY KEY,
  user_id     text,
  device_id   text,
  ip_address  text,
  description text,
  metadata    jsonb
);

-- What the payer approved, as the signing service signed it. Verifiable for ever with its keys.
CREATE TABLE ledger.authorizations (
  id              bigint PRIMARY KEY,
  transfer_id     bigint NOT NULL UNIQUE,
  signed_at_us    bigint NOT NULL,
  issued_at_us    bigint NOT NULL,
  expires_at_us   bigint NOT NULL,
  user_id         text   NOT NULL,
  method          text   NOT NULL,
  client          text   NOT NULL,
  idempotency_key text   NOT NULL,
  key_id          text   NOT NULL,
  digest          bytea  NOT NULL CHECK (length(digest) = 32),
  signature       bytea  NOT NULL CHECK (length(signature) = 64)
);

CREATE TABLE ledger.idempotency_keys (
  client       text   NOT NULL CHECK (length(client) BETWEEN 1 AND 128),
  key          text   NOT NULL CHECK (length(key) BETWEEN 1 AND 128),
  journal_xid  xid8   NOT NULL DEFAULT pg_current_xact_id(),
  journal_id   bigint NOT NULL,
  outcome_id   bigint NOT NULL,
  outcome      ledger.outcome_kind NOT NULL,
  request_hash bytea  NOT NULL,
  figures      jsonb,
  PRIMARY KEY (client, key)
);
COMMENT ON COLUMN ledger.idempotency_keys.figures IS
  'An account as it stood after the command, where no immutable row tells it.';

-- One row per posting transaction, read by followers in order of (xid, id) under the watermark
-- pg_snapshot_xmin(pg_current_snapshot()).
CREATE TABLE ledger.journal (
  xid           xid8   NOT NULL DEFAULT pg_current_xact_id(),
  id            bigint NOT NULL,
  created_at_us bigint NOT NULL,
  transfers     bigint[] NOT NULL DEFAULT '{}',
  declines      bigint[] NOT NULL DEFAULT '{}',
  accounts      bigint[] NOT NULL DEFAULT '{}',
  PRIMARY KEY (xid, id)
);
COMMENT ON COLUMN ledger.journal.accounts IS
  'Accounts opened or changed otherwise than by an entry.';

-- Every change that is not itself a transfer: who, what before and after, when, from where.
CREATE TABLE ledger.audit (
  id          bigint PRIMARY KEY,
  created_at_us bigint NOT NULL,
  client      text  NOT NULL,
  action      text  NOT NULL,
  subject     text  NOT NULL,
  before      jsonb,
  after       jsonb,
  reason      text,
  user_id     text,
  device_id   text,
  ip_address  text
);

-- What a client may do with which accounts. 'READ' shows balances and history, 'SET_STATUS'
-- freezes and closes, 'STEP_UP_EXEMPT' moves money without step-up, 'ACT_FOR_USERS' has its `actor`
-- believed, and the kinds of transfer allow debits.
CREATE TYPE ledger.grant_action AS ENUM
  ('READ', 'SET_STATUS', 'STEP_UP_EXEMPT', 'ACT_FOR_USERS', 'TRANSFER', 'DEPOSIT', 'WITHDRAWAL');
CREATE TYPE ledger.grant_scope AS ENUM ('OWN', 'INSTITUTION', 'ALL');
CREATE TABLE ledger.grants (
  client      text NOT NULL,
  action      ledger.grant_action NOT NULL,
  scope       ledger.grant_scope  NOT NULL,
  institution text NOT NULL DEFAULT '',
  PRIMARY KEY (client, action, scope, institution),
  CONSTRAINT grants_institution_named CHECK ((scope = 'INSTITUTION') = (institution <> ''))
);

-- Above which amount a payment needs step-up. A currency without a row always needs it.
CREATE TABLE ledger.step_up_policies (
  currency  text PRIMARY KEY CHECK (currency ~ '^[A-Z]{3}$'),
  threshold bigint NOT NULL CHECK (threshold >= 0)
);

-- Instance numbers of Snowflake generators, leased by processes and renewed.
CREATE TABLE ledger.id_leases (
  instance   smallint PRIMARY KEY CHECK (instance BETWEEN 0 AND 1023),
  holder     uuid NOT NULL,
  expires_at timestamptz NOT NULL
);

-- Both sides of every transfer, as an account holder reads them.
CREATE VIEW ledger.entries AS
  SELECT debit_account AS account, debit_version AS version, id AS transfer,
         -amount AS change, debit_balance_after AS balance_after, currency, created_at_us
  FROM ledger.transfers
  UNION ALL
  SELECT credit_account, credit_version, id, amount, credit_balance_after, currency, created_at_us
  FROM ledger.transfers;

GRANT USAGE ON SCHEMA ledger TO
  paycore_command, paycore_projector, paycore_query, paycore_audit;
GRANT SELECT ON ALL TABLES IN SCHEMA ledger TO paycore_command, paycore_audit;
GRANT INSERT ON
  ledger.accounts, ledger.transfers, ledger.declines, ledger.transfer_details,
  ledger.authorizations, ledger.idempotency_keys, ledger.journal, ledger.audit, ledger.id_leases
  TO paycore_command;
GRANT UPDATE (balance, held, version, revision, last_entry_us, status)
  ON ledger.accounts TO paycore_command;
GRANT UPDATE (holder, expires_at) ON ledger.id_leases TO paycore_command;
GRANT SELECT ON
  ledger.epoch, ledger.accounts, ledger.transfers, ledger.declines, ledger.transfer_details,
  ledger.journal, ledger.entries
  TO paycore_projector, paycore_query;
GRANT SELECT ON ledger.grants TO paycore_query;
