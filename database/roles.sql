-- The roles of paycore. Run by a superuser, once per cluster; safe to run again. Passwords are set
-- apart, so that none stands in a file. Each role is bounded: a forgotten transaction would hold the
-- journal's watermark, and with it every reader, for as long as it stays open.

DO $$
DECLARE
  role_name text;
BEGIN
  FOREACH role_name IN ARRAY ARRAY[
    'paycore_owner', 'paycore_command', 'paycore_signing',
    'paycore_projector', 'paycore_query', 'paycore_audit', 'paycore_trail', 'paycore_operator'
  ] LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role_name) THEN
      EXECUTE format('CREATE ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE', role_name);
    END IF;
  END LOOP;
END
$$;

-- A migration checks constraints and builds indexes of any size: it may run for as long as it takes,
-- for it gives up early where others would have to wait for it.
ALTER ROLE paycore_owner SET search_path = '';
ALTER ROLE paycore_owner SET statement_timeout = '0';
ALTER ROLE paycore_owner SET lock_timeout = '5s';
ALTER ROLE paycore_owner SET idle_in_transaction_session_timeout = '60s';

ALTER ROLE paycore_command SET search_path = '';
ALTER ROLE paycore_command SET statement_timeout = '10s';
ALTER ROLE paycore_command SET lock_timeout = '5s';
ALTER ROLE paycore_command SET idle_in_transaction_session_timeout = '10s';
-- Whatever it asks for, it names by key. Where there are no statistics yet, as in a new database, a
-- planner would rather read whole tables, and a prepared statement keeps to that while they grow.
ALTER ROLE paycore_command SET enable_seqscan = off;
ALTER ROLE paycore_command SET enable_hashjoin = off;
ALTER ROLE paycore_command SET enable_mergejoin = off;
-- Up to version 17 such plans look dear enough to be compiled.
ALTER ROLE paycore_command SET jit = off;

ALTER ROLE paycore_signing SET search_path = '';
ALTER ROLE paycore_signing SET statement_timeout = '5s';
ALTER ROLE paycore_signing SET lock_timeout = '3s';
ALTER ROLE paycore_signing SET idle_in_transaction_session_timeout = '10s';

ALTER ROLE paycore_projector SET search_path = '';
ALTER ROLE paycore_projector SET statement_timeout = '30s';
ALTER ROLE paycore_projector SET lock_timeout = '5s';
ALTER ROLE paycore_projector SET idle_in_transaction_session_timeout = '10s';

ALTER ROLE paycore_query SET search_path = '';
ALTER ROLE paycore_query SET default_transaction_read_only = on;
ALTER ROLE paycore_query SET statement_timeout = '10s';
ALTER ROLE paycore_query SET lock_timeout = '2s';
ALTER ROLE paycore_query SET idle_in_transaction_session_timeout = '10s';
-- It too names what it asks for by key, and takes the first of many rows in the order of an index:
-- without statistics, or for a limit that is not known yet, a planner would rather sort them all.
ALTER ROLE paycore_query SET enable_seqscan = off;
ALTER ROLE paycore_query SET enable_bitmapscan = off;
ALTER ROLE paycore_query SET enable_hashjoin = off;
ALTER ROLE paycore_query SET enable_mergejoin = off;
ALTER ROLE paycore_query SET jit = off;

-- Asks for things to be done, and sees what came of it.
ALTER ROLE paycore_operator SET search_path = '';
ALTER ROLE paycore_operator SET statement_timeout = '10s';
ALTER ROLE paycore_operator SET lock_timeout = '2s';
ALTER ROLE paycore_operator SET idle_in_transaction_session_timeout = '10s';

-- Verification reads the whole ledger in one snapshot, which takes as long as it takes.
ALTER ROLE paycore_audit SET search_path = '';
ALTER ROLE paycore_audit SET default_transaction_read_only = on;
ALTER ROLE paycore_audit SET statement_timeout = '0';
ALTER ROLE paycore_audit SET lock_timeout = '5s';
ALTER ROLE paycore_audit SET idle_in_transaction_session_timeout = '60s';

-- Adds security events for a service whose own role writes nothing.
ALTER ROLE paycore_trail SET search_path = '';
ALTER ROLE paycore_trail SET statement_timeout = '5s';
ALTER ROLE paycore_trail SET lock_timeout = '2s';
ALTER ROLE paycore_trail SET idle_in_transaction_session_timeout = '10s';
