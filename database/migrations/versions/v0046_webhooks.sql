-- Who is told of what happens, where and how it went. Clients' wishes are the command service's to
-- write and audited by the tables; deliveries are the projector's.

-- See and change the subscriptions of other clients.
ALTER TYPE ledger.grant_action ADD VALUE IF NOT EXISTS 'WEBHOOKS';

CREATE SCHEMA webhooks;
GRANT USAGE ON SCHEMA webhooks TO paycore_command, paycore_projector, paycore_audit;

CREATE FUNCTION webhooks.now_us() RETURNS bigint
  LANGUAGE sql VOLATILE SET search_path = ''
AS $$ SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint $$;
REVOKE ALL ON FUNCTION webhooks.now_us() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION webhooks.now_us() TO paycore_command, paycore_projector;

CREATE SEQUENCE webhooks.revision AS bigint;
GRANT USAGE ON SEQUENCE webhooks.revision TO paycore_command, paycore_projector;

CREATE TABLE webhooks.subscriptions (
  id              bigint   PRIMARY KEY,
  created_at_us   bigint   NOT NULL,
  revision        bigint   NOT NULL DEFAULT nextval('webhooks.revision'),
  from_xid        xid8     NOT NULL DEFAULT pg_current_xact_id(),
  from_journal_id bigint   NOT NULL,
  accounts        bigint[] NOT NULL,
  events          text[]   NOT NULL,
  client          text     NOT NULL,
  url             text     NOT NULL,
  description     text     NOT NULL,
  state           text     NOT NULL DEFAULT 'ENABLED',
  CONSTRAINT subscriptions_client_bounded CHECK (length(client) BETWEEN 1 AND 128),
  CONSTRAINT subscriptions_url_bounded CHECK (length(url) BETWEEN 1 AND 2048),
  CONSTRAINT subscriptions_description_bounded CHECK (length(description) <= 256),
  CONSTRAINT subscriptions_events_bounded CHECK (cardinality(events) BETWEEN 1 AND 32),
  CONSTRAINT subscriptions_accounts_bounded CHECK (cardinality(accounts) <= 100),
  CONSTRAINT subscriptions_state_known CHECK (state IN ('ENABLED', 'DISABLED', 'GONE'))
);
COMMENT ON COLUMN webhooks.subscriptions.revision IS
  'Taken anew by every change, under a lock: whoever has seen the highest has seen every change.';
COMMENT ON COLUMN webhooks.subscriptions.from_xid IS
  'With from_journal_id the place in the journal after which events are told: the transaction that'
  ' created the subscription, or enabled it again.';
COMMENT ON COLUMN webhooks.subscriptions.accounts IS 'Empty for all that its client may read.';
COMMENT ON COLUMN webhooks.subscriptions.state IS 'GONE: the endpoint answered 410.';
CREATE INDEX subscriptions_of_client ON webhooks.subscriptions (client, id);
CREATE UNIQUE INDEX subscriptions_by_revision ON webhooks.subscriptions (revision);

CREATE TABLE webhooks.secrets (
  id             bigint PRIMARY KEY,
  subscription   bigint NOT NULL REFERENCES webhooks.subscriptions (id),
  created_at_us  bigint NOT NULL,
  signs_until_us bigint,
  data_key       bigint NOT NULL,
  sealed         bytea  NOT NULL,
  CONSTRAINT secrets_sealed_bounded CHECK (octet_length(sealed) BETWEEN 30 AND 512)
);
COMMENT ON COLUMN webhooks.secrets.signs_until_us IS 'NULL: until another takes its place.';
COMMENT ON COLUMN webhooks.secrets.sealed IS
  'Under the data key of the subject webhook:<subscription>, which the signing service wraps.';
CREATE INDEX secrets_of_subscription ON webhooks.secrets (subscription, id);
CREATE UNIQUE INDEX secrets_one_lasting ON webhooks.secrets (subscription)
  WHERE signs_until_us IS NULL;

CREATE TABLE webhooks.deliveries (
  id            bigint  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  subscription  bigint  NOT NULL REFERENCES webhooks.subscriptions (id),
  journal_id    bigint  NOT NULL,
  created_at_us bigint  NOT NULL DEFAULT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,
  due_at_us     bigint,
  ended_at_us   bigint,
  place         integer NOT NULL,
  attempts      integer NOT NULL DEFAULT 0,
  tried         integer NOT NULL DEFAULT 0,
  sending       boolean NOT NULL DEFAULT false,
  state         text    NOT NULL DEFAULT 'PENDING',
  event         text    NOT NULL,
  body          text    NOT NULL,
  CONSTRAINT deliveries_once UNIQUE (subscription, journal_id, place),
  CONSTRAINT deliveries_state_known CHECK (state IN ('PENDING', 'DELIVERED', 'DEAD')),
  CONSTRAINT deliveries_due_while_pending CHECK (
    (state = 'PENDING') = (due_at_us IS NOT NULL) AND (state = 'PENDING') = (ended_at_us IS NULL)
    AND (state = 'PENDING' OR NOT sending)),
  CONSTRAINT deliveries_body_bounded CHECK (length(body) <= 8192),
  CONSTRAINT deliveries_event_bounded CHECK (length(event) BETWEEN 1 AND 64)
);
COMMENT ON COLUMN webhooks.deliveries.place IS
  'Of the event among those of its journal row, with which it is its id.';
