-- The whole that the migrations give, to be read: written by `make schema`, never by hand. Run by
-- paycore_owner after roles.sql, it makes of an empty database what they make of it. Rows are those
-- that the migrations write. Partitions are not shown: they are added by time.

SET check_function_bodies = false;

-- Schema audit

CREATE SCHEMA audit;
GRANT USAGE ON SCHEMA audit TO paycore_command, paycore_projector, paycore_audit, paycore_trail;

CREATE FUNCTION audit.refuse_change() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
BEGIN
  RAISE EXCEPTION '%.% does not allow %', TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_OP
    USING ERRCODE = 'restrict_violation';
END
$$;
REVOKE ALL ON FUNCTION audit.refuse_change() FROM PUBLIC;

CREATE TABLE audit.events (
    id bigint NOT NULL,
    recorded_us bigint DEFAULT ((EXTRACT(epoch FROM clock_timestamp()) * (1000000)::numeric))::bigint NOT NULL,
    first_us bigint NOT NULL,
    last_us bigint NOT NULL,
    count bigint DEFAULT 1 NOT NULL,
    event text NOT NULL,
    client text,
    method text,
    reason text,
    user_id text,
    device_id text,
    ip_address text,
    request_id text,
    database_user text DEFAULT SESSION_USER NOT NULL,
    device_hint text,
    address_hint text,
    owner_key bigint,
    actor_key bigint,
    sealed bytea,
    CONSTRAINT events_address_hint_check CHECK ((address_hint ~ '^[0-9a-f]{4}$'::text)),
    CONSTRAINT events_client_check CHECK ((length(client) <= 128)),
    CONSTRAINT events_count_check CHECK ((count > 0)),
    CONSTRAINT events_device_hint_check CHECK ((device_hint ~ '^[0-9a-f]{4}$'::text)),
    CONSTRAINT events_device_id_check CHECK ((length(device_id) <= 128)),
    CONSTRAINT events_event_check CHECK ((event ~ '^[A-Z][A-Z_]{0,63}$'::text)),
    CONSTRAINT events_first_us_check CHECK ((first_us > 0)),
    CONSTRAINT events_in_order CHECK ((last_us >= first_us)),
    CONSTRAINT events_ip_address_check CHECK ((length(ip_address) <= 64)),
    CONSTRAINT events_method_check CHECK ((length(method) <= 256)),
    CONSTRAINT events_reason_check CHECK ((length(reason) <= 512)),
    CONSTRAINT events_request_id_check CHECK ((length(request_id) <= 64)),
    CONSTRAINT events_sealed_check CHECK (((length(sealed) >= 30) AND (length(sealed) <= 2048))),
    CONSTRAINT events_sealed_under_keys CHECK ((((sealed IS NULL) = (owner_key IS NULL)) AND ((actor_key IS NULL) OR (owner_key IS NOT NULL)))),
    CONSTRAINT events_user_id_check CHECK ((length(user_id) <= 128))
);
COMMENT ON TABLE audit.events IS
  'A row stands for `count` events that are alike, from first_us to last_us; address and request id are the first one''s.';
COMMENT ON COLUMN audit.events.recorded_us IS
  'By the clock of the database; no service can set it, nor database_user.';
COMMENT ON COLUMN audit.events.first_us IS 'By the clock of the process.';
COMMENT ON COLUMN audit.events.client IS
  'Identity of the caller; NULL where its certificate names none.';
COMMENT ON COLUMN audit.events.device_id IS
  'Plain, of a release before: python -m operations.seal seals it.';
COMMENT ON COLUMN audit.events.ip_address IS
  'Of the machine that called. That of a person is sealed.';
COMMENT ON COLUMN audit.events.device_hint IS
  '16 bits of a keyed hash; without anything sealed: no key could be had, or no user was named.';
COMMENT ON COLUMN audit.events.owner_key IS 'The data key of the user whom the event is about.';
COMMENT ON COLUMN audit.events.actor_key IS 'That of who acted, where it is somebody else.';
ALTER TABLE audit.events ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME audit.events_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
ALTER TABLE audit.events ADD CONSTRAINT events_pkey PRIMARY KEY (id);
CREATE INDEX events_by_time ON audit.events (first_us, id);
CREATE TRIGGER append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON audit.events FOR EACH STATEMENT
  EXECUTE FUNCTION audit.refuse_change();
ALTER TABLE audit.events ENABLE ALWAYS TRIGGER append_only;
GRANT INSERT (first_us, last_us, count, event, client, method, reason, user_id, ip_address,
  request_id, device_hint, address_hint, owner_key, actor_key, sealed) ON TABLE audit.events TO
  paycore_command, paycore_projector, paycore_trail;

-- Schema ledger

CREATE SCHEMA ledger;
GRANT USAGE ON SCHEMA ledger TO paycore_command, paycore_projector, paycore_query, paycore_audit;

CREATE TYPE ledger.account_kind AS ENUM ('CUSTOMER', 'EXTERNAL');

CREATE TYPE ledger.account_status AS ENUM ('ACTIVE', 'FROZEN', 'CLOSED');

CREATE TYPE ledger.grant_action AS ENUM ('READ', 'SET_STATUS', 'STEP_UP_EXEMPT', 'ACT_FOR_USERS',
  'TRANSFER', 'DEPOSIT', 'WITHDRAWAL', 'OPEN_EXTERNAL', 'SET_OVERDRAFT', 'HOLD', 'CAPTURE',
  'RELEASE', 'REFUND', 'REVERSAL', 'FEE', 'NET_SETTLEMENT', 'REVIEW', 'LINK_IDENTIFIER', 'ERASE',
  'WEBHOOKS');

CREATE TYPE ledger.grant_scope AS ENUM ('OWN', 'INSTITUTION', 'ALL');

CREATE TYPE ledger.outcome_kind AS ENUM ('TRANSFER', 'DECLINE', 'ACCOUNT', 'ACCOUNT_STATUS',
  'GROUP', 'ACCOUNT_LIMIT', 'ACCOUNT_IDENTIFIER', 'POLICY');

CREATE TYPE ledger.step_up_basis AS ENUM ('AUTHORIZED', 'BELOW_THRESHOLD', 'CLIENT_EXEMPT',
  'NOT_APPLICABLE');

CREATE TYPE ledger.transfer_kind AS ENUM ('TRANSFER', 'DEPOSIT', 'WITHDRAWAL', 'HOLD', 'CAPTURE',
  'RELEASE', 'REFUND', 'REVERSAL', 'FEE', 'NET_SETTLEMENT');

CREATE TYPE ledger.transfer_state AS ENUM ('POSTED', 'FAILED', 'HELD', 'PARTIALLY_CAPTURED',
  'CAPTURED', 'RELEASED', 'EXPIRED', 'PARTIALLY_REFUNDED', 'REFUNDED', 'REVERSED', 'ROLLED_BACK');

CREATE FUNCTION ledger.add_transfer_partition(month date) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
DECLARE
  first_day timestamptz := date_trunc('month', month::timestamp) AT TIME ZONE 'UTC';
  next_first timestamptz := (date_trunc('month', month::timestamp) + interval '1 month')
    AT TIME ZONE 'UTC';
  partition text := 'transfers_' || to_char(month, 'YYYY_MM');
  covered bigint;
BEGIN
  -- One at a time: two that add the same month would meet at the attachment.
  PERFORM pg_advisory_xact_lock(x'70617274'::int);
  SELECT max(substring(pg_get_expr(child.relpartbound, child.oid)
                       FROM 'TO \(''(\d+)''\)')::bigint)
  INTO covered
  FROM pg_catalog.pg_inherits AS link
  JOIN pg_catalog.pg_class AS child ON child.oid = link.inhrelid
  WHERE link.inhparent = 'ledger.transfers'::regclass;
  IF covered >= ledger.first_transfer_id(next_first) THEN
    RETURN false;
  END IF;
  IF covered <> ledger.first_transfer_id(first_day) THEN
    RAISE EXCEPTION 'partitions are added in order: the last one ends at id %', covered
      USING ERRCODE = 'object_not_in_prerequisite_state';
  END IF;
  EXECUTE format(
    'CREATE TABLE ledger.%I (LIKE ledger.transfers INCLUDING CONSTRAINTS)', partition);
  EXECUTE format('ALTER TABLE ledger.%1$I ADD CONSTRAINT %2$I PRIMARY KEY (id)',
                 partition, partition || '_pkey');
  EXECUTE format('CREATE UNIQUE INDEX %2$I ON ledger.%1$I (debit_account, debit_version)',
                 partition, partition || '_debit_entry');
  EXECUTE format('CREATE UNIQUE INDEX %2$I ON ledger.%1$I (credit_account, credit_version)',
                 partition, partition || '_credit_entry');
  EXECUTE format('CREATE UNIQUE INDEX %2$I ON ledger.%1$I (parent_id, parent_sequence)'
                 ' WHERE parent_id IS NOT NULL', partition, partition || '_child');
  EXECUTE format('CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger.%I'
                 ' FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change()', partition);
  EXECUTE format('ALTER TABLE ledger.%I ENABLE ALWAYS TRIGGER append_only', partition);
  -- Those of the whole do not run for rows that are put into a partition itself.
  EXECUTE format('CREATE TRIGGER apply_transfers AFTER INSERT ON ledger.%I'
                 ' REFERENCING NEW TABLE AS inserted'
                 ' FOR EACH STATEMENT EXECUTE FUNCTION ledger.apply_transfers()', partition);
  EXECUTE format('ALTER TABLE ledger.%I ENABLE ALWAYS TRIGGER apply_transfers', partition);
  -- Attached last: the writers are stopped for no longer than the catalogue takes.
  EXECUTE format('ALTER TABLE ledger.transfers ATTACH PARTITION ledger.%I'
                 ' FOR VALUES FROM (%s) TO (%s)', partition,
                 ledger.first_transfer_id(first_day), ledger.first_transfer_id(next_first));
  RETURN true;
END
$_$;
COMMENT ON FUNCTION ledger.add_transfer_partition(month date) IS
  'Makes the partition for the transfers of one month; false where there is one already.';
REVOKE ALL ON FUNCTION ledger.add_transfer_partition(month date) FROM PUBLIC;

CREATE FUNCTION ledger.apply_transfers() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    AS $$
DECLARE
  wanted bigint;
  applied bigint;
BEGIN
  WITH legs AS (
    SELECT debit_account AS account, currency, debit_version AS version, created_at_us,
           debit_balance_after AS balance_after,
           CASE WHEN credit_version IS NULL THEN 0 ELSE -amount END AS change,
           CASE kind WHEN 'HOLD' THEN amount
                     WHEN 'RELEASE' THEN -amount
                     WHEN 'CAPTURE' THEN -(amount + coalesce(released, 0))
                     ELSE 0 END AS held_change,
           debit_held_after AS held_after, kind <> 'RELEASE' AS debits,
           CASE WHEN kind = 'DEPOSIT' THEN 'EXTERNAL'::ledger.account_kind
                WHEN parent_id IS NULL THEN 'CUSTOMER' END AS kind
    FROM inserted
    UNION ALL
    SELECT credit_account, currency, credit_version, created_at_us, credit_balance_after, amount, 0,
           NULL, false,
           CASE WHEN kind = 'WITHDRAWAL' THEN 'EXTERNAL'::ledger.account_kind
                WHEN parent_id IS NULL THEN 'CUSTOMER' END
    FROM inserted
    WHERE credit_version IS NOT NULL
  ), sums AS (
    SELECT account, count(*) AS entries,
           min(version) AS first_version, min(created_at_us) AS first_us,
           max(created_at_us) AS last_us,
           sum(change)::bigint AS change, sum(held_change)::bigint AS held_change,
           max(ARRAY[version, balance_after]) AS last,
           max(ARRAY[version, held_after]) FILTER (WHERE held_after IS NOT NULL) AS last_held,
           min(currency) AS currency, max(currency) AS currency_too, bool_or(debits) AS debits,
           min(kind) AS kind, max(kind) AS kind_too
    FROM legs
    GROUP BY account
  ), moved AS (
    UPDATE ledger.accounts AS account
    SET balance = account.balance + sums.change, held = account.held + sums.held_change,
        version = account.version + sums.entries, last_entry_us = sums.last_us
    FROM sums
    WHERE account.id = sums.account
      AND account.currency = sums.currency AND account.currency = sums.currency_too
      -- What follows another transfer has the accounts of that one, whatever their kind.
      AND (sums.kind IS NULL OR account.kind = sums.kind AND account.kind = sums.kind_too)
      AND (account.status = 'ACTIVE' OR account.status = 'FROZEN' AND NOT sums.debits)
      AND account.version + 1 = sums.first_version
      AND account.version + sums.entries = sums.last[1]
      AND account.balance + sums.change = sums.last[2]
      AND account.last_entry_us < sums.first_us
      AND (sums.last_held IS NULL OR account.held + sums.held_change = sums.last_held[2])
    RETURNING 1
  )
  SELECT (SELECT count(*) FROM sums), (SELECT count(*) FROM moved) INTO wanted, applied;
  IF applied <> wanted THEN
    -- The accounts are not as the transfers were decided from: whoever decides anew, finds out why.
    RAISE EXCEPTION 'transfers do not follow on % of % accounts', wanted - applied, wanted
      USING ERRCODE = 'serialization_failure';
  END IF;
  IF EXISTS (SELECT FROM inserted WHERE kind IN ('HOLD', 'CAPTURE', 'RELEASE', 'REFUND', 'REVERSAL'))
  THEN
    PERFORM ledger.check_children(array_agg(id)) FROM inserted WHERE parent_id IS NOT NULL;
    INSERT INTO ledger.open_holds (id, account, remaining, expires_at_us)
      SELECT id, debit_account, amount, expires_at_us FROM inserted WHERE kind = 'HOLD';
    PERFORM ledger.reduce_holds(array_agg(id)) FROM inserted WHERE kind IN ('CAPTURE', 'RELEASE');
  END IF;
  -- Both accounts of a hold are in its currency; only one of them has an entry.
  IF EXISTS (
    SELECT FROM inserted AS hold
    LEFT JOIN ledger.accounts AS payee ON payee.id = hold.credit_account
    WHERE hold.credit_version IS NULL AND payee.currency IS DISTINCT FROM hold.currency
  ) THEN
    RAISE EXCEPTION 'a hold is not in the currency of its payee' USING ERRCODE = 'check_violation';
  END IF;
  RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION ledger.apply_transfers() FROM PUBLIC;

CREATE FUNCTION ledger.audit_identifier() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
  PERFORM ledger.write_audit(
    'LINK_IDENTIFIER', 'account/' || NEW.account, NULL,
    jsonb_build_object('scheme', NEW.scheme, 'value', NEW.value));
  RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION ledger.audit_identifier() FROM PUBLIC;

CREATE FUNCTION ledger.audit_limit() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
  IF TG_OP = 'UPDATE' THEN
    PERFORM ledger.check_revision(OLD.revision, NEW.revision);
  END IF;
  PERFORM ledger.write_audit(
    'SET_OVERDRAFT_LIMIT', 'account/' || NEW.id,
    CASE WHEN TG_OP = 'UPDATE' THEN jsonb_build_object(
      'overdraft_limit', OLD.overdraft_limit, 'revision', OLD.revision, 'version', OLD.version) END,
    jsonb_build_object(
      'overdraft_limit', NEW.overdraft_limit, 'revision', NEW.revision, 'version', NEW.version));
  RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION ledger.audit_limit() FROM PUBLIC;

CREATE FUNCTION ledger.audit_limit_setting() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
  before jsonb := to_jsonb(OLD);
  after jsonb := to_jsonb(NEW);
  said jsonb := coalesce(after, before);
BEGIN
  PERFORM ledger.write_audit(
    CASE TG_OP WHEN 'INSERT' THEN 'ADD_' WHEN 'UPDATE' THEN 'CHANGE_' ELSE 'REMOVE_' END || 'LIMIT',
    concat_ws('/', 'limit', coalesce(nullif(said ->> 'client', ''), '*'),
              nullif(said ->> 'method', ''), said ->> 'name'),
    before, after);
  RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION ledger.audit_limit_setting() FROM PUBLIC;

CREATE FUNCTION ledger.audit_policy() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
  before jsonb := to_jsonb(OLD);
  after jsonb := to_jsonb(NEW);
BEGIN
  PERFORM ledger.write_audit(
    CASE TG_OP WHEN 'INSERT' THEN 'ADD_' WHEN 'UPDATE' THEN 'CHANGE_' ELSE 'REMOVE_' END
      || TG_ARGV[0],
    lower(TG_ARGV[0]) || '/' || (coalesce(after, before) ->> TG_ARGV[1]),
    before, after);
  RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION ledger.audit_policy() FROM PUBLIC;

