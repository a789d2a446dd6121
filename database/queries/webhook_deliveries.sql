-- Which events are told to whom, and the telling, as role paycore_projector.

-- name: newest_revision()$
-- NULL where there is no subscription.
SELECT max(revision) FROM webhooks.subscriptions

-- name: enabled_subscriptions()
SELECT id, client, events, accounts, from_xid, from_journal_id
FROM webhooks.subscriptions
WHERE state = 'ENABLED'

-- name: any_before(xid, journal_id)$
-- Whether anybody is to be told of anything up to a place in the journal.
SELECT EXISTS (
  SELECT FROM webhooks.subscriptions
  WHERE state = 'ENABLED' AND (from_xid, from_journal_id) < (:xid::xid8, :journal_id::bigint)
)

-- name: reading_grants(clients)
SELECT client, action, scope, institution
FROM ledger.grants
WHERE action = 'READ' AND client = ANY (:clients::text[])

-- name: told_accounts(ids)
SELECT id, kind::text, status::text, currency, institution, opened_by, overdraft_limit, version,
       revision, created_at_us
FROM ledger.accounts
WHERE id = ANY (:ids::bigint[])

-- name: add_deliveries(subscriptions, journal_ids, places, events, bodies)$
-- How many were not there yet.
WITH added AS (
  INSERT INTO webhooks.deliveries (subscription, journal_id, place, event, body, due_at_us)
  SELECT subscription, journal_id, place, event, body, webhooks.now_us()
  FROM unnest(:subscriptions::bigint[], :journal_ids::bigint[], :places::int[], :events::text[],
              :bodies::text[]) AS told (subscription, journal_id, place, event, body)
  ON CONFLICT DO NOTHING
  RETURNING id
)
SELECT count(*) FROM added

-- name: lease(most, most_failing, kept, each, busy, free, client, client_failing, client_kept, clients, clients_free, clients_failing, clients_kept, failing, lease_us)
-- The next that are due, of each subscription no more than `each`, or what `free` says of those that
-- are `busy`. Of subscriptions that are `failing` there are `most_failing`, after the others but for
-- `kept` of them. Of each client likewise, but for the `clients` of whom something is under way.
-- They are this process's until the lease ends.
WITH RECURSIVE waiting AS (
  (SELECT subscription FROM webhooks.deliveries WHERE due_at_us IS NOT NULL
   ORDER BY subscription LIMIT 1)
  UNION ALL
  SELECT next.subscription
  FROM waiting
  CROSS JOIN LATERAL (
    SELECT subscription FROM webhooks.deliveries
    WHERE due_at_us IS NOT NULL AND subscription > waiting.subscription
    ORDER BY subscription LIMIT 1
  ) AS next
), clock AS MATERIALIZED (
  SELECT webhooks.now_us() AS now_us
), first AS (
  SELECT first.id, first.due_at_us, told.client, told.id = ANY (:failing::bigint[]) AS fails
  FROM waiting
  CROSS JOIN clock
  JOIN webhooks.subscriptions AS told ON told.id = waiting.subscription AND told.state = 'ENABLED'
  LEFT JOIN unnest(:busy::bigint[], :free::int[]) AS under_way (subscription, free)
    ON under_way.subscription = waiting.subscription
  CROSS JOIN LATERAL (
    SELECT id, due_at_us
    FROM webhooks.deliveries
    WHERE subscription = waiting.subscription AND due_at_us <= clock.now_us
    ORDER BY due_at_us, id
    LIMIT greatest(0, coalesce(under_way.free, :each::int))
    FOR UPDATE SKIP LOCKED
  ) AS first
), of_clients AS (
  SELECT first.*,
         coalesce(under_way.free, :client::int) AS free,
         coalesce(under_way.failing, :client_failing::int) AS failing,
         coalesce(under_way.kept, :client_kept::int) AS kept,
         row_number() OVER (PARTITION BY first.client, fails ORDER BY due_at_us, id) AS of_kind
  FROM first
  LEFT JOIN unnest(:clients::text[], :clients_free::int[], :clients_failing::int[],
                   :clients_kept::int[])
    AS under_way (client, free, failing, kept) ON under_way.client = first.client
), by_clients AS (
  SELECT of_clients.*,
         row_number() OVER (
           PARTITION BY client ORDER BY fails AND of_kind > kept, due_at_us, id) AS place
  FROM of_clients
  WHERE NOT fails OR of_kind <= failing
), in_all AS (
  SELECT by_clients.*,
         row_number() OVER (PARTITION BY fails ORDER BY due_at_us, id) AS place_in_all
  FROM by_clients
  WHERE place <= free
), due AS (
  SELECT id
  FROM in_all
  WHERE NOT fails OR place_in_all <= :most_failing::int
  ORDER BY fails AND place_in_all > :kept::int, due_at_us, id
  LIMIT :most::int
), leased AS (
  UPDATE webhooks.deliveries AS delivery
  SET sending = true, attempts = attempts + 1, tried = tried + 1,
      due_at_us = webhooks.now_us() + :lease_us::bigint
  FROM due
  WHERE delivery.id = due.id
  RETURNING delivery.id, delivery.subscription, delivery.event, delivery.body, delivery.attempts,
            delivery.tried, delivery.created_at_us
)
SELECT leased.*, told.client, told.url, secrets.ids AS secret_ids, secrets.data_keys, secrets.sealed
FROM leased
JOIN webhooks.subscriptions AS told ON told.id = leased.subscription
CROSS JOIN LATERAL (
  SELECT array_agg(id ORDER BY id DESC) AS ids, array_agg(data_key ORDER BY id DESC) AS data_keys,
         array_agg(secret.sealed ORDER BY id DESC) AS sealed
  FROM webhooks.secrets AS secret
  WHERE secret.subscription = leased.subscription
    AND coalesce(signs_until_us > webhooks.now_us(), true)
) AS secrets
ORDER BY leased.id