COMMENT ON COLUMN webhooks.deliveries.due_at_us IS
  'When it is to be sent; while it is being sent, when whoever does so is taken to be gone.';
COMMENT ON COLUMN webhooks.deliveries.tried IS 'Attempts since it was made, or last replayed.';
CREATE INDEX deliveries_due ON webhooks.deliveries (subscription, due_at_us, id)
  WHERE due_at_us IS NOT NULL;
CREATE INDEX deliveries_of_subscription ON webhooks.deliveries (subscription, id);
CREATE INDEX deliveries_by_state ON webhooks.deliveries (subscription, state, id);
CREATE INDEX deliveries_by_age ON webhooks.deliveries ((coalesce(ended_at_us, due_at_us)));

CREATE TABLE webhooks.attempts (
  delivery      bigint  NOT NULL REFERENCES webhooks.deliveries (id) ON DELETE CASCADE,
  started_at_us bigint  NOT NULL,
  duration_us   bigint  NOT NULL,
  number        integer NOT NULL,
  status        integer,
  failure       text,
  PRIMARY KEY (delivery, number),
  CONSTRAINT attempts_status_or_failure CHECK (num_nonnulls(status, failure) = 1),
  CONSTRAINT attempts_failure_bounded CHECK (failure ~ '^[A-Z][A-Z_]{0,63}$')
);
COMMENT ON TABLE webhooks.attempts IS
  'How attempts went. One that was cut off by the end of its process has no row, but a number.';

-- Its argument: what a row is.
CREATE FUNCTION webhooks.audit_change() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
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
CREATE FUNCTION webhooks.audit_replay() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM ledger.write_audit(
    'REPLAY_DELIVERY', 'webhook/' || NEW.subscription,
    jsonb_build_object('delivery', OLD.id, 'state', OLD.state),
    jsonb_build_object('delivery', NEW.id, 'state', NEW.state));
  RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION webhooks.audit_change, webhooks.audit_replay FROM PUBLIC;

CREATE TRIGGER audit_change AFTER INSERT OR UPDATE OR DELETE ON webhooks.subscriptions
  FOR EACH ROW EXECUTE FUNCTION webhooks.audit_change('WEBHOOK');
ALTER TABLE webhooks.subscriptions ENABLE ALWAYS TRIGGER audit_change;
CREATE TRIGGER never_truncated BEFORE TRUNCATE ON webhooks.subscriptions
  FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
ALTER TABLE webhooks.subscriptions ENABLE ALWAYS TRIGGER never_truncated;
CREATE TRIGGER audit_change AFTER INSERT OR UPDATE OR DELETE ON webhooks.secrets
  FOR EACH ROW EXECUTE FUNCTION webhooks.audit_change('WEBHOOK_SECRET');
ALTER TABLE webhooks.secrets ENABLE ALWAYS TRIGGER audit_change;
CREATE TRIGGER never_truncated BEFORE TRUNCATE ON webhooks.secrets
  FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
ALTER TABLE webhooks.secrets ENABLE ALWAYS TRIGGER never_truncated;
CREATE TRIGGER audit_replay AFTER UPDATE OF state ON webhooks.deliveries
  FOR EACH ROW WHEN (OLD.state <> 'PENDING' AND NEW.state = 'PENDING')
  EXECUTE FUNCTION webhooks.audit_replay();
ALTER TABLE webhooks.deliveries ENABLE ALWAYS TRIGGER audit_replay;

GRANT SELECT, INSERT, UPDATE (state, revision, from_xid, from_journal_id)
  ON webhooks.subscriptions TO paycore_command;
GRANT SELECT, INSERT, UPDATE (signs_until_us), DELETE ON webhooks.secrets TO paycore_command;
GRANT SELECT, UPDATE (state, due_at_us, ended_at_us, tried) ON webhooks.deliveries
  TO paycore_command;
GRANT SELECT ON webhooks.attempts TO paycore_command;

GRANT SELECT, UPDATE (state, revision) ON webhooks.subscriptions TO paycore_projector;
GRANT SELECT ON webhooks.secrets TO paycore_projector;
GRANT SELECT, INSERT (subscription, journal_id, due_at_us, place, event, body),
  UPDATE (state, due_at_us, ended_at_us, attempts, tried, sending), DELETE
  ON webhooks.deliveries TO paycore_projector;
GRANT SELECT, INSERT ON webhooks.attempts TO paycore_projector;
-- Whom an event may be told is decided by the grants of its time.
GRANT SELECT ON ledger.grants TO paycore_projector;

GRANT SELECT ON webhooks.subscriptions, webhooks.deliveries, webhooks.attempts TO paycore_audit;