CREATE FUNCTION ledger.audit_status() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
  PERFORM ledger.check_revision(OLD.revision, NEW.revision);
  PERFORM ledger.write_audit(
    'SET_STATUS', 'account/' || NEW.id,
    jsonb_build_object('status', OLD.status, 'revision', OLD.revision),
    jsonb_build_object('status', NEW.status, 'revision', NEW.revision));
  RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION ledger.audit_status() FROM PUBLIC;

CREATE FUNCTION ledger.check_children(ids bigint[]) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    AS $$
BEGIN
  IF EXISTS (
    SELECT
    FROM ledger.transfers AS child
    LEFT JOIN ledger.transfers AS parent ON parent.id = child.parent_id
    LEFT JOIN ledger.legal_children AS legal
      ON legal.parent = parent.kind AND legal.child = child.kind
    LEFT JOIN ledger.transfers AS before
      ON before.parent_id = child.parent_id AND before.parent_sequence = child.parent_sequence - 1
    WHERE child.id = ANY (ids)
      AND (legal.child IS NOT NULL
           AND parent.currency = child.currency
           AND (parent.debit_account, parent.credit_account) = (
                CASE WHEN child.kind IN ('CAPTURE', 'RELEASE')
                     THEN (child.debit_account, child.credit_account)
                     ELSE (child.credit_account, child.debit_account) END)
           AND (child.parent_sequence = 1) = (before.id IS NULL)
           AND child.parent_remaining = coalesce(before.parent_remaining, parent.amount)
                                        - child.amount - coalesce(child.released, 0)
           AND (before.id IS NULL OR before.parent_state NOT IN
                  ('CAPTURED', 'RELEASED', 'EXPIRED', 'REVERSED', 'ROLLED_BACK'))
           AND CASE child.kind
                 WHEN 'CAPTURE' THEN
                   child.created_at_us < coalesce(parent.expires_at_us, child.created_at_us + 1)
                   AND child.parent_state = CASE child.parent_remaining
                         WHEN 0 THEN 'CAPTURED'::ledger.transfer_state
                         ELSE 'PARTIALLY_CAPTURED' END
                 WHEN 'RELEASE' THEN
                   child.parent_remaining = 0
                   AND (child.parent_state IN ('RELEASED', 'ROLLED_BACK')
                        OR child.parent_state = 'EXPIRED'
                           AND child.created_at_us >= parent.expires_at_us
                           -- The row's time is that of a process, whose clock may run ahead.
                           AND parent.expires_at_us
                               <= (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)
                 WHEN 'REFUND' THEN
                   child.parent_state = CASE child.parent_remaining
                     WHEN 0 THEN 'REFUNDED'::ledger.transfer_state
                     ELSE 'PARTIALLY_REFUNDED' END
                 ELSE
                   child.parent_sequence = 1 AND child.parent_remaining = 0
                   AND child.parent_state = 'REVERSED'
               END
           -- The indexes of partitions do not see each other.
           AND NOT EXISTS (
                 SELECT
                 FROM ledger.transfers AS other
                 WHERE other.parent_id = child.parent_id
                   AND other.parent_sequence >= child.parent_sequence
                   AND other.id <> child.id
                   AND (other.parent_sequence = child.parent_sequence OR other.id <> ALL (ids)))
          ) IS NOT TRUE
  ) THEN
    RAISE EXCEPTION 'a transfer does not follow its parent' USING ERRCODE = 'check_violation';
  END IF;
END
$$;
REVOKE ALL ON FUNCTION ledger.check_children(ids bigint[]) FROM PUBLIC;

CREATE FUNCTION ledger.check_revision(before bigint, after bigint) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
  IF after IS DISTINCT FROM before + 1 THEN
    RAISE EXCEPTION 'a change of an account raises its revision from % to %', before, before + 1
      USING ERRCODE = 'check_violation';
  END IF;
END
$$;
REVOKE ALL ON FUNCTION ledger.check_revision(before bigint, after bigint) FROM PUBLIC;

CREATE FUNCTION ledger.device_lock(device bytea) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ((('x'::text || encode(substr(device, 1, 8), 'hex'::text)))::bit(64))::bigint;
COMMENT ON FUNCTION ledger.device_lock(device bytea) IS
  'The advisory lock under which a device''s touches are counted, added and removed.';
REVOKE ALL ON FUNCTION ledger.device_lock(device bytea) FROM PUBLIC;
GRANT ALL ON FUNCTION ledger.device_lock(device bytea) TO paycore_command;

CREATE FUNCTION ledger.erase_account_details(subject text, most integer) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
  removed bigint;
BEGIN
  DELETE FROM ledger.account_details
  WHERE id = ANY (ARRAY(
    SELECT told.id
    FROM ledger.accounts AS account
    JOIN ledger.account_details AS told ON told.id = account.id
    WHERE account.owner = subject
    LIMIT most));
  GET DIAGNOSTICS removed = ROW_COUNT;
  RETURN removed;
END
$$;
REVOKE ALL ON FUNCTION ledger.erase_account_details(subject text, most integer) FROM PUBLIC;
GRANT ALL ON FUNCTION ledger.erase_account_details(subject text, most integer) TO paycore_command;

CREATE FUNCTION ledger.erase_keys(subject text, keys bigint[], at_us bigint) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
  added bigint;
BEGIN
  INSERT INTO ledger.erased_keys (data_key, erased_at_us)
    SELECT DISTINCT key, at_us FROM unnest(keys) AS key
    ON CONFLICT DO NOTHING;
  GET DIAGNOSTICS added = ROW_COUNT;
  PERFORM ledger.write_audit(
    'ERASE_SUBJECT', 'subject/' || subject, NULL, jsonb_build_object('keys', added));
  RETURN added;
END
$$;
REVOKE ALL ON FUNCTION ledger.erase_keys(subject text, keys bigint[], at_us bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION ledger.erase_keys(subject text, keys bigint[], at_us bigint) TO
  paycore_command;

CREATE FUNCTION ledger.first_transfer_id(at timestamp with time zone) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path TO ''
    AS $$
  -- Snowflake ids: milliseconds since 2025-01-01 above 22 bits of instance and sequence.
  SELECT (floor(extract(epoch FROM at) * 1000)::bigint - 1735689600000) << 22
$$;
COMMENT ON FUNCTION ledger.first_transfer_id(at timestamp with time zone) IS
  'The lowest id that can be made at or after a time.';
REVOKE ALL ON FUNCTION ledger.first_transfer_id(at timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION ledger.first_transfer_id(at timestamp with time zone) TO paycore_command,
  paycore_projector, paycore_query, paycore_audit;

CREATE FUNCTION ledger.key_locator(client text, key text) RETURNS bytea
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (decode(replace("left"(replace(key, '-'::text, ''::text), 11), '\'::text, '\\'::text), 'escape'::text) || substr(sha256(decode(replace(((client || chr(31)) || key), '\'::text, '\\'::text), 'escape'::text)), 1, 12));
COMMENT ON FUNCTION ledger.key_locator(client text, key text) IS
  'What idempotency keys are unique and looked up by; never changed, for the index is ordered by it.';
REVOKE ALL ON FUNCTION ledger.key_locator(client text, key text) FROM PUBLIC;
GRANT ALL ON FUNCTION ledger.key_locator(client text, key text) TO paycore_command, paycore_audit;

CREATE FUNCTION ledger.only_seal() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
  IF OLD.sealed IS NOT NULL OR NEW.sealed IS NULL OR NEW.id <> OLD.id THEN
    RAISE EXCEPTION 'ledger.transfer_details does not allow UPDATE but to seal'
      USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END
$$;
REVOKE ALL ON FUNCTION ledger.only_seal() FROM PUBLIC;

CREATE FUNCTION ledger.reduce_holds(ids bigint[]) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    AS $$
DECLARE
  wanted bigint := (SELECT count(DISTINCT parent_id) FROM ledger.transfers WHERE id = ANY (ids));
  ended bigint;
  reduced bigint;
BEGIN
  DELETE FROM ledger.open_holds AS hold
  USING ledger.transfers AS child
  WHERE child.id = ANY (ids) AND child.parent_id = hold.id AND child.parent_remaining = 0;
  GET DIAGNOSTICS ended = ROW_COUNT;
  UPDATE ledger.open_holds AS hold
  SET remaining = latest.remaining, sequence = latest.sequence
  FROM (
    SELECT parent_id, min(parent_remaining) AS remaining, max(parent_sequence) AS sequence
    FROM ledger.transfers
    WHERE id = ANY (ids)
    GROUP BY parent_id
  ) AS latest
  WHERE hold.id = latest.parent_id;
  GET DIAGNOSTICS reduced = ROW_COUNT;
  IF ended + reduced IS DISTINCT FROM wanted THEN
    RAISE EXCEPTION 'a hold is not open' USING ERRCODE = 'check_violation';
  END IF;
END
$$;
REVOKE ALL ON FUNCTION ledger.reduce_holds(ids bigint[]) FROM PUBLIC;

CREATE FUNCTION ledger.refuse_change() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
BEGIN
  RAISE EXCEPTION 'ledger.% does not allow %', TG_TABLE_NAME, TG_OP
    USING ERRCODE = 'restrict_violation';
END
$$;
REVOKE ALL ON FUNCTION ledger.refuse_change() FROM PUBLIC;

CREATE FUNCTION ledger.touch(device bytea, kind text, subjects bytea[], most integer, window_s integer) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
-- Notes that `device` touches `subjects`, all different. 0 when they were noted; else none was, for
-- `most` different ones within `window_s` seconds would be exceeded, and the result says after how
-- many milliseconds there may be room.
DECLARE
  window_us constant bigint := window_s::bigint * 1000000;
  wanted constant int := cardinality(subjects);
  now_us bigint;
  others int;
  known int;
  room_us bigint;
BEGIN
  -- No payment can be durable while this is not: it commits later in the same log.
  PERFORM pg_catalog.set_config('synchronous_commit', 'off', true);
  -- One at a time for each device; statements from here on see what the others have committed.
  PERFORM pg_catalog.pg_advisory_xact_lock(ledger.device_lock(device));
  now_us := (extract(epoch FROM pg_catalog.clock_timestamp()) * 1000000)::bigint;
  SELECT count(*) FILTER (WHERE t.subject <> ALL (subjects)),
         count(*) FILTER (WHERE t.subject = ANY (subjects))
    INTO others, known
    FROM ledger.device_touches AS t
    WHERE t.device = touch.device AND t.kind = touch.kind AND t.seen_us > now_us - window_us;
  IF wanted > known AND others + wanted > most THEN
    SELECT t.seen_us INTO room_us
      FROM ledger.device_touches AS t
      WHERE t.device = touch.device AND t.kind = touch.kind AND t.seen_us > now_us - window_us
        AND t.subject <> ALL (subjects)
      ORDER BY t.seen_us
      OFFSET others + wanted - most - 1 LIMIT 1;
    RETURN greatest(1, (coalesce(room_us, now_us) + window_us - now_us) / 1000);
  END IF;
  INSERT INTO ledger.device_touches AS t (device, kind, subject, seen_us)
    SELECT touch.device, touch.kind, one, now_us FROM pg_catalog.unnest(subjects) AS one
    ON CONFLICT ON CONSTRAINT device_touches_pkey DO UPDATE SET seen_us = excluded.seen_us;
  RETURN 0;
END
$$;
REVOKE ALL ON FUNCTION ledger.touch(device bytea, kind text, subjects bytea[], most integer,
  window_s integer) FROM PUBLIC;
GRANT ALL ON FUNCTION ledger.touch(device bytea, kind text, subjects bytea[], most integer, window_s
  integer) TO paycore_command;

CREATE FUNCTION ledger.touch_each(devices bytea[], kind text, subjects bytea[], most integer, window_s integer) RETURNS bigint[]
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
-- Notes that each of `devices` touches the subject at its place, each by itself: what ledger.touch
-- returns, in the same order. Devices must come in the same order everywhere, for each is locked.
DECLARE
  window_us constant bigint := window_s::bigint * 1000000;
  now_us bigint;
  waits_ms bigint[];
BEGIN
  -- No payment can be durable while this is not: it commits later in the same log.
  PERFORM pg_catalog.set_config('synchronous_commit', 'off', true);
  IF (SELECT count(DISTINCT d) FROM pg_catalog.unnest(devices) AS d) < cardinality(devices) THEN
    -- What one touch of a device adds, the next of it must see.
    FOR place IN 1 .. cardinality(devices) LOOP
      waits_ms[place] := ledger.touch(
        devices[place], kind, subjects[place : place], most, window_s);
    END LOOP;
    RETURN waits_ms;
  END IF;
  -- One at a time for each device; statements from here on see what the others have committed.
  PERFORM pg_catalog.pg_advisory_xact_lock(ledger.device_lock(d))
    FROM pg_catalog.unnest(devices) AS d;
  now_us := (extract(epoch FROM pg_catalog.clock_timestamp()) * 1000000)::bigint;
  WITH standing AS MATERIALIZED (
    SELECT one.place, one.device, one.subject, before.others, before.known
    FROM unnest(devices, subjects) WITH ORDINALITY AS one (device, subject, place)
    CROSS JOIN LATERAL (
      SELECT count(*) FILTER (WHERE t.subject <> one.subject) AS others,
             count(*) FILTER (WHERE t.subject = one.subject) AS known
      FROM ledger.device_touches AS t
      WHERE t.device = one.device AND t.kind = touch_each.kind AND t.seen_us > now_us - window_us
    ) AS before
  ), noted AS (
    INSERT INTO ledger.device_touches AS t (device, kind, subject, seen_us)
      SELECT s.device, touch_each.kind, s.subject, now_us
      FROM standing AS s
      WHERE s.known > 0 OR s.others < most
      ON CONFLICT ON CONSTRAINT device_touches_pkey DO UPDATE SET seen_us = excluded.seen_us
  )
  SELECT pg_catalog.array_agg(
    CASE WHEN s.known > 0 OR s.others < most THEN 0 ELSE (
      SELECT greatest(1, (coalesce(min(room.seen_us), now_us) + window_us - now_us) / 1000)
      FROM (
        SELECT t.seen_us
        FROM ledger.device_touches AS t
        WHERE t.device = s.device AND t.kind = touch_each.kind AND t.seen_us > now_us - window_us
          AND t.subject <> s.subject
        ORDER BY t.seen_us
        OFFSET s.others - most LIMIT 1
      ) AS room
    ) END ORDER BY s.place)
    INTO waits_ms
    FROM standing AS s;
  RETURN coalesce(waits_ms, '{}');
END
$$;
REVOKE ALL ON FUNCTION ledger.touch_each(devices bytea[], kind text, subjects bytea[], most integer,
  window_s integer) FROM PUBLIC;
GRANT ALL ON FUNCTION ledger.touch_each(devices bytea[], kind text, subjects bytea[], most integer,
  window_s integer) TO paycore_command;

CREATE FUNCTION ledger.write_audit(action text, subject text, before jsonb, after jsonb) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
  named text := nullif(current_setting('paycore.client', true), '');
  given bigint := nullif(current_setting('paycore.audit_id', true), '');
BEGIN
  IF given IS NOT NULL THEN
    PERFORM set_config('paycore.audit_id', '', true);
  END IF;
  INSERT INTO ledger.audit (
    id, created_at_us, client, action, subject, before, after, reason, user_id, device_id,
    ip_address, database_user, device_hint, address_hint, actor_key, traced_us, sealed
  )
  VALUES (
    coalesce(given, nextval('ledger.audit_id')),
    (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,
    coalesce(named, session_user), action, subject, before, after,
    nullif(current_setting('paycore.reason', true), ''),
    nullif(current_setting('paycore.user_id', true), ''),
    nullif(current_setting('paycore.device_id', true), ''),
    CASE WHEN named IS NULL THEN host(inet_client_addr())
         ELSE nullif(current_setting('paycore.ip_address', true), '') END,
    session_user,
    nullif(current_setting('paycore.device_hint', true), ''),
    nullif(current_setting('paycore.address_hint', true), ''),
    nullif(current_setting('paycore.actor_key', true), '')::bigint,
    nullif(current_setting('paycore.traced_us', true), '')::bigint,
    decode(nullif(current_setting('paycore.sealed', true), ''), 'hex')
  );
END
$$;
REVOKE ALL ON FUNCTION ledger.write_audit(action text, subject text, before jsonb, after jsonb) FROM
  PUBLIC;

CREATE TABLE ledger.audit (
    id bigint NOT NULL,
    created_at_us bigint NOT NULL,
    client text NOT NULL,
    action text NOT NULL,
    subject text NOT NULL,
    before jsonb,
    after jsonb,
    reason text,
    user_id text,
    device_id text,
    ip_address text,
    database_user text,
    device_hint text,
    address_hint text,
    actor_key bigint,
    traced_us bigint,
    sealed bytea,
    CONSTRAINT audit_address_hint_check CHECK ((address_hint ~ '^[0-9a-f]{4}$'::text)),
    CONSTRAINT audit_device_hint_check CHECK ((device_hint ~ '^[0-9a-f]{4}$'::text)),
    CONSTRAINT audit_sealed_check CHECK (((length(sealed) >= 30) AND (length(sealed) <= 2048)))
);
COMMENT ON COLUMN ledger.audit.id IS
  'A Snowflake where the service gave one (paycore.audit_id), good for one row. Else the next of a sequence, which a database session can draw without a lease: it counts from 1 and can never reach the Snowflakes, of which the smallest of a single day of use is above 10^14.';
COMMENT ON COLUMN ledger.audit.device_id IS
  'Plain, of a release before: python -m operations.seal seals it.';
COMMENT ON COLUMN ledger.audit.ip_address IS 'Of a database session. That of a person is sealed.';
COMMENT ON COLUMN ledger.audit.database_user IS
  'The role whose session made the change; NULL in rows that services wrote themselves.';
COMMENT ON COLUMN ledger.audit.device_hint IS
  '16 bits of a keyed hash; without anything sealed: no key could be had, or no user was named.';
COMMENT ON COLUMN ledger.audit.actor_key IS 'The data key of who acted.';
COMMENT ON COLUMN ledger.audit.traced_us IS
  'When it was sealed, in microseconds since 1970: what is sealed is bound to it.';
ALTER TABLE ledger.audit ADD CONSTRAINT audit_pkey PRIMARY KEY (id);
ALTER TABLE ledger.audit
    ADD CONSTRAINT audit_sealed_under_a_key CHECK ((((sealed IS NULL) = (actor_key IS NULL)) AND ((sealed IS NULL) OR (traced_us IS NOT NULL)))) NOT VALID;
CREATE INDEX audit_by_time ON ledger.audit (created_at_us, id);
CREATE TRIGGER append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON ledger.audit FOR EACH STATEMENT
  EXECUTE FUNCTION ledger.refuse_change();
ALTER TABLE ledger.audit ENABLE ALWAYS TRIGGER append_only;
GRANT SELECT ON TABLE ledger.audit TO paycore_command, paycore_audit;

CREATE TABLE ledger.erased_keys (
    data_key bigint NOT NULL,
    erased_at_us bigint NOT NULL
);
ALTER TABLE ledger.erased_keys ADD CONSTRAINT erased_keys_pkey PRIMARY KEY (data_key);
CREATE TRIGGER append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON ledger.erased_keys FOR EACH
  STATEMENT EXECUTE FUNCTION ledger.refuse_change();
ALTER TABLE ledger.erased_keys ENABLE ALWAYS TRIGGER append_only;
GRANT SELECT ON TABLE ledger.erased_keys TO paycore_command, paycore_projector, paycore_query,
  paycore_audit;

CREATE TABLE ledger.account_details (
    id bigint NOT NULL,
    metadata jsonb NOT NULL,
    CONSTRAINT account_details_metadata_check CHECK ((jsonb_typeof(metadata) = 'object'::text))
);
ALTER TABLE ledger.account_details ADD CONSTRAINT account_details_pkey PRIMARY KEY (id);
CREATE TRIGGER never_changed BEFORE UPDATE OR TRUNCATE ON ledger.account_details FOR EACH STATEMENT
  EXECUTE FUNCTION ledger.refuse_change();
ALTER TABLE ledger.account_details ENABLE ALWAYS TRIGGER never_changed;
GRANT SELECT,INSERT ON TABLE ledger.account_details TO paycore_command;
GRANT SELECT ON TABLE ledger.account_details TO paycore_audit;

CREATE TABLE ledger.accounts (
    id bigint NOT NULL,
    balance bigint DEFAULT 0 NOT NULL,
    held bigint DEFAULT 0 NOT NULL,
    overdraft_limit bigint DEFAULT 0 NOT NULL,
    version bigint DEFAULT 0 NOT NULL,
    revision bigint DEFAULT 0 NOT NULL,
    last_entry_us bigint DEFAULT 0 NOT NULL,
    created_at_us bigint NOT NULL,
    kind ledger.account_kind NOT NULL,
    status ledger.account_status DEFAULT 'ACTIVE'::ledger.account_status NOT NULL,
    currency text NOT NULL,
    owner text NOT NULL,
    institution text NOT NULL,
    opened_by text NOT NULL,
    CONSTRAINT accounts_closed_empty CHECK (((status <> 'CLOSED'::ledger.account_status) OR ((balance = 0) AND (held = 0)))),
    CONSTRAINT accounts_currency_code CHECK ((currency ~ '^[A-Z]{3}$'::text)),
    CONSTRAINT accounts_floor CHECK (((kind = 'EXTERNAL'::ledger.account_kind) OR ((balance - held) >= (- overdraft_limit)))),
    CONSTRAINT accounts_held_not_negative CHECK ((held >= 0)),
    CONSTRAINT accounts_limit_not_negative CHECK ((overdraft_limit >= 0)),
    CONSTRAINT accounts_names_bounded CHECK (((length(owner) >= 1) AND (length(owner) <= 128) AND ((length(institution) >= 1) AND (length(institution) <= 64)) AND ((length(opened_by) >= 1) AND (length(opened_by) <= 128)))),
    CONSTRAINT accounts_version_not_negative CHECK (((version >= 0) AND (revision >= 0)))
)
WITH (fillfactor='50');
COMMENT ON COLUMN ledger.accounts.version IS 'Number of entries on the account, gap-free from 1.';
COMMENT ON COLUMN ledger.accounts.revision IS 'Raised by each change that is not an entry.';
ALTER TABLE ledger.accounts ADD CONSTRAINT accounts_pkey PRIMARY KEY (id);
CREATE INDEX accounts_owner ON ledger.accounts (owner);
CREATE TRIGGER audit_first_limit AFTER INSERT ON ledger.accounts FOR EACH ROW WHEN
  ((new.overdraft_limit <> 0)) EXECUTE FUNCTION ledger.audit_limit();
ALTER TABLE ledger.accounts ENABLE ALWAYS TRIGGER audit_first_limit;
CREATE TRIGGER audit_limit AFTER UPDATE OF overdraft_limit ON ledger.accounts FOR EACH ROW EXECUTE
  FUNCTION ledger.audit_limit();
ALTER TABLE ledger.accounts ENABLE ALWAYS TRIGGER audit_limit;
CREATE TRIGGER audit_status AFTER UPDATE OF status ON ledger.accounts FOR EACH ROW EXECUTE FUNCTION
  ledger.audit_status();
ALTER TABLE ledger.accounts ENABLE ALWAYS TRIGGER audit_status;
CREATE TRIGGER born_at_zero BEFORE INSERT ON ledger.accounts FOR EACH ROW WHEN (((new.balance <> 0)
  OR (new.held <> 0) OR (new.version <> 0) OR (new.last_entry_us <> 0))) EXECUTE FUNCTION
  ledger.refuse_change();
ALTER TABLE ledger.accounts ENABLE ALWAYS TRIGGER born_at_zero;
CREATE TRIGGER closed_for_good BEFORE UPDATE OF status ON ledger.accounts FOR EACH ROW WHEN (((old.status = 'CLOSED'::ledger.account_status) AND (new.status <> 'CLOSED'::ledger.account_status))) EXECUTE FUNCTION ledger.refuse_change();
ALTER TABLE ledger.accounts ENABLE ALWAYS TRIGGER closed_for_good;
CREATE TRIGGER immutable BEFORE UPDATE OF id, kind, currency, owner, institution, opened_by,
  created_at_us ON ledger.accounts FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
ALTER TABLE ledger.accounts ENABLE ALWAYS TRIGGER immutable;
CREATE TRIGGER never_deleted BEFORE DELETE OR TRUNCATE ON ledger.accounts FOR EACH STATEMENT EXECUTE
  FUNCTION ledger.refuse_change();
ALTER TABLE ledger.accounts ENABLE ALWAYS TRIGGER never_deleted;
CREATE TRIGGER only_by_transfers BEFORE UPDATE OF balance, held, version, last_entry_us ON
  ledger.accounts FOR EACH STATEMENT WHEN ((pg_trigger_depth() = 0)) EXECUTE FUNCTION
  ledger.refuse_change();
ALTER TABLE ledger.accounts ENABLE ALWAYS TRIGGER only_by_transfers;
CREATE TRIGGER revision_by_one BEFORE UPDATE OF revision ON ledger.accounts FOR EACH ROW WHEN
  ((new.revision <> (old.revision + 1))) EXECUTE FUNCTION ledger.refuse_change();
ALTER TABLE ledger.accounts ENABLE ALWAYS TRIGGER revision_by_one;
GRANT SELECT ON TABLE ledger.accounts TO paycore_command, paycore_audit, paycore_projector,
  paycore_query;
GRANT INSERT(overdraft_limit),UPDATE(overdraft_limit) ON TABLE ledger.accounts TO paycore_command;
GRANT INSERT (id, created_at_us, kind, currency, owner, institution, opened_by) ON TABLE
  ledger.accounts TO paycore_command;
GRANT UPDATE (revision, status) ON TABLE ledger.accounts TO paycore_command;

CREATE SEQUENCE ledger.audit_id
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

CREATE TABLE ledger.authorizations (
    id bigint NOT NULL,
    transfer_id bigint,
    signed_at_us bigint NOT NULL,
    issued_at_us bigint NOT NULL,
    expires_at_us bigint NOT NULL,
    user_id text NOT NULL,
    method text NOT NULL,
    client text NOT NULL,
    idempotency_key text NOT NULL,
    key_id text NOT NULL,
    digest bytea NOT NULL,
    signature bytea NOT NULL,
    group_id bigint,
    payer bigint,
    CONSTRAINT authorizations_digest_check CHECK ((length(digest) = 32)),
    CONSTRAINT authorizations_of_one CHECK ((((transfer_id IS NULL) = (group_id IS NOT NULL)) AND ((group_id IS NULL) = (payer IS NULL)))),
    CONSTRAINT authorizations_signature_check CHECK ((length(signature) = 64))
);
COMMENT ON COLUMN ledger.authorizations.group_id IS
  'The group of which it approves all that `payer` pays; then there is no single transfer.';
ALTER TABLE ledger.authorizations ADD CONSTRAINT authorizations_pkey PRIMARY KEY (id);
ALTER TABLE ledger.authorizations
    ADD CONSTRAINT authorizations_transfer_id_key UNIQUE (transfer_id);
CREATE UNIQUE INDEX authorizations_of_payer ON ledger.authorizations (group_id, payer) WHERE
  (group_id IS NOT NULL);
CREATE TRIGGER append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON ledger.authorizations FOR EACH
  STATEMENT EXECUTE FUNCTION ledger.refuse_change();
ALTER TABLE ledger.authorizations ENABLE ALWAYS TRIGGER append_only;
GRANT SELECT,INSERT ON TABLE ledger.authorizations TO paycore_command;
GRANT SELECT ON TABLE ledger.authorizations TO paycore_audit;

CREATE TABLE ledger.declines (
    id bigint NOT NULL,
    debit_account bigint NOT NULL,
    credit_account bigint NOT NULL,
    amount bigint NOT NULL,
    created_at_us bigint NOT NULL,
    effective_at_us bigint,
    kind ledger.transfer_kind NOT NULL,
    currency text NOT NULL,
    client text NOT NULL,
    reason text NOT NULL,
    figures jsonb NOT NULL,
    reference text,
    details_hash bytea,
    parent_id bigint,
    group_id bigint,
    xid xid8 DEFAULT pg_current_xact_id(),
    CONSTRAINT declines_amount_check CHECK ((amount > 0))
);
COMMENT ON COLUMN ledger.declines.figures IS
  'Metadata of the error: account, currency, available, requested and the like, as text.';
COMMENT ON COLUMN ledger.declines.group_id IS
  'Set when a whole group was refused: the row then tells of its first item that failed.';
COMMENT ON COLUMN ledger.declines.xid IS
  'The transaction that stored it, as in the journal; NULL where that was before the column.';
ALTER TABLE ledger.declines ADD CONSTRAINT declines_pkey PRIMARY KEY (id);
CREATE INDEX declines_by_payer ON ledger.declines (debit_account, xid, id) WHERE (xid IS NOT NULL);
CREATE INDEX declines_of_payer ON ledger.declines (debit_account, created_at_us, id);
CREATE INDEX declines_reference ON ledger.declines (client, reference, id) WHERE (reference IS NOT
  NULL);
CREATE INDEX declines_short_reversals ON ledger.declines (parent_id, id DESC) WHERE ((kind = 'REVERSAL'::ledger.transfer_kind) AND (reason = 'INSUFFICIENT_FUNDS'::text));
CREATE TRIGGER append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON ledger.declines FOR EACH STATEMENT
  EXECUTE FUNCTION ledger.refuse_change();
ALTER TABLE ledger.declines ENABLE ALWAYS TRIGGER append_only;
GRANT SELECT,INSERT ON TABLE ledger.declines TO paycore_command;
GRANT SELECT ON TABLE ledger.declines TO paycore_audit, paycore_projector, paycore_query;

CREATE TABLE ledger.device_touches (
    device bytea NOT NULL,
    kind text NOT NULL,
    subject bytea NOT NULL,
    seen_us bigint NOT NULL,
    CONSTRAINT device_touches_hashes CHECK (((octet_length(device) = 16) AND (octet_length(subject) = 16))),
    CONSTRAINT device_touches_kind CHECK ((kind = ANY (ARRAY['PAYEE'::text, 'IDENTIFIER'::text])))
);
COMMENT ON COLUMN ledger.device_touches.device IS
  'Keyed hash of client and device id: devices are a client''s own, and personal data.';
COMMENT ON COLUMN ledger.device_touches.subject IS 'Keyed hash of the payee or identifier.';
COMMENT ON COLUMN ledger.device_touches.seen_us IS 'When it was last let through.';
ALTER TABLE ledger.device_touches
    ADD CONSTRAINT device_touches_pkey PRIMARY KEY (device, kind, subject);
CREATE INDEX device_touches_seen ON ledger.device_touches (seen_us);
GRANT SELECT,INSERT,DELETE ON TABLE ledger.device_touches TO paycore_command;
GRANT UPDATE (seen_us) ON TABLE ledger.device_touches TO paycore_command;

CREATE TABLE ledger.transfers (
    id bigint NOT NULL,
    debit_account bigint NOT NULL,
    credit_account bigint NOT NULL,
    amount bigint NOT NULL,
    debit_version bigint NOT NULL,
    credit_version bigint,
    debit_balance_after bigint NOT NULL,
    credit_balance_after bigint,
    debit_held_after bigint NOT NULL,
    created_at_us bigint NOT NULL,
    effective_at_us bigint,
    authorization_id bigint,
    kind ledger.transfer_kind NOT NULL,
    step_up ledger.step_up_basis NOT NULL,
    currency text NOT NULL,
    client text NOT NULL,
    reference text,
    details_hash bytea,
    parent_id bigint,
    parent_sequence bigint,
    parent_remaining bigint,
    parent_state ledger.transfer_state,
    released bigint,
    expires_at_us bigint,
    group_id bigint,
    review text,
    CONSTRAINT transfers_amount_positive CHECK ((amount > 0)),
    CONSTRAINT transfers_authorized CHECK (((step_up = 'AUTHORIZED'::ledger.step_up_basis) = (authorization_id IS NOT NULL))),
    CONSTRAINT transfers_child CHECK (
CASE
    WHEN (kind = ANY (ARRAY['CAPTURE'::ledger.transfer_kind, 'RELEASE'::ledger.transfer_kind, 'REFUND'::ledger.transfer_kind, 'REVERSAL'::ledger.transfer_kind])) THEN ((parent_id IS NOT NULL) AND (parent_state IS NOT NULL) AND (COALESCE(parent_sequence, (0)::bigint) > 0) AND (COALESCE(parent_remaining, ('-1'::integer)::bigint) >= 0))
    ELSE (parent_id IS NULL)
END),
    CONSTRAINT transfers_extras CHECK ((((expires_at_us IS NULL) OR (kind = 'HOLD'::ledger.transfer_kind)) AND ((review IS NULL) OR ((kind = 'HOLD'::ledger.transfer_kind) AND ((length(review) >= 1) AND (length(review) <= 64)))) AND ((released IS NULL) OR ((kind = 'CAPTURE'::ledger.transfer_kind) AND (released > 0) AND (COALESCE(parent_remaining, ('-1'::integer)::bigint) = 0))))),
    CONSTRAINT transfers_legs CHECK (
CASE
    WHEN (kind = ANY (ARRAY['HOLD'::ledger.transfer_kind, 'RELEASE'::ledger.transfer_kind])) THEN ((credit_version IS NULL) AND (credit_balance_after IS NULL))
    ELSE ((credit_version IS NOT NULL) AND (credit_balance_after IS NOT NULL))
END),
    CONSTRAINT transfers_two_accounts CHECK ((debit_account <> credit_account)),
    CONSTRAINT transfers_versions_positive CHECK (((debit_version > 0) AND (credit_version > 0)))
)
PARTITION BY RANGE (id);
COMMENT ON COLUMN ledger.transfers.details_hash IS
  'Keyed hash of the row''s personal data in transfer_details, which may be erased.';
COMMENT ON COLUMN ledger.transfers.parent_id IS
  'The transfer that this one captures, releases, refunds or reverses.';
COMMENT ON COLUMN ledger.transfers.parent_sequence IS 'Gap-free from 1 under its parent.';
COMMENT ON COLUMN ledger.transfers.parent_remaining IS
  'What the parent has left after this row, to be captured or refunded.';
COMMENT ON COLUMN ledger.transfers.parent_state IS 'The state in which this row put its parent.';
COMMENT ON COLUMN ledger.transfers.released IS
  'What a capture that ended its hold set free beside what it moved.';
COMMENT ON COLUMN ledger.transfers.expires_at_us IS
  'From when on a hold cannot be captured, whether or not it has been released yet.';
COMMENT ON COLUMN ledger.transfers.review IS
  'The rule for which a payment was posted as a hold, until someone approves or refuses it.';
ALTER TABLE ledger.transfers
    ADD CONSTRAINT transfers_deadline CHECK ((expires_at_us > created_at_us)) NOT VALID;
ALTER TABLE ledger.transfers ADD CONSTRAINT transfers_pkey PRIMARY KEY (id);
CREATE INDEX transfers_held_for ON ledger.transfers (credit_account, created_at_us, id) WHERE
  (credit_version IS NULL);
CREATE INDEX transfers_reference ON ledger.transfers (client, reference, id) WHERE (reference IS NOT
  NULL);
CREATE TRIGGER append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON ledger.transfers FOR EACH
  STATEMENT EXECUTE FUNCTION ledger.refuse_change();
ALTER TABLE ledger.transfers ENABLE ALWAYS TRIGGER append_only;
CREATE TRIGGER apply_transfers AFTER INSERT ON ledger.transfers REFERENCING NEW TABLE AS inserted
  FOR EACH STATEMENT EXECUTE FUNCTION ledger.apply_transfers();
ALTER TABLE ledger.transfers ENABLE ALWAYS TRIGGER apply_transfers;
GRANT SELECT,INSERT ON TABLE ledger.transfers TO paycore_command;
GRANT SELECT ON TABLE ledger.transfers TO paycore_projector, paycore_query, paycore_audit;

CREATE VIEW ledger.entries AS
 SELECT transfers.debit_account AS account,
    transfers.debit_version AS version,
    transfers.id AS transfer,
        CASE
            WHEN (transfers.credit_version IS NULL) THEN (0)::bigint
            ELSE (- transfers.amount)
        END AS change,
    transfers.debit_balance_after AS balance_after,
        CASE transfers.kind
            WHEN 'HOLD'::ledger.transfer_kind THEN transfers.amount
            WHEN 'RELEASE'::ledger.transfer_kind THEN (- transfers.amount)
            WHEN 'CAPTURE'::ledger.transfer_kind THEN (- (transfers.amount + COALESCE(transfers.released, (0)::bigint)))
            ELSE (0)::bigint
        END AS held_change,
    transfers.debit_held_after AS held_after,
    transfers.currency,
    transfers.created_at_us
   FROM ledger.transfers
UNION ALL
 SELECT transfers.credit_account AS account,
    transfers.credit_version AS version,
    transfers.id AS transfer,
    transfers.amount AS change,
    transfers.credit_balance_after AS balance_after,
    0 AS held_change,
    NULL::bigint AS held_after,
    transfers.currency,
    transfers.created_at_us
   FROM ledger.transfers
  WHERE (transfers.credit_version IS NOT NULL);
GRANT SELECT ON TABLE ledger.entries TO paycore_command, paycore_audit, paycore_projector,
  paycore_query;

CREATE TABLE ledger.epoch (
    only_row boolean DEFAULT true NOT NULL,
    epoch bigint NOT NULL,
    CONSTRAINT epoch_epoch_check CHECK ((epoch > 0)),
    CONSTRAINT epoch_only_row_check CHECK (only_row)
);
INSERT INTO ledger.epoch (only_row, epoch) VALUES
  (true, 1);
ALTER TABLE ledger.epoch ADD CONSTRAINT epoch_pkey PRIMARY KEY (only_row);
GRANT SELECT ON TABLE ledger.epoch TO paycore_command, paycore_audit, paycore_projector,
  paycore_query;

CREATE TABLE ledger.external_identifiers (
    account bigint NOT NULL,
    created_at_us bigint NOT NULL,
    scheme text NOT NULL,
    value text NOT NULL,
    CONSTRAINT external_identifiers_bounded CHECK (((scheme ~ '^[a-z0-9_-]{1,32}$'::text) AND ((length(value) >= 1) AND (length(value) <= 128))))
);
ALTER TABLE ledger.external_identifiers
    ADD CONSTRAINT external_identifiers_one_of_each UNIQUE (account, scheme);
ALTER TABLE ledger.external_identifiers
    ADD CONSTRAINT external_identifiers_pkey PRIMARY KEY (scheme, value);
CREATE TRIGGER append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON ledger.external_identifiers FOR
  EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
ALTER TABLE ledger.external_identifiers ENABLE ALWAYS TRIGGER append_only;
CREATE TRIGGER audit_identifier AFTER INSERT ON ledger.external_identifiers FOR EACH ROW EXECUTE
  FUNCTION ledger.audit_identifier();
ALTER TABLE ledger.external_identifiers ENABLE ALWAYS TRIGGER audit_identifier;
ALTER TABLE ledger.external_identifiers
    ADD CONSTRAINT external_identifiers_account_fkey FOREIGN KEY (account) REFERENCES ledger.accounts(id);
GRANT SELECT,INSERT ON TABLE ledger.external_identifiers TO paycore_command;
GRANT SELECT ON TABLE ledger.external_identifiers TO paycore_audit, paycore_query;

CREATE TABLE ledger.grants (
    client text NOT NULL,
    action ledger.grant_action NOT NULL,
    scope ledger.grant_scope NOT NULL,
    institution text DEFAULT ''::text NOT NULL,
    CONSTRAINT grants_institution_named CHECK (((scope = 'INSTITUTION'::ledger.grant_scope) = (institution <> ''::text)))
);
ALTER TABLE ledger.grants
    ADD CONSTRAINT grants_pkey PRIMARY KEY (client, action, scope, institution);
CREATE TRIGGER audit_policy AFTER INSERT OR DELETE OR UPDATE ON ledger.grants FOR EACH ROW EXECUTE FUNCTION ledger.audit_policy('GRANT', 'client');
ALTER TABLE ledger.grants ENABLE ALWAYS TRIGGER audit_policy;
CREATE TRIGGER never_truncated BEFORE TRUNCATE ON ledger.grants FOR EACH STATEMENT EXECUTE FUNCTION
  ledger.refuse_change();
ALTER TABLE ledger.grants ENABLE ALWAYS TRIGGER never_truncated;
GRANT SELECT,INSERT,DELETE ON TABLE ledger.grants TO paycore_command;
GRANT SELECT ON TABLE ledger.grants TO paycore_audit, paycore_query, paycore_projector;

CREATE TABLE ledger.id_leases (
    instance smallint NOT NULL,
    holder uuid NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    issued_until_ms bigint DEFAULT 0 NOT NULL,
    CONSTRAINT id_leases_instance_check CHECK (((instance >= 0) AND (instance <= 1023)))
);
COMMENT ON COLUMN ledger.id_leases.issued_until_ms IS
  'Milliseconds since 1970 up to which ids of the number may have been issued.';
ALTER TABLE ledger.id_leases ADD CONSTRAINT id_leases_pkey PRIMARY KEY (instance);
GRANT SELECT,INSERT ON TABLE ledger.id_leases TO paycore_command;
GRANT SELECT ON TABLE ledger.id_leases TO paycore_audit;
GRANT UPDATE (holder, expires_at, issued_until_ms) ON TABLE ledger.id_leases TO paycore_command;

CREATE TABLE ledger.idempotency_keys (
    client text NOT NULL,
    key text NOT NULL,
    journal_xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    journal_id bigint NOT NULL,
    outcome_id bigint NOT NULL,
    outcome ledger.outcome_kind NOT NULL,
    request_hash bytea NOT NULL,
    figures jsonb,
    CONSTRAINT idempotency_keys_client_check CHECK (((length(client) >= 1) AND (length(client) <= 128))),
    CONSTRAINT idempotency_keys_key_check CHECK (((length(key) >= 1) AND (length(key) <= 128)))
);
COMMENT ON COLUMN ledger.idempotency_keys.figures IS
  'An account as it stood after the command, where no immutable row tells it.';
CREATE INDEX idempotency_keys_journal ON ledger.idempotency_keys USING brin (journal_id) WITH (pages_per_range='32', autosummarize='on');
CREATE UNIQUE INDEX idempotency_keys_once ON ledger.idempotency_keys (ledger.key_locator(client,
  key));
CREATE TRIGGER append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON ledger.idempotency_keys FOR EACH
  STATEMENT EXECUTE FUNCTION ledger.refuse_change();
ALTER TABLE ledger.idempotency_keys ENABLE ALWAYS TRIGGER append_only;
GRANT SELECT,INSERT ON TABLE ledger.idempotency_keys TO paycore_command;
GRANT SELECT ON TABLE ledger.idempotency_keys TO paycore_audit;

CREATE TABLE ledger.journal (
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    id bigint NOT NULL,
    created_at_us bigint NOT NULL,
    transfers bigint[] DEFAULT '{}'::bigint[] NOT NULL,
    declines bigint[] DEFAULT '{}'::bigint[] NOT NULL,
    accounts bigint[] DEFAULT '{}'::bigint[] NOT NULL,
    erased_keys bigint[] DEFAULT '{}'::bigint[] NOT NULL
);
COMMENT ON COLUMN ledger.journal.accounts IS
  'Accounts opened or changed otherwise than by an entry.';
COMMENT ON COLUMN ledger.journal.erased_keys IS
  'Data keys of a subject that was erased: what stands under them is to be shown anew.';
ALTER TABLE ledger.journal ADD CONSTRAINT journal_pkey PRIMARY KEY (xid, id);
CREATE TRIGGER append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON ledger.journal FOR EACH STATEMENT
  EXECUTE FUNCTION ledger.refuse_change();
ALTER TABLE ledger.journal ENABLE ALWAYS TRIGGER append_only;
GRANT SELECT,INSERT ON TABLE ledger.journal TO paycore_command;
GRANT SELECT ON TABLE ledger.journal TO paycore_audit, paycore_projector, paycore_query;

CREATE TABLE ledger.legal_children (
    parent ledger.transfer_kind NOT NULL,
    child ledger.transfer_kind NOT NULL
);
INSERT INTO ledger.legal_children (parent, child) VALUES
  ('HOLD', 'CAPTURE'),
  ('HOLD', 'RELEASE'),
  ('TRANSFER', 'REFUND'),
  ('CAPTURE', 'REFUND'),
  ('FEE', 'REFUND'),
  ('TRANSFER', 'REVERSAL'),
  ('DEPOSIT', 'REVERSAL'),
  ('WITHDRAWAL', 'REVERSAL'),
  ('CAPTURE', 'REVERSAL'),
  ('FEE', 'REVERSAL'),
  ('NET_SETTLEMENT', 'REVERSAL');
ALTER TABLE ledger.legal_children ADD CONSTRAINT legal_children_pkey PRIMARY KEY (parent, child);
GRANT SELECT ON TABLE ledger.legal_children TO paycore_command, paycore_audit;

CREATE SEQUENCE ledger.policy_revision
    START WITH 2
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
GRANT USAGE ON SEQUENCE ledger.policy_revision TO paycore_command;

CREATE TABLE ledger.limits (
    client text NOT NULL,
    method text NOT NULL,
    name text NOT NULL,
    switched_off boolean NOT NULL,
    per_s double precision,
    burst bigint,
    window_s bigint,
    payees bigint,
    identifiers bigint,
    revision bigint DEFAULT nextval('ledger.policy_revision'::regclass) NOT NULL,
    CONSTRAINT limits_client_bounded CHECK ((length(client) <= 128)),
    CONSTRAINT limits_method_of_client CHECK (((method = ''::text) OR ((client <> ''::text) AND (name <> 'velocity'::text) AND (method ~ '^[A-Za-z0-9_.]{1,128}/[A-Za-z0-9]{1,64}$'::text)))),
    CONSTRAINT limits_name_known CHECK ((name = ANY (ARRAY['client'::text, 'address'::text, 'user'::text, 'device'::text, 'velocity'::text]))),
    CONSTRAINT limits_one_setting CHECK (
CASE
    WHEN switched_off THEN (num_nonnulls(per_s, burst, window_s, payees, identifiers) = 0)
    WHEN (name = 'velocity'::text) THEN ((num_nonnulls(per_s, burst) = 0) AND (num_nulls(window_s, payees, identifiers) = 0))
    ELSE ((num_nulls(per_s, burst) = 0) AND (num_nonnulls(window_s, payees, identifiers) = 0))
END),
    CONSTRAINT limits_rate_bounded CHECK (((per_s > (0)::double precision) AND (per_s < ('1000000000'::numeric)::double precision) AND ((burst >= 1) AND (burst <= 1000000000)) AND ((burst)::double precision <= (per_s * (86400)::double precision)))),
    CONSTRAINT limits_velocity_bounded CHECK (((window_s >= 1) AND (window_s <= 86400) AND ((payees >= 1) AND (payees <= 1000)) AND ((identifiers >= 1) AND (identifiers <= 1000))))
);
COMMENT ON COLUMN ledger.limits.client IS 'Empty for every client of whom nothing else is said.';
COMMENT ON COLUMN ledger.limits.method IS
  'package.Service/Method, whose calls then count apart; empty for all of them.';
COMMENT ON COLUMN ledger.limits.switched_off IS 'There is no such limit.';
COMMENT ON COLUMN ledger.limits.per_s IS 'Units a second.';
COMMENT ON COLUMN ledger.limits.burst IS 'Units at once: what comes back within a day.';
COMMENT ON COLUMN ledger.limits.window_s IS
  'Seconds within which a device may touch so many different payees and identifiers.';
COMMENT ON COLUMN ledger.limits.revision IS
  'Taken anew by every change, as that of step_up_policies.';
ALTER TABLE ledger.limits ADD CONSTRAINT limits_pkey PRIMARY KEY (client, method, name);
CREATE TRIGGER audit_policy AFTER INSERT OR DELETE OR UPDATE ON ledger.limits FOR EACH ROW EXECUTE
  FUNCTION ledger.audit_limit_setting();
ALTER TABLE ledger.limits ENABLE ALWAYS TRIGGER audit_policy;
CREATE TRIGGER never_truncated BEFORE TRUNCATE ON ledger.limits FOR EACH STATEMENT EXECUTE FUNCTION
  ledger.refuse_change();
ALTER TABLE ledger.limits ENABLE ALWAYS TRIGGER never_truncated;
GRANT SELECT,INSERT,DELETE ON TABLE ledger.limits TO paycore_command;
GRANT SELECT ON TABLE ledger.limits TO paycore_audit;
GRANT UPDATE (switched_off, per_s, burst, window_s, payees, identifiers, revision) ON TABLE
  ledger.limits TO paycore_command;

CREATE TABLE ledger.open_holds (
    id bigint NOT NULL,
    account bigint NOT NULL,
    remaining bigint NOT NULL,
    sequence bigint DEFAULT 0 NOT NULL,
    expires_at_us bigint,
    CONSTRAINT open_holds_remaining_check CHECK ((remaining > 0))
)
WITH (fillfactor='70');
ALTER TABLE ledger.open_holds ADD CONSTRAINT open_holds_pkey PRIMARY KEY (id);
CREATE INDEX open_holds_account ON ledger.open_holds (account);
CREATE INDEX open_holds_expiry ON ledger.open_holds (expires_at_us) WHERE (expires_at_us IS NOT
  NULL);
GRANT SELECT ON TABLE ledger.open_holds TO paycore_command, paycore_audit;

CREATE TABLE ledger.risk_rules (
    currency text NOT NULL,
    daily_limit bigint,
    daily_decision text DEFAULT 'REVIEW'::text NOT NULL,
    new_payee_above bigint,
    new_payee_decision text DEFAULT 'REVIEW'::text NOT NULL,
    revision bigint DEFAULT nextval('ledger.policy_revision'::regclass) NOT NULL,
    CONSTRAINT risk_rules_currency_code CHECK ((currency ~ '^[A-Z]{3}$'::text)),
    CONSTRAINT risk_rules_decisions CHECK (((daily_decision = ANY (ARRAY['DECLINE'::text, 'REVIEW'::text])) AND (new_payee_decision = ANY (ARRAY['DECLINE'::text, 'REVIEW'::text])))),
    CONSTRAINT risk_rules_not_negative CHECK (((daily_limit >= 0) AND (new_payee_above >= 0)))
);
COMMENT ON COLUMN ledger.risk_rules.daily_limit IS
  'What a payer may pay in a day of UTC, in minor units; what exceeds it is decided so.';
COMMENT ON COLUMN ledger.risk_rules.new_payee_above IS
  'Above this many minor units a first payment to a payee is decided so.';
COMMENT ON COLUMN ledger.risk_rules.revision IS
  'Taken anew by every change, as that of step_up_policies.';
ALTER TABLE ledger.risk_rules ADD CONSTRAINT risk_rules_pkey PRIMARY KEY (currency);
CREATE TRIGGER audit_policy AFTER INSERT OR DELETE OR UPDATE ON ledger.risk_rules FOR EACH ROW EXECUTE FUNCTION ledger.audit_policy('RISK_RULE', 'currency');
ALTER TABLE ledger.risk_rules ENABLE ALWAYS TRIGGER audit_policy;
CREATE TRIGGER never_truncated BEFORE TRUNCATE ON ledger.risk_rules FOR EACH STATEMENT EXECUTE
  FUNCTION ledger.refuse_change();
ALTER TABLE ledger.risk_rules ENABLE ALWAYS TRIGGER never_truncated;
GRANT SELECT,INSERT,DELETE ON TABLE ledger.risk_rules TO paycore_command;
GRANT SELECT ON TABLE ledger.risk_rules TO paycore_audit;
GRANT UPDATE (daily_limit, daily_decision, new_payee_above, new_payee_decision, revision) ON TABLE
  ledger.risk_rules TO paycore_command;

CREATE TABLE ledger.scheme_grants (
    client text NOT NULL,
    scheme text NOT NULL,
    CONSTRAINT scheme_grants_scheme CHECK ((scheme ~ '^[a-z0-9_-]{1,32}$'::text))
);
COMMENT ON TABLE ledger.scheme_grants IS
  'Which clients may link names of which schemes, to accounts that their LINK_IDENTIFIER reaches.';
ALTER TABLE ledger.scheme_grants ADD CONSTRAINT scheme_grants_pkey PRIMARY KEY (client, scheme);
CREATE TRIGGER audit_policy AFTER INSERT OR DELETE OR UPDATE ON ledger.scheme_grants FOR EACH ROW EXECUTE FUNCTION ledger.audit_policy('SCHEME_GRANT', 'client');
ALTER TABLE ledger.scheme_grants ENABLE ALWAYS TRIGGER audit_policy;
CREATE TRIGGER never_truncated BEFORE TRUNCATE ON ledger.scheme_grants FOR EACH STATEMENT EXECUTE
  FUNCTION ledger.refuse_change();
ALTER TABLE ledger.scheme_grants ENABLE ALWAYS TRIGGER never_truncated;
GRANT SELECT,INSERT,DELETE ON TABLE ledger.scheme_grants TO paycore_command;
GRANT SELECT ON TABLE ledger.scheme_grants TO paycore_audit;

CREATE TABLE ledger.seals (
    number bigint NOT NULL,
    epoch bigint NOT NULL,
    first_xid xid8 NOT NULL,
    first_id bigint NOT NULL,
    last_xid xid8 NOT NULL,
    last_id bigint NOT NULL,
    journal_rows bigint NOT NULL,
    sealed_at_us bigint NOT NULL,
    previous bytea NOT NULL,
    digests bytea NOT NULL,
    hash bytea NOT NULL,
    follows bigint GENERATED ALWAYS AS (NULLIF((number - 1), 0)) STORED,
    CONSTRAINT seals_begin CHECK (((number > 1) OR (previous = decode(repeat('00'::text, 32), 'hex'::text)))),
    CONSTRAINT seals_digest_a_row CHECK ((octet_length(digests) = (32 * journal_rows))),
    CONSTRAINT seals_epoch_check CHECK ((epoch > 0)),
    CONSTRAINT seals_hash_check CHECK ((octet_length(hash) = 32)),
    CONSTRAINT seals_in_order CHECK ((ROW(last_xid, last_id) >= ROW(first_xid, first_id))),
    CONSTRAINT seals_journal_rows_check CHECK ((journal_rows > 0)),
    CONSTRAINT seals_number_check CHECK ((number > 0)),
    CONSTRAINT seals_previous_check CHECK ((octet_length(previous) = 32))
);
COMMENT ON TABLE ledger.seals IS
  'Each seals the journal rows after those of the seal before it, in the order of (xid, id).';
COMMENT ON COLUMN ledger.seals.epoch IS 'The epoch of the ledger when it was made.';
COMMENT ON COLUMN ledger.seals.previous IS
  'The hash of the seal before; 32 zero bytes in the first.';
COMMENT ON COLUMN ledger.seals.digests IS
  'SHA-256 of each journal row with what it wrote, one after the other.';
ALTER TABLE ledger.seals ADD CONSTRAINT seals_once UNIQUE (number, hash);
ALTER TABLE ledger.seals ADD CONSTRAINT seals_pkey PRIMARY KEY (number);
CREATE TRIGGER append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON ledger.seals FOR EACH STATEMENT
  EXECUTE FUNCTION ledger.refuse_change();
ALTER TABLE ledger.seals ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE ledger.seals
    ADD CONSTRAINT seals_follow FOREIGN KEY (follows, previous) REFERENCES ledger.seals(number, hash);
GRANT SELECT,INSERT ON TABLE ledger.seals TO paycore_projector;
GRANT SELECT ON TABLE ledger.seals TO paycore_audit;

CREATE TABLE ledger.step_up_policies (
    currency text NOT NULL,
    threshold bigint NOT NULL,
    first_payment_threshold bigint,
    daily_total bigint,
    revision bigint DEFAULT nextval('ledger.policy_revision'::regclass) NOT NULL,
    CONSTRAINT step_up_policies_currency_check CHECK ((currency ~ '^[A-Z]{3}$'::text)),
    CONSTRAINT step_up_policies_daily_total_check CHECK ((daily_total >= 0)),
    CONSTRAINT step_up_policies_first_is_lower CHECK (((first_payment_threshold >= 0) AND (first_payment_threshold <= threshold))),
    CONSTRAINT step_up_policies_threshold_check CHECK ((threshold >= 0))
);
COMMENT ON COLUMN ledger.step_up_policies.threshold IS
  'Above this many minor units a payment needs its payer''s approval.';
COMMENT ON COLUMN ledger.step_up_policies.first_payment_threshold IS
  'The same for payments to a payee that the payer has not paid before; NULL for no such rule.';
COMMENT ON COLUMN ledger.step_up_policies.daily_total IS
  'What an account may pay without approval in a day of UTC, in minor units; NULL for no such rule.';
COMMENT ON COLUMN ledger.step_up_policies.revision IS
  'Taken anew by every change: never twice the same, also where a policy was removed in between.';
ALTER TABLE ledger.step_up_policies ADD CONSTRAINT step_up_policies_pkey PRIMARY KEY (currency);
CREATE TRIGGER audit_policy AFTER INSERT OR DELETE OR UPDATE ON ledger.step_up_policies FOR EACH ROW EXECUTE FUNCTION ledger.audit_policy('STEP_UP_POLICY', 'currency');
ALTER TABLE ledger.step_up_policies ENABLE ALWAYS TRIGGER audit_policy;
CREATE TRIGGER never_truncated BEFORE TRUNCATE ON ledger.step_up_policies FOR EACH STATEMENT EXECUTE
  FUNCTION ledger.refuse_change();
ALTER TABLE ledger.step_up_policies ENABLE ALWAYS TRIGGER never_truncated;
GRANT SELECT,INSERT,DELETE ON TABLE ledger.step_up_policies TO paycore_command;
GRANT SELECT ON TABLE ledger.step_up_policies TO paycore_audit;
GRANT UPDATE (threshold, first_payment_threshold, daily_total, revision) ON TABLE
  ledger.step_up_policies TO paycore_command;

CREATE TABLE ledger.transfer_details (
    id bigint NOT NULL,
    user_id text,
    device_id text,
    ip_address text,
    description text,
    metadata jsonb,
    owner_key bigint,
    actor_key bigint,
    sealed bytea,
    CONSTRAINT transfer_details_plain_or_sealed CHECK (
CASE
    WHEN (sealed IS NULL) THEN ((owner_key IS NULL) AND (actor_key IS NULL))
    ELSE ((owner_key IS NOT NULL) AND (length(sealed) > 29) AND (actor_key IS DISTINCT FROM owner_key) AND (num_nonnulls(user_id, device_id, ip_address, description, metadata) = 0))
END)
);
COMMENT ON COLUMN ledger.transfer_details.owner_key IS
  'The data key of the owner of the account whose payment it was, in the signing service.';
COMMENT ON COLUMN ledger.transfer_details.actor_key IS
  'The data key of who acted, where that was somebody else; the row opens with both only.';
COMMENT ON COLUMN ledger.transfer_details.sealed IS
  'Layout, nonce, ciphertext and tag, as paycore/runtime/sealing.py says.';
ALTER TABLE ledger.transfer_details ADD CONSTRAINT transfer_details_pkey PRIMARY KEY (id);
CREATE INDEX transfer_details_actor_key ON ledger.transfer_details (actor_key, id) WHERE (actor_key
  IS NOT NULL);
CREATE INDEX transfer_details_owner_key ON ledger.transfer_details (owner_key, id) WHERE (owner_key
  IS NOT NULL);
CREATE TRIGGER append_only BEFORE DELETE OR TRUNCATE ON ledger.transfer_details FOR EACH STATEMENT
  EXECUTE FUNCTION ledger.refuse_change();
ALTER TABLE ledger.transfer_details ENABLE ALWAYS TRIGGER append_only;
CREATE TRIGGER only_sealed BEFORE UPDATE ON ledger.transfer_details FOR EACH ROW EXECUTE FUNCTION
  ledger.only_seal();
ALTER TABLE ledger.transfer_details ENABLE ALWAYS TRIGGER only_sealed;
GRANT SELECT,INSERT ON TABLE ledger.transfer_details TO paycore_command;
GRANT SELECT ON TABLE ledger.transfer_details TO paycore_audit, paycore_projector, paycore_query;

CREATE TABLE ledger.transfer_groups (
    id bigint NOT NULL,
    created_at_us bigint NOT NULL,
    client text NOT NULL,
    transfers bigint[] NOT NULL,
    CONSTRAINT transfer_groups_size CHECK (((cardinality(transfers) >= 1) AND (cardinality(transfers) <= 1000)))
);
ALTER TABLE ledger.transfer_groups ADD CONSTRAINT transfer_groups_pkey PRIMARY KEY (id);
CREATE TRIGGER append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON ledger.transfer_groups FOR EACH
  STATEMENT EXECUTE FUNCTION ledger.refuse_change();
ALTER TABLE ledger.transfer_groups ENABLE ALWAYS TRIGGER append_only;
GRANT SELECT,INSERT ON TABLE ledger.transfer_groups TO paycore_command;
GRANT SELECT ON TABLE ledger.transfer_groups TO paycore_audit, paycore_projector, paycore_query;

CREATE TABLE ledger.verifications (
    id bigint NOT NULL,
    recorded_us bigint DEFAULT ((EXTRACT(epoch FROM clock_timestamp()) * (1000000)::numeric))::bigint NOT NULL,
    epoch bigint NOT NULL,
    xid xid8 NOT NULL,
    journal_id bigint NOT NULL,
    snapshot pg_snapshot NOT NULL,
    since bigint,
    checks jsonb NOT NULL,
    CONSTRAINT verifications_checks_check CHECK ((jsonb_typeof(checks) = 'object'::text))
);
COMMENT ON TABLE ledger.verifications IS
  'Each row: the ledger was found whole, as far as it was visible in the snapshot.';
COMMENT ON COLUMN ledger.verifications.journal_id IS
  'With epoch and xid the position up to which every reader''s journal is complete.';
COMMENT ON COLUMN ledger.verifications.since IS
  'The verification on which this one builds; NULL where it began with the first row.';
COMMENT ON COLUMN ledger.verifications.checks IS 'How many were examined, by rule.';
ALTER TABLE ledger.verifications ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME ledger.verifications_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
ALTER TABLE ledger.verifications ADD CONSTRAINT verifications_pkey PRIMARY KEY (id);
CREATE TRIGGER append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON ledger.verifications FOR EACH
  STATEMENT EXECUTE FUNCTION ledger.refuse_change();
ALTER TABLE ledger.verifications ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE ledger.verifications
    ADD CONSTRAINT verifications_since_fkey FOREIGN KEY (since) REFERENCES ledger.verifications(id);
GRANT SELECT ON TABLE ledger.verifications TO paycore_audit;
GRANT INSERT (epoch, xid, journal_id, snapshot, since, checks) ON TABLE ledger.verifications TO
  paycore_audit;

-- Schema projection

CREATE SCHEMA projection;
GRANT USAGE ON SCHEMA projection TO paycore_projector, paycore_audit, paycore_operator;

CREATE FUNCTION projection.request(sink text, action text, kind text, document_id bigint, reason text, requested_by text) RETURNS bigint
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO ''
    AS $_$
  INSERT INTO projection.requests (sink, action, kind, document_id, reason, requested_by)
  VALUES ($1, $2, $3, $4, $5, $6)
  RETURNING id
$_$;
REVOKE ALL ON FUNCTION projection.request(sink text, action text, kind text, document_id bigint,
  reason text, requested_by text) FROM PUBLIC;
GRANT ALL ON FUNCTION projection.request(sink text, action text, kind text, document_id bigint,
  reason text, requested_by text) TO paycore_operator;

CREATE TABLE projection.checkpoints (
    sink text NOT NULL,
    epoch bigint NOT NULL,
    xid xid8 NOT NULL,
    journal_id bigint NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT checkpoints_epoch_check CHECK ((epoch > 0)),
    CONSTRAINT checkpoints_journal_id_check CHECK ((journal_id >= 0)),
    CONSTRAINT checkpoints_sink_check CHECK (((length(sink) >= 1) AND (length(sink) <= 64)))
);
COMMENT ON TABLE projection.checkpoints IS
  'Moved only after the sink accepted everything up to (xid, journal_id) of ledger.journal.';
ALTER TABLE projection.checkpoints ADD CONSTRAINT checkpoints_pkey PRIMARY KEY (sink);
GRANT SELECT,INSERT,UPDATE ON TABLE projection.checkpoints TO paycore_projector;
GRANT SELECT ON TABLE projection.checkpoints TO paycore_audit, paycore_operator;

CREATE TABLE projection.dead_letters (
    sink text NOT NULL,
    kind text NOT NULL,
    document_id bigint NOT NULL,
    version bigint NOT NULL,
    error_type text NOT NULL,
    reason text NOT NULL,
    journal_xid xid8 NOT NULL,
    journal_id bigint NOT NULL,
    failures bigint DEFAULT 1 NOT NULL,
    first_failed_at timestamp with time zone DEFAULT now() NOT NULL,
    last_failed_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT dead_letters_error_type_check CHECK ((length(error_type) <= 128)),
    CONSTRAINT dead_letters_failures_check CHECK ((failures > 0)),
    CONSTRAINT dead_letters_kind_check CHECK (((length(kind) >= 1) AND (length(kind) <= 64))),
    CONSTRAINT dead_letters_reason_check CHECK ((length(reason) <= 512)),
    CONSTRAINT dead_letters_sink_check CHECK (((length(sink) >= 1) AND (length(sink) <= 64)))
);
COMMENT ON COLUMN projection.dead_letters.journal_id IS
  'With journal_xid the end of the batch in which the document was last refused.';
ALTER TABLE projection.dead_letters
    ADD CONSTRAINT dead_letters_pkey PRIMARY KEY (sink, kind, document_id);
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE projection.dead_letters TO paycore_projector;
GRANT SELECT ON TABLE projection.dead_letters TO paycore_audit, paycore_operator;

CREATE TABLE projection.generations (
    sink text NOT NULL,
    generation bigint NOT NULL,
    state text NOT NULL,
    epoch bigint NOT NULL,
    months text[] DEFAULT '{}'::text[] NOT NULL,
    reason text NOT NULL,
    phase text DEFAULT ''::text NOT NULL,
    after_id bigint DEFAULT 0 NOT NULL,
    documents bigint DEFAULT 0 NOT NULL,
    expected bigint DEFAULT 0 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    switched_at timestamp with time zone,
    CONSTRAINT generations_documents_check CHECK ((documents >= 0)),
    CONSTRAINT generations_epoch_check CHECK ((epoch > 0)),
    CONSTRAINT generations_expected_check CHECK ((expected >= 0)),
    CONSTRAINT generations_generation_check CHECK ((generation >= 0)),
    CONSTRAINT generations_phase_check CHECK ((length(phase) <= 16)),
    CONSTRAINT generations_reason_check CHECK ((length(reason) <= 256)),
    CONSTRAINT generations_sink_check CHECK (((length(sink) >= 1) AND (length(sink) <= 64))),
    CONSTRAINT generations_state_check CHECK ((state = ANY (ARRAY['BUILDING'::text, 'SERVING'::text, 'RETIRED'::text, 'FAILED'::text])))
);
COMMENT ON TABLE projection.generations IS
  'What the search index consists of. The indices themselves can be lost, and are then made anew.';
COMMENT ON COLUMN projection.generations.months IS
  'Months whose index was made and not dropped: one that is not there any more was lost.';
COMMENT ON COLUMN projection.generations.phase IS
  'Of a build: transfers, declines, accounts, check; after_id is the last id done in it.';
COMMENT ON COLUMN projection.generations.switched_at IS
  'When it began to serve, and when it ceased to: once retired, it is dropped after a grace.';
ALTER TABLE projection.generations ADD CONSTRAINT generations_pkey PRIMARY KEY (sink, generation);
CREATE UNIQUE INDEX generations_building ON projection.generations (sink) WHERE (state = 'BUILDING'::text);
CREATE UNIQUE INDEX generations_serving ON projection.generations (sink) WHERE (state = 'SERVING'::text);
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE projection.generations TO paycore_projector;
GRANT SELECT ON TABLE projection.generations TO paycore_audit, paycore_operator;

CREATE TABLE projection.requests (
    id bigint NOT NULL,
    sink text NOT NULL,
    action text NOT NULL,
    kind text,
    document_id bigint,
    reason text NOT NULL,
    requested_by text NOT NULL,
    role text DEFAULT SESSION_USER NOT NULL,
    requested_at timestamp with time zone DEFAULT now() NOT NULL,
    ended_at timestamp with time zone,
    outcome text,
    CONSTRAINT requests_action_check CHECK ((action = ANY (ARRAY['REBUILD'::text, 'CHECK'::text, 'REPAIR'::text, 'REPLAY'::text, 'DISCARD'::text]))),
    CONSTRAINT requests_kind_check CHECK (((length(kind) >= 1) AND (length(kind) <= 64))),
    CONSTRAINT requests_outcome_check CHECK ((length(outcome) <= 2048)),
    CONSTRAINT requests_reason_check CHECK (((length(reason) >= 1) AND (length(reason) <= 256))),
    CONSTRAINT requests_requested_by_check CHECK (((length(requested_by) >= 1) AND (length(requested_by) <= 64))),
    CONSTRAINT requests_sink_check CHECK (((length(sink) >= 1) AND (length(sink) <= 64)))
);
COMMENT ON TABLE projection.requests IS
  'Who asked the projector for what and why, and what came of it. Kept for ever.';
ALTER TABLE projection.requests ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME projection.requests_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
ALTER TABLE projection.requests ADD CONSTRAINT requests_pkey PRIMARY KEY (id);
CREATE INDEX requests_pending ON projection.requests (sink, id) WHERE (ended_at IS NULL);
GRANT SELECT ON TABLE projection.requests TO paycore_projector, paycore_audit, paycore_operator;
GRANT UPDATE (ended_at, outcome) ON TABLE projection.requests TO paycore_projector;

CREATE TABLE projection.rewrites (
    sink text NOT NULL,
    data_key bigint NOT NULL,
    round bigint DEFAULT 1 NOT NULL,
    after_id bigint DEFAULT 0 NOT NULL,
    not_before timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT rewrites_sink_check CHECK (((length(sink) >= 1) AND (length(sink) <= 64)))
);
COMMENT ON COLUMN projection.rewrites.round IS 'Rises when the work is asked for anew.';
COMMENT ON COLUMN projection.rewrites.after_id IS 'The last that the sink took in this round.';
ALTER TABLE projection.rewrites ADD CONSTRAINT rewrites_pkey PRIMARY KEY (sink, data_key);
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE projection.rewrites TO paycore_projector;
GRANT SELECT ON TABLE projection.rewrites TO paycore_audit;

-- Schema signing

CREATE SCHEMA signing;
GRANT USAGE ON SCHEMA signing TO paycore_signing;

CREATE TYPE signing.verdict AS ENUM ('CORRECT', 'INCORRECT', 'ABANDONED');
COMMENT ON TYPE signing.verdict IS
  'ABANDONED: reserved, and no verdict came (a crash); it counts as a failure.';

CREATE FUNCTION signing.forget_approvals(subject text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
  PERFORM 1 FROM signing.attempt_counters WHERE user_id = subject FOR UPDATE;
  DELETE FROM signing.pins WHERE user_id = subject;
  PERFORM 1 FROM signing.devices
    WHERE user_id = subject AND public_key IS NOT NULL
    ORDER BY id
    FOR UPDATE;
  UPDATE signing.devices
    SET revoked_at_us = coalesce(revoked_at_us, signing.now_us()), public_key = NULL
    WHERE user_id = subject AND public_key IS NOT NULL;
END
$$;
REVOKE ALL ON FUNCTION signing.forget_approvals(subject text) FROM PUBLIC;
GRANT ALL ON FUNCTION signing.forget_approvals(subject text) TO paycore_signing;

CREATE FUNCTION signing.keep_device() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
BEGIN
  IF TG_OP = 'UPDATE'
     AND (NEW.id, NEW.enrolled_at_us, NEW.user_id, NEW.algorithm, NEW.vouched_by)
         IS NOT DISTINCT FROM
         (OLD.id, OLD.enrolled_at_us, OLD.user_id, OLD.algorithm, OLD.vouched_by)
     AND NEW.revoked_at_us IS NOT NULL
     AND (OLD.revoked_at_us IS NULL OR NEW.revoked_at_us = OLD.revoked_at_us)
     AND (OLD.public_key IS NOT NULL AND NEW.public_key IS NULL
          OR OLD.revoked_at_us IS NULL AND NEW.public_key IS NOT DISTINCT FROM OLD.public_key)
  THEN
    RETURN NEW;
  END IF;
  RAISE EXCEPTION 'a device is only revoked and forgotten, and once'
    USING ERRCODE = 'restrict_violation';
END
$$;
REVOKE ALL ON FUNCTION signing.keep_device() FROM PUBLIC;

CREATE FUNCTION signing.now_us() RETURNS bigint
    LANGUAGE sql PARALLEL SAFE
    RETURN ((EXTRACT(epoch FROM clock_timestamp()) * (1000000)::numeric))::bigint;
REVOKE ALL ON FUNCTION signing.now_us() FROM PUBLIC;
GRANT ALL ON FUNCTION signing.now_us() TO paycore_signing;

CREATE FUNCTION signing.refuse_change() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
BEGIN
  RAISE EXCEPTION 'signing.% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END
$$;
REVOKE ALL ON FUNCTION signing.refuse_change() FROM PUBLIC;

CREATE FUNCTION signing.reserve_each(users text[], proofs bytea[], digests bytea[], fresh_until_us bigint[]) RETURNS TABLE(place bigint, attempt_id bigint, encoded_hash text, pepper_id text, pin_proof bytea)
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
#variable_conflict use_column
-- One attempt of each of `users` for the proof at its place, where no failure counts, no lock holds,
-- no attempt is without a verdict and the proof has none. Of all others nothing is returned or
-- written, nor of a user's second place.
DECLARE
  spotless text[];
BEGIN
  -- In an order that all processes share; what follows sees what earlier holders have committed.
  spotless := ARRAY(
    SELECT held.user_id
    FROM (
      SELECT user_id
      FROM signing.attempt_counters
      WHERE user_id = ANY (users) AND failures = cleared AND locked_until_us <= signing.now_us()
      ORDER BY user_id
      FOR UPDATE
    ) AS held
  );
  RETURN QUERY
    WITH asked AS MATERIALIZED (
      SELECT DISTINCT ON (one.user_id) one.*
      FROM unnest(users, proofs, digests, reserve_each.fresh_until_us)
        WITH ORDINALITY AS one (user_id, proof, digest, fresh_until_us, place)
      WHERE one.user_id = ANY (spotless)
      ORDER BY one.user_id, one.place
    ), reserved AS (
      INSERT INTO signing.attempts (proof, user_id, digest, failures_before, fresh_until_us)
      SELECT asked.proof, asked.user_id, asked.digest, counter.failures, asked.fresh_until_us
      FROM asked
      JOIN signing.attempt_counters AS counter ON counter.user_id = asked.user_id
      WHERE NOT EXISTS (
          SELECT FROM signing.attempts AS pending
          WHERE pending.user_id = asked.user_id AND pending.verdict IS NULL)
        AND NOT EXISTS (
          SELECT FROM signing.attempts AS earlier WHERE earlier.proof = asked.proof)
      RETURNING id, user_id
    )
    SELECT asked.place, reserved.id, pin.encoded_hash, pin.pepper_id, pin.proof
    FROM reserved
    JOIN asked ON asked.user_id = reserved.user_id
    LEFT JOIN signing.pins AS pin
      ON pin.user_id = reserved.user_id AND pin.reset_at_us IS NULL;
END
$$;
REVOKE ALL ON FUNCTION signing.reserve_each(users text[], proofs bytea[], digests bytea[],
  fresh_until_us bigint[]) FROM PUBLIC;
GRANT ALL ON FUNCTION signing.reserve_each(users text[], proofs bytea[], digests bytea[],
  fresh_until_us bigint[]) TO paycore_signing;

CREATE FUNCTION signing.tell_of_device() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    PERFORM signing.write_event(
      CASE WHEN NEW.vouched_by IS NULL THEN 'DEVICE_ENROLLED' ELSE 'DEVICE_VOUCHED_FOR' END,
      NEW.user_id, NEW.id, NULL);
  ELSIF OLD.revoked_at_us IS NULL THEN
    PERFORM signing.write_event(
      'DEVICE_REVOKED', NEW.user_id, NEW.id,
      CASE WHEN NEW.public_key IS NULL THEN 'its user was erased' END);
  END IF;
  RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION signing.tell_of_device() FROM PUBLIC;

CREATE FUNCTION signing.tell_of_failure() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
  PERFORM signing.write_event(
    'PIN_INCORRECT', NEW.user_id, NULL,
    concat_ws(', ', NEW.verdict::text, NEW.attempts_left || ' attempts left'));
  RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION signing.tell_of_failure() FROM PUBLIC;

CREATE FUNCTION signing.tell_of_key() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
  PERFORM signing.write_event(
    'KEY_ADDED', NULL, NULL,
    concat_ws(' ', NEW.purpose, NEW.id, 'for use from',
              to_char(to_timestamp(NEW.active_from_us / 1000000.0) AT TIME ZONE 'UTC',
                      'YYYY-MM-DD"T"HH24:MI:SS"Z"')));
  RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION signing.tell_of_key() FROM PUBLIC;

CREATE FUNCTION signing.tell_of_lock() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
  IF NEW.locked_until_us > OLD.locked_until_us THEN
    PERFORM signing.write_event(
      'PIN_LOCKED', NEW.user_id, NULL,
      'until ' || to_char(to_timestamp(NEW.locked_until_us / 1000000.0) AT TIME ZONE 'UTC',
                          'YYYY-MM-DD"T"HH24:MI:SS"Z"'));
  ELSIF to_timestamp(OLD.locked_until_us / 1000000.0) > clock_timestamp() THEN
    PERFORM signing.write_event('PIN_UNLOCKED', NEW.user_id, NULL, NULL);
  END IF;
  RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION signing.tell_of_lock() FROM PUBLIC;

CREATE FUNCTION signing.tell_of_pin() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
  IF TG_OP = 'DELETE' THEN
    PERFORM signing.write_event('PIN_REMOVED', OLD.user_id, NULL, NULL);
  ELSIF TG_OP = 'INSERT' OR OLD.reset_at_us IS NOT NULL AND NEW.reset_at_us IS NULL THEN
    PERFORM signing.write_event('PIN_ENROLLED', NEW.user_id, NULL, NULL);
  ELSIF OLD.reset_at_us IS NULL AND NEW.reset_at_us IS NOT NULL THEN
    PERFORM signing.write_event('PIN_RESET', NEW.user_id, NULL, NULL);
  ELSIF NEW.encoded_hash <> OLD.encoded_hash THEN
    PERFORM signing.write_event('PIN_CHANGED', NEW.user_id, NULL, NULL);
  END IF;
  RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION signing.tell_of_pin() FROM PUBLIC;

CREATE FUNCTION signing.tell_of_rotation() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
  PERFORM signing.write_event(
    'KEY_ROTATED', NULL, NULL, concat_ws(' ', NEW.purpose, NEW.id, 'in use instead of', OLD.id));
  RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION signing.tell_of_rotation() FROM PUBLIC;

CREATE FUNCTION signing.write_event(event text, about text, device text, why text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
  now_us bigint := (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;
BEGIN
  INSERT INTO signing.events (
    first_us, last_us, event, client, method, reason, user_id, device_id, ip_address, request_id)
  VALUES (
    now_us, now_us, event,
    coalesce(nullif(current_setting('paycore.client', true), ''), session_user),
    nullif(current_setting('paycore.method', true), ''),
    left(concat_ws('; ', why, nullif(current_setting('paycore.reason', true), '')), 512),
    about,
    device,
    nullif(current_setting('paycore.ip_address', true), ''),
    nullif(current_setting('paycore.request_id', true), ''));
END
$$;
REVOKE ALL ON FUNCTION signing.write_event(event text, about text, device text, why text) FROM
  PUBLIC;

CREATE TABLE signing.events (
    id bigint NOT NULL,
    recorded_us bigint DEFAULT ((EXTRACT(epoch FROM clock_timestamp()) * (1000000)::numeric))::bigint NOT NULL,
    first_us bigint NOT NULL,
    last_us bigint NOT NULL,
    count bigint DEFAULT 1 NOT NULL,
    event text NOT NULL,
    client text,
    method text,
    reason text,
    user_id text,
    device_id text,
    ip_address text,
    request_id text,
    database_user text DEFAULT SESSION_USER NOT NULL,
    CONSTRAINT events_client_check CHECK ((length(client) <= 128)),
    CONSTRAINT events_count_check CHECK ((count > 0)),
    CONSTRAINT events_device_id_check CHECK ((length(device_id) <= 128)),
    CONSTRAINT events_event_check CHECK ((event ~ '^[A-Z][A-Z_]{0,63}$'::text)),
    CONSTRAINT events_first_us_check CHECK ((first_us > 0)),
    CONSTRAINT events_in_order CHECK ((last_us >= first_us)),
    CONSTRAINT events_ip_address_check CHECK ((length(ip_address) <= 64)),
    CONSTRAINT events_method_check CHECK ((length(method) <= 256)),
    CONSTRAINT events_reason_check CHECK ((length(reason) <= 512)),
    CONSTRAINT events_request_id_check CHECK ((length(request_id) <= 64)),
    CONSTRAINT events_user_id_check CHECK ((length(user_id) <= 128))
);
COMMENT ON COLUMN signing.events.recorded_us IS
  'By the clock of the database; no service can set it, nor database_user.';
COMMENT ON COLUMN signing.events.first_us IS 'By the clock of the process.';
COMMENT ON COLUMN signing.events.client IS
  'Identity of the caller; NULL where its certificate names none.';
COMMENT ON COLUMN signing.events.device_id IS
  'Of a device key: a name that the signing service made.';
ALTER TABLE signing.events ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME signing.events_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
ALTER TABLE signing.events ADD CONSTRAINT events_pkey PRIMARY KEY (id);
CREATE INDEX events_first_us_id_idx ON signing.events (first_us, id);
CREATE TRIGGER append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON signing.events FOR EACH STATEMENT
  EXECUTE FUNCTION audit.refuse_change();
ALTER TABLE signing.events ENABLE ALWAYS TRIGGER append_only;
GRANT INSERT (first_us, last_us, count, event, client, method, reason, user_id, device_id,
  ip_address, request_id) ON TABLE signing.events TO paycore_signing;

CREATE TABLE signing.attempt_counters (
    user_id text NOT NULL,
    failures bigint DEFAULT 0 NOT NULL,
    cleared bigint DEFAULT 0 NOT NULL,
    lockouts integer DEFAULT 0 NOT NULL,
    locked_until_us bigint DEFAULT 0 NOT NULL,
    CONSTRAINT attempt_counters_bounded CHECK ((((failures - cleared) >= 0) AND ((failures - cleared) <= 4))),
    CONSTRAINT attempt_counters_locked_until_us_check CHECK ((locked_until_us >= 0)),
    CONSTRAINT attempt_counters_lockouts_check CHECK ((lockouts >= 0)),
    CONSTRAINT attempt_counters_user_id_check CHECK (((length(user_id) >= 1) AND (length(user_id) <= 128)))
)
WITH (fillfactor='70');
COMMENT ON COLUMN signing.attempt_counters.failures IS 'Failures ever recorded.';
COMMENT ON COLUMN signing.attempt_counters.cleared IS
  'How many of them a later success, or the lock that they led to, has settled.';
COMMENT ON COLUMN signing.attempt_counters.lockouts IS 'Locks since the last success.';
ALTER TABLE signing.attempt_counters ADD CONSTRAINT attempt_counters_pkey PRIMARY KEY (user_id);
CREATE TRIGGER tells AFTER UPDATE OF locked_until_us ON signing.attempt_counters FOR EACH ROW WHEN
  ((new.locked_until_us IS DISTINCT FROM old.locked_until_us)) EXECUTE FUNCTION
  signing.tell_of_lock();
ALTER TABLE signing.attempt_counters ENABLE ALWAYS TRIGGER tells;
GRANT SELECT,INSERT ON TABLE signing.attempt_counters TO paycore_signing;
GRANT UPDATE (failures, cleared, lockouts, locked_until_us) ON TABLE signing.attempt_counters TO
  paycore_signing;

CREATE TABLE signing.attempts (
    proof bytea NOT NULL,
    id bigint NOT NULL,
    failures_before bigint NOT NULL,
    started_at_us bigint DEFAULT signing.now_us() NOT NULL,
    fresh_until_us bigint NOT NULL,
    locked_until_us bigint,
    attempts_left integer,
    verdict signing.verdict,
    user_id text NOT NULL,
    digest bytea NOT NULL,
    CONSTRAINT attempts_decided_whole CHECK ((((verdict IS NULL) = (attempts_left IS NULL)) AND ((verdict IS NULL) = (locked_until_us IS NULL)))),
    CONSTRAINT attempts_digest_check CHECK ((length(digest) = 32)),
    CONSTRAINT attempts_proof_check CHECK ((length(proof) = 32))
);
COMMENT ON COLUMN signing.attempts.failures_before IS
  'The counter''s failures at the reservation: all that a success of this attempt clears.';
ALTER TABLE signing.attempts ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME signing.attempts_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
ALTER TABLE signing.attempts ADD CONSTRAINT attempts_id_key UNIQUE (id);
ALTER TABLE signing.attempts ADD CONSTRAINT attempts_pkey PRIMARY KEY (proof);
CREATE INDEX attempts_fresh_until ON signing.attempts (fresh_until_us) WHERE (verdict IS NOT NULL);
CREATE INDEX attempts_pending ON signing.attempts (user_id) WHERE (verdict IS NULL);
CREATE TRIGGER tells AFTER UPDATE OF verdict ON signing.attempts FOR EACH ROW WHEN ((new.verdict = ANY (ARRAY['INCORRECT'::signing.verdict, 'ABANDONED'::signing.verdict]))) EXECUTE FUNCTION signing.tell_of_failure();
ALTER TABLE signing.attempts ENABLE ALWAYS TRIGGER tells;
GRANT SELECT,INSERT,DELETE ON TABLE signing.attempts TO paycore_signing;
GRANT UPDATE (locked_until_us, attempts_left, verdict) ON TABLE signing.attempts TO paycore_signing;

CREATE TABLE signing.authorizations (
    digest bytea NOT NULL,
    id bigint NOT NULL,
    signed_at_us bigint NOT NULL,
    issued_at_us bigint NOT NULL,
    expires_at_us bigint NOT NULL,
    user_id text NOT NULL,
    method text NOT NULL,
    key_id text NOT NULL,
    signature bytea NOT NULL,
    device_id text,
    CONSTRAINT authorizations_check CHECK ((expires_at_us > issued_at_us)),
    CONSTRAINT authorizations_digest_check CHECK ((length(digest) = 32)),
    CONSTRAINT authorizations_method_check CHECK ((((method = 'PIN'::text) AND (device_id IS NULL)) OR ((method = 'DEVICE'::text) AND (device_id IS NOT NULL)))),
    CONSTRAINT authorizations_signature_check CHECK ((length(signature) = 64)),
    CONSTRAINT authorizations_user_id_check CHECK (((length(user_id) >= 1) AND (length(user_id) <= 128)))
);
COMMENT ON COLUMN signing.authorizations.id IS
  'The id of the attempt that earned it, or one of the same numbers.';
COMMENT ON COLUMN signing.authorizations.device_id IS
  'A row of signing.devices, none of which ever goes. It is inserted from that row.';
ALTER TABLE signing.authorizations ADD CONSTRAINT authorizations_id_key UNIQUE (id);
ALTER TABLE signing.authorizations ADD CONSTRAINT authorizations_pkey PRIMARY KEY (digest);
CREATE TRIGGER authorizations_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON
  signing.authorizations FOR EACH STATEMENT EXECUTE FUNCTION signing.refuse_change();
ALTER TABLE signing.authorizations ENABLE ALWAYS TRIGGER authorizations_append_only;
GRANT SELECT,INSERT ON TABLE signing.authorizations TO paycore_signing;

CREATE TABLE signing.data_keys (
    id bigint NOT NULL,
    created_at_us bigint DEFAULT signing.now_us() NOT NULL,
    subject text NOT NULL,
    wrapping_key_id text NOT NULL,
    wrapped bytea NOT NULL,
    CONSTRAINT data_keys_id_check CHECK ((id > 0)),
    CONSTRAINT data_keys_subject_check CHECK (((length(subject) >= 1) AND (length(subject) <= 128))),
    CONSTRAINT data_keys_wrapped_check CHECK (((length(wrapped) >= 32) AND (length(wrapped) <= 1024))),
    CONSTRAINT data_keys_wrapping_key_id_check CHECK (((length(wrapping_key_id) >= 1) AND (length(wrapping_key_id) <= 64)))
);
ALTER TABLE signing.data_keys ADD CONSTRAINT data_keys_one_in_force UNIQUE (subject);
ALTER TABLE signing.data_keys ADD CONSTRAINT data_keys_pkey PRIMARY KEY (id);
CREATE TRIGGER never_changed BEFORE UPDATE OR TRUNCATE ON signing.data_keys FOR EACH STATEMENT
  EXECUTE FUNCTION signing.refuse_change();
ALTER TABLE signing.data_keys ENABLE ALWAYS TRIGGER never_changed;
GRANT SELECT,INSERT,DELETE ON TABLE signing.data_keys TO paycore_signing;

CREATE TABLE signing.destroyed_data_keys (
    id bigint NOT NULL,
    created_at_us bigint NOT NULL,
    destroyed_at_us bigint DEFAULT signing.now_us() NOT NULL,
    subject text NOT NULL
);
ALTER TABLE signing.destroyed_data_keys ADD CONSTRAINT destroyed_data_keys_pkey PRIMARY KEY (id);
CREATE INDEX destroyed_data_keys_of_subject ON signing.destroyed_data_keys (subject);
CREATE TRIGGER append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON signing.destroyed_data_keys FOR
  EACH STATEMENT EXECUTE FUNCTION signing.refuse_change();
ALTER TABLE signing.destroyed_data_keys ENABLE ALWAYS TRIGGER append_only;
GRANT SELECT,INSERT ON TABLE signing.destroyed_data_keys TO paycore_signing;

CREATE TABLE signing.devices (
    id text NOT NULL,
    enrolled_at_us bigint DEFAULT signing.now_us() NOT NULL,
    revoked_at_us bigint,
    user_id text NOT NULL,
    algorithm text NOT NULL,
    public_key bytea,
    vouched_by text,
    CONSTRAINT devices_algorithm_check CHECK ((algorithm = ANY (ARRAY['ED25519'::text, 'P256'::text]))),
    CONSTRAINT devices_check CHECK ((length(public_key) =
CASE algorithm
    WHEN 'ED25519'::text THEN 32
    ELSE 65
END)),
    CONSTRAINT devices_id_check CHECK ((id ~ '^[0-9a-f]{32}$'::text)),
    CONSTRAINT devices_user_id_check CHECK (((length(user_id) >= 1) AND (length(user_id) <= 128))),
    CONSTRAINT devices_vouched_by_check CHECK (((length(vouched_by) >= 1) AND (length(vouched_by) <= 128)))
);
COMMENT ON COLUMN signing.devices.revoked_at_us IS
  'Set once. Whoever authorizes by the device holds the row against this change.';
COMMENT ON COLUMN signing.devices.public_key IS 'NULL once its user was erased.';
COMMENT ON COLUMN signing.devices.vouched_by IS
  'The client that vouched for the user; NULL where the user''s PIN did.';
ALTER TABLE signing.devices
    ADD CONSTRAINT devices_forgotten_are_revoked CHECK (((public_key IS NOT NULL) OR (revoked_at_us IS NOT NULL))) NOT VALID;
ALTER TABLE signing.devices ADD CONSTRAINT devices_pkey PRIMARY KEY (id);
CREATE UNIQUE INDEX devices_of_user ON signing.devices (user_id, public_key);
CREATE TRIGGER devices_are_kept BEFORE DELETE OR UPDATE ON signing.devices FOR EACH ROW EXECUTE
  FUNCTION signing.keep_device();
ALTER TABLE signing.devices ENABLE ALWAYS TRIGGER devices_are_kept;
CREATE TRIGGER devices_stay BEFORE TRUNCATE ON signing.devices FOR EACH STATEMENT EXECUTE FUNCTION
  signing.refuse_change();
ALTER TABLE signing.devices ENABLE ALWAYS TRIGGER devices_stay;
CREATE TRIGGER tells AFTER INSERT OR UPDATE ON signing.devices FOR EACH ROW EXECUTE FUNCTION
  signing.tell_of_device();
ALTER TABLE signing.devices ENABLE ALWAYS TRIGGER tells;
GRANT SELECT,INSERT ON TABLE signing.devices TO paycore_signing;
GRANT UPDATE (revoked_at_us) ON TABLE signing.devices TO paycore_signing;

CREATE TABLE signing.keys_in_use (
    purpose text NOT NULL,
    id text NOT NULL
);
COMMENT ON TABLE signing.keys_in_use IS
  'By purpose, the key that the process which last started or changed over uses for what is new.';
ALTER TABLE signing.keys_in_use ADD CONSTRAINT keys_in_use_pkey PRIMARY KEY (purpose);
CREATE TRIGGER tells AFTER UPDATE ON signing.keys_in_use FOR EACH ROW WHEN ((new.id <> old.id))
  EXECUTE FUNCTION signing.tell_of_rotation();
ALTER TABLE signing.keys_in_use ENABLE ALWAYS TRIGGER tells;
GRANT SELECT,INSERT ON TABLE signing.keys_in_use TO paycore_signing;
GRANT UPDATE (id) ON TABLE signing.keys_in_use TO paycore_signing;

CREATE TABLE signing.known_keys (
    active_from_us bigint NOT NULL,
    known_since_us bigint DEFAULT signing.now_us() NOT NULL,
    id text NOT NULL,
    purpose text NOT NULL,
    CONSTRAINT known_keys_id_check CHECK (((length(id) >= 1) AND (length(id) <= 128))),
    CONSTRAINT known_keys_purpose_check CHECK ((purpose ~ '^[A-Z]{1,32}$'::text))
);
COMMENT ON TABLE signing.known_keys IS 'Every key that was ever seen in the keystore.';
ALTER TABLE signing.known_keys ADD CONSTRAINT known_keys_pkey PRIMARY KEY (id);
CREATE TRIGGER append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON signing.known_keys FOR EACH
  STATEMENT EXECUTE FUNCTION signing.refuse_change();
ALTER TABLE signing.known_keys ENABLE ALWAYS TRIGGER append_only;
CREATE TRIGGER tells AFTER INSERT ON signing.known_keys FOR EACH ROW EXECUTE FUNCTION
  signing.tell_of_key();
ALTER TABLE signing.known_keys ENABLE ALWAYS TRIGGER tells;
ALTER TABLE signing.keys_in_use
    ADD CONSTRAINT keys_in_use_id_fkey FOREIGN KEY (id) REFERENCES signing.known_keys(id);
GRANT SELECT ON TABLE signing.known_keys TO paycore_signing;
GRANT INSERT (active_from_us, id, purpose) ON TABLE signing.known_keys TO paycore_signing;

CREATE TABLE signing.pins (
    user_id text NOT NULL,
    enrolled_at_us bigint DEFAULT signing.now_us() NOT NULL,
    pepper_id text NOT NULL,
    encoded_hash text NOT NULL,
    proof bytea NOT NULL,
    reset_at_us bigint,
    CONSTRAINT pins_encoded_hash_check CHECK ((encoded_hash ~~ '$argon2id$%'::text)),
    CONSTRAINT pins_pepper_id_check CHECK (((length(pepper_id) >= 1) AND (length(pepper_id) <= 64))),
    CONSTRAINT pins_proof_check CHECK ((length(proof) = 32)),
    CONSTRAINT pins_user_id_check CHECK (((length(user_id) >= 1) AND (length(user_id) <= 128)))
);
COMMENT ON COLUMN signing.pins.encoded_hash IS
  'argon2id with its parameters and salt, over an HMAC by the pepper that only the keystore holds.';
COMMENT ON COLUMN signing.pins.proof IS
  'SHA-256 of the sealed PIN: the same enrolment sent again gets the same answer.';
COMMENT ON COLUMN signing.pins.reset_at_us IS
  'Since then the user has no PIN and may enrol one; NULL while the PIN is in force.';
ALTER TABLE signing.pins ADD CONSTRAINT pins_pkey PRIMARY KEY (user_id);
CREATE TRIGGER tells AFTER INSERT OR DELETE OR UPDATE ON signing.pins FOR EACH ROW EXECUTE FUNCTION
  signing.tell_of_pin();
ALTER TABLE signing.pins ENABLE ALWAYS TRIGGER tells;
GRANT SELECT,INSERT ON TABLE signing.pins TO paycore_signing;
GRANT UPDATE (enrolled_at_us, pepper_id, encoded_hash, proof, reset_at_us) ON TABLE signing.pins TO
  paycore_signing;

CREATE TABLE signing.spent_challenges (
    challenge bytea NOT NULL,
    expires_at_us bigint NOT NULL,
    CONSTRAINT spent_challenges_challenge_check CHECK ((length(challenge) = 32))
);
COMMENT ON COLUMN signing.spent_challenges.challenge IS 'SHA-256 of the challenge.';
ALTER TABLE signing.spent_challenges ADD CONSTRAINT spent_challenges_pkey PRIMARY KEY (challenge);
CREATE INDEX spent_challenges_expire ON signing.spent_challenges (expires_at_us);
GRANT SELECT,INSERT,DELETE ON TABLE signing.spent_challenges TO paycore_signing;

CREATE TABLE signing.spent_enrolments (
    proof bytea NOT NULL,
    user_id text NOT NULL,
    spent_at_us bigint DEFAULT signing.now_us() NOT NULL,
    CONSTRAINT spent_enrolments_proof_check CHECK ((length(proof) = 32)),
    CONSTRAINT spent_enrolments_user_id_check CHECK (((length(user_id) >= 1) AND (length(user_id) <= 128)))
);
COMMENT ON COLUMN signing.spent_enrolments.proof IS 'SHA-256 of the sealed PIN.';
ALTER TABLE signing.spent_enrolments ADD CONSTRAINT spent_enrolments_pkey PRIMARY KEY (proof);
CREATE TRIGGER spent_enrolments_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON
  signing.spent_enrolments FOR EACH STATEMENT EXECUTE FUNCTION signing.refuse_change();
ALTER TABLE signing.spent_enrolments ENABLE ALWAYS TRIGGER spent_enrolments_append_only;
GRANT SELECT,INSERT ON TABLE signing.spent_enrolments TO paycore_signing;

-- Schema webhooks

CREATE SCHEMA webhooks;
GRANT USAGE ON SCHEMA webhooks TO paycore_command, paycore_projector, paycore_audit;

CREATE FUNCTION webhooks.audit_change() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
  -- What is sealed stays where it is.
  before jsonb := to_jsonb(OLD) - 'sealed';
  after jsonb := to_jsonb(NEW) - 'sealed';
  said jsonb := coalesce(after, before);
BEGIN
  PERFORM ledger.write_audit(
    CASE TG_OP WHEN 'INSERT' THEN 'ADD_' WHEN 'UPDATE' THEN 'CHANGE_' ELSE 'REMOVE_' END
      || TG_ARGV[0],
    'webhook/' || coalesce(said ->> 'subscription', said ->> 'id'), before, after);
  RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION webhooks.audit_change() FROM PUBLIC;

CREATE FUNCTION webhooks.audit_replay() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
  PERFORM ledger.write_audit(
    'REPLAY_DELIVERY', 'webhook/' || NEW.subscription,
    jsonb_build_object('delivery', OLD.id, 'state', OLD.state),
    jsonb_build_object('delivery', NEW.id, 'state', NEW.state));
  RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION webhooks.audit_replay() FROM PUBLIC;

CREATE FUNCTION webhooks.now_us() RETURNS bigint
    LANGUAGE sql
    SET search_path TO ''
    AS $$ SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint $$;
REVOKE ALL ON FUNCTION webhooks.now_us() FROM PUBLIC;
GRANT ALL ON FUNCTION webhooks.now_us() TO paycore_command, paycore_projector;

CREATE TABLE webhooks.attempts (
    delivery bigint NOT NULL,
    started_at_us bigint NOT NULL,
    duration_us bigint NOT NULL,
    number integer NOT NULL,
    status integer,
    failure text,
    CONSTRAINT attempts_failure_bounded CHECK ((failure ~ '^[A-Z][A-Z_]{0,63}$'::text)),
    CONSTRAINT attempts_status_or_failure CHECK ((num_nonnulls(status, failure) = 1))
);
COMMENT ON TABLE webhooks.attempts IS
  'How attempts went. One that was cut off by the end of its process has no row, but a number.';
ALTER TABLE webhooks.attempts ADD CONSTRAINT attempts_pkey PRIMARY KEY (delivery, number);
GRANT SELECT ON TABLE webhooks.attempts TO paycore_command;
GRANT SELECT,INSERT ON TABLE webhooks.attempts TO paycore_projector;
GRANT SELECT ON TABLE webhooks.attempts TO paycore_audit;

CREATE TABLE webhooks.deliveries (
    id bigint NOT NULL,
    subscription bigint NOT NULL,
    journal_id bigint NOT NULL,
    created_at_us bigint DEFAULT ((EXTRACT(epoch FROM clock_timestamp()) * (1000000)::numeric))::bigint NOT NULL,
    due_at_us bigint,
    ended_at_us bigint,
    place integer NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    tried integer DEFAULT 0 NOT NULL,
    sending boolean DEFAULT false NOT NULL,
    state text DEFAULT 'PENDING'::text NOT NULL,
    event text NOT NULL,
    body text NOT NULL,
    CONSTRAINT deliveries_body_bounded CHECK ((length(body) <= 8192)),
    CONSTRAINT deliveries_due_while_pending CHECK ((((state = 'PENDING'::text) = (due_at_us IS NOT NULL)) AND ((state = 'PENDING'::text) = (ended_at_us IS NULL)) AND ((state = 'PENDING'::text) OR (NOT sending)))),
    CONSTRAINT deliveries_event_bounded CHECK (((length(event) >= 1) AND (length(event) <= 64))),
    CONSTRAINT deliveries_state_known CHECK ((state = ANY (ARRAY['PENDING'::text, 'DELIVERED'::text, 'DEAD'::text])))
);
COMMENT ON COLUMN webhooks.deliveries.due_at_us IS
  'When it is to be sent; while it is being sent, when whoever does so is taken to be gone.';
COMMENT ON COLUMN webhooks.deliveries.place IS
  'Of the event among those of its journal row, with which it is its id.';
COMMENT ON COLUMN webhooks.deliveries.tried IS 'Attempts since it was made, or last replayed.';
ALTER TABLE webhooks.deliveries ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME webhooks.deliveries_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
ALTER TABLE webhooks.deliveries
    ADD CONSTRAINT deliveries_once UNIQUE (subscription, journal_id, place);
ALTER TABLE webhooks.deliveries ADD CONSTRAINT deliveries_pkey PRIMARY KEY (id);
CREATE INDEX deliveries_by_age ON webhooks.deliveries (COALESCE(ended_at_us, due_at_us));
CREATE INDEX deliveries_by_state ON webhooks.deliveries (subscription, state, id);
CREATE INDEX deliveries_due ON webhooks.deliveries (subscription, due_at_us, id) WHERE (due_at_us IS
  NOT NULL);
CREATE INDEX deliveries_of_subscription ON webhooks.deliveries (subscription, id);
CREATE TRIGGER audit_replay AFTER UPDATE OF state ON webhooks.deliveries FOR EACH ROW WHEN (((old.state <> 'PENDING'::text) AND (new.state = 'PENDING'::text))) EXECUTE FUNCTION webhooks.audit_replay();
ALTER TABLE webhooks.deliveries ENABLE ALWAYS TRIGGER audit_replay;
ALTER TABLE webhooks.attempts
    ADD CONSTRAINT attempts_delivery_fkey FOREIGN KEY (delivery) REFERENCES webhooks.deliveries(id) ON DELETE CASCADE;
GRANT SELECT ON TABLE webhooks.deliveries TO paycore_command;
GRANT SELECT,DELETE ON TABLE webhooks.deliveries TO paycore_projector;
GRANT SELECT ON TABLE webhooks.deliveries TO paycore_audit;
GRANT INSERT(due_at_us),UPDATE(due_at_us) ON TABLE webhooks.deliveries TO paycore_projector;
GRANT INSERT (subscription, journal_id, place, event, body) ON TABLE webhooks.deliveries TO
  paycore_projector;
GRANT UPDATE (due_at_us, ended_at_us, tried, state) ON TABLE webhooks.deliveries TO paycore_command;
GRANT UPDATE (ended_at_us, attempts, tried, sending, state) ON TABLE webhooks.deliveries TO
  paycore_projector;

CREATE SEQUENCE webhooks.revision
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
GRANT USAGE ON SEQUENCE webhooks.revision TO paycore_command, paycore_projector;

CREATE TABLE webhooks.secrets (
    id bigint NOT NULL,
    subscription bigint NOT NULL,
    created_at_us bigint NOT NULL,
    signs_until_us bigint,
    data_key bigint NOT NULL,
    sealed bytea NOT NULL,
    CONSTRAINT secrets_sealed_bounded CHECK (((octet_length(sealed) >= 30) AND (octet_length(sealed) <= 512)))
);
COMMENT ON COLUMN webhooks.secrets.signs_until_us IS 'NULL: until another takes its place.';
COMMENT ON COLUMN webhooks.secrets.sealed IS
  'Under the data key of the subject webhook:<subscription>, which the signing service wraps.';
ALTER TABLE webhooks.secrets ADD CONSTRAINT secrets_pkey PRIMARY KEY (id);
CREATE INDEX secrets_of_subscription ON webhooks.secrets (subscription, id);
CREATE UNIQUE INDEX secrets_one_lasting ON webhooks.secrets (subscription) WHERE (signs_until_us IS
  NULL);
CREATE TRIGGER audit_change AFTER INSERT OR DELETE OR UPDATE ON webhooks.secrets FOR EACH ROW EXECUTE FUNCTION webhooks.audit_change('WEBHOOK_SECRET');
ALTER TABLE webhooks.secrets ENABLE ALWAYS TRIGGER audit_change;
CREATE TRIGGER never_truncated BEFORE TRUNCATE ON webhooks.secrets FOR EACH STATEMENT EXECUTE
  FUNCTION ledger.refuse_change();
ALTER TABLE webhooks.secrets ENABLE ALWAYS TRIGGER never_truncated;
GRANT SELECT,INSERT,DELETE ON TABLE webhooks.secrets TO paycore_command;
GRANT SELECT ON TABLE webhooks.secrets TO paycore_projector;
GRANT UPDATE (signs_until_us) ON TABLE webhooks.secrets TO paycore_command;

CREATE TABLE webhooks.subscriptions (
    id bigint NOT NULL,
    created_at_us bigint NOT NULL,
    revision bigint DEFAULT nextval('webhooks.revision'::regclass) NOT NULL,
    from_xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    from_journal_id bigint NOT NULL,
    accounts bigint[] NOT NULL,
    events text[] NOT NULL,
    client text NOT NULL,
    url text NOT NULL,
    description text NOT NULL,
    state text DEFAULT 'ENABLED'::text NOT NULL,
    CONSTRAINT subscriptions_accounts_bounded CHECK ((cardinality(accounts) <= 100)),
    CONSTRAINT subscriptions_client_bounded CHECK (((length(client) >= 1) AND (length(client) <= 128))),
    CONSTRAINT subscriptions_description_bounded CHECK ((length(description) <= 256)),
    CONSTRAINT subscriptions_events_bounded CHECK (((cardinality(events) >= 1) AND (cardinality(events) <= 32))),
    CONSTRAINT subscriptions_state_known CHECK ((state = ANY (ARRAY['ENABLED'::text, 'DISABLED'::text, 'GONE'::text]))),
    CONSTRAINT subscriptions_url_bounded CHECK (((length(url) >= 1) AND (length(url) <= 2048)))
);
COMMENT ON COLUMN webhooks.subscriptions.revision IS
  'Taken anew by every change, under a lock: whoever has seen the highest has seen every change.';
COMMENT ON COLUMN webhooks.subscriptions.from_xid IS
  'With from_journal_id the place in the journal after which events are told: the transaction that created the subscription, or enabled it again.';
COMMENT ON COLUMN webhooks.subscriptions.accounts IS 'Empty for all that its client may read.';
COMMENT ON COLUMN webhooks.subscriptions.state IS 'GONE: the endpoint answered 410.';
ALTER TABLE webhooks.subscriptions ADD CONSTRAINT subscriptions_pkey PRIMARY KEY (id);
CREATE UNIQUE INDEX subscriptions_by_revision ON webhooks.subscriptions (revision);
CREATE INDEX subscriptions_of_client ON webhooks.subscriptions (client, id);
CREATE TRIGGER audit_change AFTER INSERT OR DELETE OR UPDATE ON webhooks.subscriptions FOR EACH ROW EXECUTE FUNCTION webhooks.audit_change('WEBHOOK');
ALTER TABLE webhooks.subscriptions ENABLE ALWAYS TRIGGER audit_change;
CREATE TRIGGER never_truncated BEFORE TRUNCATE ON webhooks.subscriptions FOR EACH STATEMENT EXECUTE
  FUNCTION ledger.refuse_change();
ALTER TABLE webhooks.subscriptions ENABLE ALWAYS TRIGGER never_truncated;
ALTER TABLE webhooks.deliveries
    ADD CONSTRAINT deliveries_subscription_fkey FOREIGN KEY (subscription) REFERENCES webhooks.subscriptions(id);
ALTER TABLE webhooks.secrets
    ADD CONSTRAINT secrets_subscription_fkey FOREIGN KEY (subscription) REFERENCES webhooks.subscriptions(id);
GRANT SELECT,INSERT ON TABLE webhooks.subscriptions TO paycore_command;
GRANT SELECT ON TABLE webhooks.subscriptions TO paycore_projector, paycore_audit;
GRANT UPDATE (revision, from_xid, from_journal_id, state) ON TABLE webhooks.subscriptions TO
  paycore_command;
GRANT UPDATE (revision, state) ON TABLE webhooks.subscriptions TO paycore_projector;

CREATE VIEW audit.trail AS
 SELECT 'LEDGER'::text AS source,
    audit.id,
    audit.created_at_us AS first_us,
    audit.created_at_us AS last_us,
    (1)::bigint AS count,
    audit.action AS event,
    audit.client,
    NULL::text AS method,
    audit.reason,
    audit.user_id,
    audit.device_id,
    audit.ip_address,
    NULL::text AS request_id,
    audit.subject,
    audit.database_user,
    audit.before,
    audit.after,
        CASE
            WHEN (NOT (EXISTS ( SELECT
               FROM ledger.erased_keys
              WHERE (erased_keys.data_key = ANY (ARRAY[audit.actor_key]))))) THEN audit.device_hint
            ELSE NULL::text
        END AS device_hint,
        CASE
            WHEN (NOT (EXISTS ( SELECT
               FROM ledger.erased_keys
              WHERE (erased_keys.data_key = ANY (ARRAY[audit.actor_key]))))) THEN audit.address_hint
            ELSE NULL::text
        END AS address_hint,
    audit.actor_key AS owner_key,
    NULL::bigint AS actor_key,
        CASE
            WHEN (NOT (EXISTS ( SELECT
               FROM ledger.erased_keys
              WHERE (erased_keys.data_key = ANY (ARRAY[audit.actor_key]))))) THEN audit.sealed
            ELSE NULL::bytea
        END AS sealed,
    (EXISTS ( SELECT
           FROM ledger.erased_keys
          WHERE (erased_keys.data_key = ANY (ARRAY[audit.actor_key])))) AS erased,
    audit.traced_us
   FROM ledger.audit
UNION ALL
 SELECT 'SERVICES'::text AS source,
    events.id,
    events.first_us,
    events.last_us,
    events.count,
    events.event,
    events.client,
    events.method,
    events.reason,
    events.user_id,
    events.device_id,
    events.ip_address,
    events.request_id,
    NULL::text AS subject,
    events.database_user,
    NULL::jsonb AS before,
    NULL::jsonb AS after,
        CASE
            WHEN (NOT (EXISTS ( SELECT
               FROM ledger.erased_keys
              WHERE (erased_keys.data_key = ANY (ARRAY[events.owner_key, events.actor_key]))))) THEN events.device_hint
            ELSE NULL::text
        END AS device_hint,
        CASE
            WHEN (NOT (EXISTS ( SELECT
               FROM ledger.erased_keys
              WHERE (erased_keys.data_key = ANY (ARRAY[events.owner_key, events.actor_key]))))) THEN events.address_hint
            ELSE NULL::text
        END AS address_hint,
    events.owner_key,
    events.actor_key,
        CASE
            WHEN (NOT (EXISTS ( SELECT
               FROM ledger.erased_keys
              WHERE (erased_keys.data_key = ANY (ARRAY[events.owner_key, events.actor_key]))))) THEN events.sealed
            ELSE NULL::bytea
        END AS sealed,
    (EXISTS ( SELECT
           FROM ledger.erased_keys
          WHERE (erased_keys.data_key = ANY (ARRAY[events.owner_key, events.actor_key])))) AS erased,
    events.first_us AS traced_us
   FROM audit.events
UNION ALL
 SELECT 'SIGNING'::text AS source,
    events.id,
    events.first_us,
    events.last_us,
    events.count,
    events.event,
    events.client,
    events.method,
    events.reason,
    events.user_id,
    events.device_id,
    events.ip_address,
    events.request_id,
    NULL::text AS subject,
    events.database_user,
    NULL::jsonb AS before,
    NULL::jsonb AS after,
    NULL::text AS device_hint,
    NULL::text AS address_hint,
    NULL::bigint AS owner_key,
    NULL::bigint AS actor_key,
    NULL::bytea AS sealed,
    false AS erased,
    NULL::bigint AS traced_us
   FROM signing.events;
COMMENT ON VIEW audit.trail IS
  'Changes of accounts, grants and policies, and the security events of all services.';
GRANT SELECT ON TABLE audit.trail TO paycore_audit;

COMMENT ON INDEX signing.devices_of_user IS
  'A key is enrolled once for a user: revoked, it is in force under no other id, and never again.';
GRANT USAGE ON SEQUENCE signing.attempts_id_seq TO paycore_signing;
