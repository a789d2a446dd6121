-- Subscriptions to events and their deliveries, as clients see and change them. The tables write the
-- audit.

-- name: take_turn()$
-- Changes come one after the other, so that revisions rise in the order of their commits.
SELECT pg_advisory_xact_lock(hashtextextended('paycore.webhooks', 0))

-- name: count_enabled(client)$
SELECT count(*) FROM webhooks.subscriptions WHERE client = :client AND state = 'ENABLED'

-- name: find_subscription(id)^
SELECT id, client, url, events, accounts, description, state, revision, created_at_us
FROM webhooks.subscriptions
WHERE id = :id::bigint

-- name: list_subscriptions(client, after_id, most)
SELECT id, client, url, events, accounts, description, state, revision, created_at_us
FROM webhooks.subscriptions
WHERE client = :client AND id > :after_id::bigint
ORDER BY id
LIMIT :most::int

-- name: add_subscription(id, client, url, events, accounts, description, journal_id, created_us)!
INSERT INTO webhooks.subscriptions (
  id, client, url, events, accounts, description, from_journal_id, created_at_us)
VALUES (
  :id::bigint, :client, :url, :events::text[], :accounts::bigint[], :description,
  :journal_id::bigint, :created_us::bigint)

-- name: enable(id, journal_id)$
-- NULL where it is enabled. What happened meanwhile is not told.
UPDATE webhooks.subscriptions
SET state = 'ENABLED', revision = nextval('webhooks.revision'),
    from_xid = pg_current_xact_id(), from_journal_id = :journal_id::bigint
WHERE id = :id::bigint AND state <> 'ENABLED'
RETURNING revision

-- name: disable(id)$
-- NULL where it is not enabled.
UPDATE webhooks.subscriptions
SET state = 'DISABLED', revision = nextval('webhooks.revision')
WHERE id = :id::bigint AND state = 'ENABLED'
RETURNING revision

-- name: add_secret(id, subscription, data_key, sealed, created_us)!
INSERT INTO webhooks.secrets (id, subscription, data_key, sealed, created_at_us)
VALUES (:id::bigint, :subscription::bigint, :data_key::bigint, :sealed::bytea, :created_us::bigint)

-- name: find_secret(id)^
SELECT id, subscription, data_key, sealed FROM webhooks.secrets WHERE id = :id::bigint

-- name: count_signing(subscription)$
SELECT count(*)
FROM webhooks.secrets
WHERE subscription = :subscription::bigint
  AND coalesce(signs_until_us > webhooks.now_us(), true)

-- name: end_secrets(subscription, overlap_us)!
-- None signs for longer than the overlap from now on; none that would have ended before ends later.
UPDATE webhooks.secrets
SET signs_until_us = webhooks.now_us() + :overlap_us::bigint
WHERE subscription = :subscription::bigint
  AND coalesce(signs_until_us > webhooks.now_us() + :overlap_us::bigint, true)

-- name: drop_ended_secrets(subscription)!
DELETE FROM webhooks.secrets
WHERE subscription = :subscription::bigint AND signs_until_us <= webhooks.now_us()

-- name: find_delivery(id)^
SELECT deliveries.id, subscription, subscriptions.client, deliveries.state, sending
FROM webhooks.deliveries
JOIN webhooks.subscriptions ON subscriptions.id = subscription
WHERE deliveries.id = :id::bigint

-- name: list_deliveries(subscription, event, before_id, most)
SELECT id, subscription, journal_id, place, event, state, attempts, created_at_us, due_at_us,
       ended_at_us, sending
FROM webhooks.deliveries
WHERE subscription = :subscription::bigint AND id < :before_id::bigint
  AND (:event::text = '' OR event = :event::text)
ORDER BY id DESC
LIMIT :most::int

-- name: list_deliveries_in_state(subscription, state, event, before_id, most)
SELECT id, subscription, journal_id, place, event, state, attempts, created_at_us, due_at_us,
       ended_at_us, sending
FROM webhooks.deliveries
WHERE subscription = :subscription::bigint AND state = :state AND id < :before_id::bigint
  AND (:event::text = '' OR event = :event::text)
ORDER BY id DESC
LIMIT :most::int

-- name: find_deliveries_of_event(subscription, journal_id, place)
-- One at most.
SELECT id, subscription, journal_id, place, event, state, attempts, created_at_us, due_at_us,
       ended_at_us, sending
FROM webhooks.deliveries
WHERE subscription = :subscription::bigint AND journal_id = :journal_id::bigint
  AND place = :place::int

-- name: last_attempts(deliveries, most)
SELECT latest.*
FROM unnest(:deliveries::bigint[]) AS wanted (id)
CROSS JOIN LATERAL (
  SELECT delivery, number, started_at_us, duration_us, status, failure
  FROM webhooks.attempts
  WHERE delivery = wanted.id
  ORDER BY number DESC
  LIMIT :most::int
) AS latest
ORDER BY latest.delivery, latest.number

-- name: replay_one(id)$
-- NULL while it is being sent.
UPDATE webhooks.deliveries
SET state = 'PENDING', due_at_us = webhooks.now_us(), ended_at_us = NULL, tried = 0
WHERE id = :id::bigint AND NOT sending
RETURNING id

-- name: replay_dead(subscription, since_us, most)$
-- How many, the oldest first.
WITH dead AS (
  SELECT id
  FROM webhooks.deliveries
  WHERE subscription = :subscription::bigint AND state = 'DEAD'
    AND created_at_us >= :since_us::bigint
  ORDER BY id
  LIMIT :most::int
), replayed AS (
  UPDATE webhooks.deliveries AS delivery
  SET state = 'PENDING', due_at_us = webhooks.now_us(), ended_at_us = NULL, tried = 0
  FROM dead
  WHERE delivery.id = dead.id AND delivery.state = 'DEAD'
  RETURNING delivery.id
)
SELECT count(*) FROM replayed
