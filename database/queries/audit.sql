-- The trail of what changed and what was refused, read as paycore_audit.

-- name: trail(from_us, until_us, sources, events, client, user_id, device_id, device_hint, ip_address, address_hint, subject, before_us, before_source, before_id, most)
-- The newest first, those behind a place in the list; a filter that is null holds for all. Of what
-- is sealed a filter finds what has the same hint, and so one in 65,536 others. Each
-- source is asked for its own newest: its index gives them in order.
SELECT found.*
FROM unnest(:sources::text[]) AS wanted (source)
CROSS JOIN LATERAL (
  SELECT *
  FROM audit.trail
  WHERE trail.source = wanted.source
    AND first_us >= :from_us AND first_us <= :until_us AND first_us <= :before_us
    AND (first_us, trail.source, id) < (:before_us, :before_source::text, :before_id)
    AND (:events::text[] IS NULL OR event = ANY (:events::text[]))
    AND (:client::text IS NULL OR client = :client)
    AND (:user_id::text IS NULL OR user_id = :user_id)
    AND (:device_id::text IS NULL OR device_id = :device_id OR device_hint = :device_hint::text)
    AND (:ip_address::text IS NULL OR ip_address = :ip_address
         OR address_hint = :address_hint::text)
    AND (:subject::text IS NULL OR subject = :subject)
  ORDER BY first_us DESC, id DESC
  LIMIT :most::int
) AS found
ORDER BY first_us DESC, found.source DESC, id DESC
LIMIT :most::int