-- name: record(ids, numbers, states, again_in_us, started_us, durations_us, statuses, failures)!
-- What came of attempts. One whose lease ended, and that another has begun anew, changes no state.
WITH done AS (
  SELECT * FROM unnest(
    :ids::bigint[], :numbers::int[], :states::text[], :again_in_us::bigint[],
    :started_us::bigint[], :durations_us::bigint[], :statuses::int[], :failures::text[]
  ) AS done (id, number, state, again_in_us, started_at_us, duration_us, status, failure)
), settled AS (
  UPDATE webhooks.deliveries AS delivery
  SET state = done.state, sending = false,
      due_at_us =
        CASE done.state WHEN 'PENDING' THEN webhooks.now_us() + done.again_in_us END,
      ended_at_us = CASE done.state WHEN 'PENDING' THEN NULL ELSE webhooks.now_us() END
  FROM done
  WHERE delivery.id = done.id AND delivery.attempts = done.number AND delivery.sending
)
INSERT INTO webhooks.attempts (delivery, number, started_at_us, duration_us, status, failure)
SELECT done.id, number, started_at_us, duration_us, status, failure
FROM done
JOIN webhooks.deliveries ON deliveries.id = done.id
ON CONFLICT DO NOTHING

-- name: put_back(ids, numbers, again_in_us)!
-- Attempts that were not made, or of which nothing is known: they count for nothing.
UPDATE webhooks.deliveries AS delivery
SET sending = false, tried = tried - 1, due_at_us = webhooks.now_us() + :again_in_us::bigint
FROM unnest(:ids::bigint[], :numbers::int[]) AS back (id, number)
WHERE delivery.id = back.id AND delivery.attempts = back.number AND delivery.sending

-- name: take_turn()$
-- As in webhooks.sql.
SELECT pg_advisory_xact_lock(hashtextextended('paycore.webhooks', 0))

-- name: say_why(reason)!
-- Of the audit row of this transaction.
SELECT set_config('paycore.reason', :reason, true)

-- name: give_up(ids, state)!
UPDATE webhooks.subscriptions
SET state = :state, revision = nextval('webhooks.revision')
WHERE id = ANY (:ids::bigint[]) AND state = 'ENABLED'

-- name: overfull(most)
-- Subscriptions of which more than so many wait that were written since they were last enabled: what
-- waited before has its time. First what an index alone can tell.
SELECT told.id
FROM webhooks.subscriptions AS told
WHERE told.state = 'ENABLED' AND EXISTS (
  SELECT FROM webhooks.deliveries
  WHERE subscription = told.id AND state = 'PENDING'
  OFFSET :most::int LIMIT 1
) AND EXISTS (
  SELECT FROM webhooks.deliveries
  WHERE subscription = told.id AND state = 'PENDING' AND journal_id > told.from_journal_id
  OFFSET :most::int LIMIT 1
)

-- name: prune(kept_us, most)$
-- How many were too old: ended so long ago, or due so long ago, of a subscription that is disabled.
-- What waits of one that is enabled is sent, however late.
WITH old AS (
  DELETE FROM webhooks.deliveries
  WHERE id = ANY (ARRAY(
    SELECT delivery.id
    FROM webhooks.deliveries AS delivery
    JOIN webhooks.subscriptions AS told ON told.id = delivery.subscription
    WHERE coalesce(ended_at_us, due_at_us) < (SELECT webhooks.now_us()) - :kept_us::bigint
      AND (ended_at_us IS NOT NULL OR told.state <> 'ENABLED')
    ORDER BY coalesce(ended_at_us, due_at_us)
    LIMIT :most::int
  ))
  RETURNING id
)
SELECT count(*) FROM old
