-- Each generation of the search index: the one that serves, one that is being built, and those that
-- were replaced or given up and are still to be dropped.
CREATE TABLE projection.generations (
  sink        text   NOT NULL CHECK (length(sink) BETWEEN 1 AND 64),
  generation  bigint NOT NULL CHECK (generation >= 0),
  state       text   NOT NULL CHECK (state IN ('BUILDING', 'SERVING', 'RETIRED', 'FAILED')),
  epoch       bigint NOT NULL CHECK (epoch > 0),
  months      text[] NOT NULL DEFAULT '{}',
  reason      text   NOT NULL CHECK (length(reason) <= 256),
  phase       text   NOT NULL DEFAULT '' CHECK (length(phase) <= 16),
  after_id    bigint NOT NULL DEFAULT 0,
  documents   bigint NOT NULL DEFAULT 0 CHECK (documents >= 0),
  expected    bigint NOT NULL DEFAULT 0 CHECK (expected >= 0),
  created_at  timestamptz NOT NULL DEFAULT now(),
  switched_at timestamptz,
  PRIMARY KEY (sink, generation)
);
COMMENT ON TABLE projection.generations IS
  'What the search index consists of. The indices themselves can be lost, and are then made anew.';
COMMENT ON COLUMN projection.generations.months IS
  'Months whose index was made and not dropped: one that is not there any more was lost.';
COMMENT ON COLUMN projection.generations.phase IS
  'Of a build: transfers, declines, accounts, check; after_id is the last id done in it.';
COMMENT ON COLUMN projection.generations.switched_at IS
  'When it began to serve, and when it ceased to: once retired, it is dropped after a grace.';
CREATE UNIQUE INDEX generations_serving ON projection.generations (sink)
  WHERE state = 'SERVING';
CREATE UNIQUE INDEX generations_building ON projection.generations (sink)
  WHERE state = 'BUILDING';

-- What operators ask of the projector: a log that they may add to and nobody may change but for its
-- outcome.
CREATE TABLE projection.requests (
  id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  sink         text NOT NULL CHECK (length(sink) BETWEEN 1 AND 64),
  action       text NOT NULL CHECK (action IN ('REBUILD', 'CHECK', 'REPAIR', 'REPLAY', 'DISCARD')),
  kind         text CHECK (length(kind) BETWEEN 1 AND 64),
  document_id  bigint,
  reason       text NOT NULL CHECK (length(reason) BETWEEN 1 AND 256),
  requested_by text NOT NULL CHECK (length(requested_by) BETWEEN 1 AND 64),
  role         text NOT NULL DEFAULT session_user,
  requested_at timestamptz NOT NULL DEFAULT now(),
  ended_at     timestamptz,
  outcome      text CHECK (length(outcome) <= 2048)
);
COMMENT ON TABLE projection.requests IS
  'Who asked the projector for what and why, and what came of it. Kept for ever.';
CREATE INDEX requests_pending ON projection.requests (sink, id) WHERE ended_at IS NULL;

GRANT SELECT, INSERT, UPDATE, DELETE ON projection.generations TO paycore_projector;
GRANT SELECT ON projection.requests TO paycore_projector, paycore_audit;
GRANT UPDATE (ended_at, outcome) ON projection.requests TO paycore_projector;
GRANT SELECT ON projection.generations TO paycore_audit;

-- The only way in: what a role is called cannot be made up.
CREATE FUNCTION projection.request(
  sink text, action text, kind text, document_id bigint, reason text, requested_by text
) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = '' AS $$
  INSERT INTO projection.requests (sink, action, kind, document_id, reason, requested_by)
  VALUES ($1, $2, $3, $4, $5, $6)
  RETURNING id
$$;
REVOKE ALL ON FUNCTION projection.request FROM PUBLIC;
GRANT EXECUTE ON FUNCTION projection.request TO paycore_operator;
GRANT USAGE ON SCHEMA projection TO paycore_operator;
GRANT SELECT ON projection.requests, projection.generations, projection.checkpoints,
  projection.dead_letters TO paycore_operator;
