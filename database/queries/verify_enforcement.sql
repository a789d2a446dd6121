-- What the tables themselves enforce, and whether anybody took it away: their owner can, by DDL.

-- name: check_triggers(tables, names, definitions)
-- The triggers that guard history and balances stand as they were made, and always fire, on every
-- partition as on the whole.
WITH wanted AS (
  SELECT wanted."table", name, definition
  FROM unnest(:tables::text[], :names::text[], :definitions::text[])
    AS wanted ("table", name, definition)
), places AS (
  SELECT relation.oid, relation.relname AS place, wanted.name, wanted.definition
  FROM wanted
  LEFT JOIN pg_catalog.pg_class AS relation
    ON relation.relname = wanted."table" AND relation.relnamespace = 'ledger'::regnamespace
  UNION ALL
  SELECT partition.oid, partition.relname, wanted.name, wanted.definition
  FROM wanted
  JOIN pg_catalog.pg_class AS relation
    ON relation.relname = wanted."table" AND relation.relnamespace = 'ledger'::regnamespace
  JOIN pg_catalog.pg_inherits AS link ON link.inhparent = relation.oid
  JOIN pg_catalog.pg_class AS partition ON partition.oid = link.inhrelid
), bad AS (
  SELECT places.place AS "table", places.name AS trigger, CASE
           WHEN trigger.oid IS NULL THEN 'it is gone'
           WHEN trigger.tgenabled <> 'A' THEN 'it does not always fire'
           ELSE 'it is defined anew' END AS fault
  FROM places
  LEFT JOIN pg_catalog.pg_trigger AS trigger
    ON trigger.tgrelid = places.oid AND trigger.tgname = places.name
  WHERE trigger.oid IS NULL
     OR trigger.tgenabled <> 'A'
     OR replace(pg_get_triggerdef(trigger.oid), ' ON ledger.' || places.place || ' ', ' ON % ')
        <> places.definition
)
SELECT 'triggers' AS finding,
       (SELECT count(*) FROM places) AS examined,
       (SELECT count(*) FROM bad) AS violations,
       (SELECT to_jsonb(bad) FROM bad ORDER BY "table", trigger LIMIT 1) AS first_violation

-- name: check_functions(names, bodies)
-- The functions that the triggers run are those of the migrations.
WITH wanted AS (
  SELECT name, body FROM unnest(:names::text[], :bodies::text[]) AS wanted (name, body)
), bad AS (
  SELECT wanted.name AS function, found.oid IS NULL AS gone
  FROM wanted
  LEFT JOIN pg_catalog.pg_proc AS found
    ON found.proname = wanted.name AND found.pronamespace = 'ledger'::regnamespace
  WHERE found.prosrc IS DISTINCT FROM wanted.body
)
SELECT 'functions' AS finding,
       (SELECT count(*) FROM wanted) AS examined,
       (SELECT count(*) FROM bad) AS violations,
       (SELECT to_jsonb(bad) FROM bad ORDER BY function LIMIT 1) AS first_violation

-- name: check_partitions()
-- The partitions of the transfers follow on one another from the lowest id, nothing that holds
-- transfers was taken out of the whole, and each keeps its entries unique.
WITH partitions AS (
  SELECT child.oid, child.relname AS partition,
         pg_get_expr(child.relpartbound, child.oid) AS bound
  FROM pg_catalog.pg_inherits AS link
  JOIN pg_catalog.pg_class AS child ON child.oid = link.inhrelid
  WHERE link.inhparent = 'ledger.transfers'::regclass
), ranges AS (
  SELECT oid, partition,
         substring(bound FROM 'FROM \(''?(MINVALUE|-?\d+)''?\)') AS low,
         substring(bound FROM 'TO \(''(-?\d+)''\)')::numeric AS high
  FROM partitions
), ordered AS (
  SELECT *, lag(high::text, 1, 'MINVALUE') OVER (ORDER BY high) AS high_before FROM ranges
), keys (columns) AS (
  VALUES (ARRAY['id']), (ARRAY['debit_account', 'debit_version']),
         (ARRAY['credit_account', 'credit_version']), (ARRAY['parent_id', 'parent_sequence'])
), unique_keys AS (
  SELECT found.indrelid, (
           SELECT array_agg(part.attname::text ORDER BY place)
           FROM unnest(found.indkey::smallint[]) WITH ORDINALITY AS key (number, place)
           JOIN pg_catalog.pg_attribute AS part
             ON part.attrelid = found.indrelid AND part.attnum = key.number) AS columns
  FROM pg_catalog.pg_index AS found
  WHERE found.indisunique AND found.indisvalid
), bad AS (
  SELECT partition, 'it does not follow on the one before' AS fault
  FROM ordered
  WHERE low IS DISTINCT FROM high_before
  UNION ALL
  SELECT relation.relname, 'it holds transfers apart from the whole'
  FROM pg_catalog.pg_class AS relation
  JOIN pg_catalog.pg_attribute AS part
    ON part.attrelid = relation.oid AND part.attname = 'debit_balance_after'
  WHERE relation.relkind = 'r' AND pg_relation_size(relation.oid) > 0
    AND relation.oid NOT IN (SELECT oid FROM partitions)
  UNION ALL
  SELECT partition, 'it does not keep ' || array_to_string(keys.columns, ', ') || ' unique'
  FROM ranges
  CROSS JOIN keys
  WHERE NOT EXISTS (
    SELECT FROM unique_keys
    WHERE unique_keys.indrelid = ranges.oid AND unique_keys.columns = keys.columns)
)
SELECT 'partitions' AS finding,
       (SELECT count(*) FROM partitions) AS examined,
       (SELECT count(*) FROM bad) + (NOT EXISTS (SELECT FROM partitions))::int AS violations,
       (SELECT to_jsonb(bad) FROM bad ORDER BY partition LIMIT 1) AS first_violation

-- name: check_constraints(tables, names)
-- The constraints and unique indexes are there, and hold for every row.
WITH wanted AS (
  SELECT wanted."table", name FROM unnest(:tables::text[], :names::text[]) AS wanted ("table", name)
), bad AS (
  SELECT wanted."table", wanted.name AS "constraint", found.oid IS NULL AS gone
  FROM wanted
  LEFT JOIN pg_catalog.pg_class AS relation
    ON relation.relname = wanted."table" AND relation.relnamespace = 'ledger'::regnamespace
  LEFT JOIN pg_catalog.pg_constraint AS found
    ON found.conrelid = relation.oid AND found.conname = wanted.name
  WHERE found.convalidated IS NOT TRUE
    AND NOT EXISTS (
      SELECT
      FROM pg_catalog.pg_index AS by_index
      JOIN pg_catalog.pg_class AS named ON named.oid = by_index.indexrelid
      WHERE by_index.indrelid = relation.oid AND named.relname = wanted.name
        AND by_index.indisunique AND by_index.indisvalid)
)
SELECT 'constraints' AS finding,
       (SELECT count(*) FROM wanted) AS examined,
       (SELECT count(*) FROM bad) AS violations,
       (SELECT to_jsonb(bad) FROM bad ORDER BY "table", "constraint" LIMIT 1) AS first_violation

-- name: check_legal_children(parents, children)
-- The table of what may follow what says the same as the rules of the domain.
WITH wanted AS (
  SELECT * FROM unnest(:parents::text[], :children::text[]) AS wanted (parent, child)
), bad AS (
  SELECT coalesce(wanted.parent, stored.parent) AS parent,
         coalesce(wanted.child, stored.child) AS child, stored.parent IS NULL AS missing
  FROM wanted
  FULL JOIN (SELECT parent::text AS parent, child::text AS child FROM ledger.legal_children)
    AS stored ON stored.parent = wanted.parent AND stored.child = wanted.child
  WHERE wanted.parent IS NULL OR stored.parent IS NULL
)
SELECT 'legal_children' AS finding,
       (SELECT count(*) FROM wanted) AS examined,
       (SELECT count(*) FROM bad) AS violations,
       (SELECT to_jsonb(bad) FROM bad ORDER BY parent, child LIMIT 1) AS first_violation

-- name: check_rights(history, writers)
-- No role but the owner can rewrite history or write balances: `history` are the tables in which
-- rows are only ever added, `writers` who may add them. No service is more than it should be.
WITH history AS (
  SELECT * FROM unnest(:history::text[], :writers::text[]) AS history ("table", writer)
), relations AS (
  SELECT relation.oid, relation.relname, relation.relowner, relation.relacl,
         relation.relispartition AS is_partition
  FROM pg_catalog.pg_class AS relation
  WHERE relation.relnamespace = 'ledger'::regnamespace AND relation.relkind IN ('r', 'p')
), rights AS (
  SELECT relation.relname AS "table", NULL::name AS "column", relation.is_partition,
         one.grantee, one.privilege_type AS privilege
  FROM relations AS relation
  CROSS JOIN LATERAL aclexplode(relation.relacl) AS one
  WHERE one.grantee <> relation.relowner
  UNION ALL
  SELECT relation.relname, part.attname, relation.is_partition, one.grantee, one.privilege_type
  FROM relations AS relation
  JOIN pg_catalog.pg_attribute AS part ON part.attrelid = relation.oid AND part.attacl IS NOT NULL
  CROSS JOIN LATERAL aclexplode(part.attacl) AS one
  WHERE one.grantee <> relation.relowner
), named AS (
  SELECT coalesce(role.rolname, 'PUBLIC') AS role, rights.privilege, rights."table",
         rights."column", rights.is_partition, history.writer
  FROM rights
  LEFT JOIN pg_catalog.pg_roles AS role ON role.oid = rights.grantee
  LEFT JOIN history ON history."table" = rights."table"
), bad AS (
  SELECT role, privilege, "table", "column"
  FROM named
  WHERE role = 'PUBLIC'
     OR is_partition
     OR privilege IN ('TRIGGER', 'TRUNCATE', 'MAINTAIN')
     OR writer IS NOT NULL AND privilege IN ('UPDATE', 'DELETE')
     OR writer IS NOT NULL AND privilege = 'INSERT' AND role <> writer
     OR "table" IN ('open_holds', 'legal_children', 'epoch') AND privilege <> 'SELECT'
     OR "table" = 'accounts' AND (
          privilege = 'DELETE'
          OR privilege IN ('INSERT', 'UPDATE') AND "column" IS NULL
          OR privilege = 'UPDATE' AND "column" NOT IN ('status', 'revision', 'overdraft_limit')
          OR privilege = 'INSERT' AND "column" IN ('balance', 'held', 'version', 'last_entry_us'))
  UNION ALL
  SELECT owner.rolname, 'OWNERSHIP', relation.relname, NULL
  FROM relations AS relation
  JOIN pg_catalog.pg_roles AS owner ON owner.oid = relation.relowner
  WHERE owner.rolname <> 'paycore_owner'
  UNION ALL
  SELECT rolname, CASE WHEN rolsuper THEN 'SUPERUSER' WHEN rolcreaterole THEN 'CREATEROLE'
                       ELSE 'REPLICATION or BYPASSRLS' END, NULL, NULL
  FROM pg_catalog.pg_roles
  WHERE rolname LIKE 'paycore\_%' AND (rolsuper OR rolcreaterole OR rolreplication OR rolbypassrls)
  UNION ALL
  SELECT member.rolname, 'MEMBER of ' || role.rolname, NULL, NULL
  FROM pg_catalog.pg_auth_members AS link
  JOIN pg_catalog.pg_roles AS member ON member.oid = link.member
  JOIN pg_catalog.pg_roles AS role ON role.oid = link.roleid
  WHERE member.rolname LIKE 'paycore\_%'
)
SELECT 'rights' AS finding,
       (SELECT count(*) FROM rights) AS examined,
       (SELECT count(*) FROM bad) AS violations,
       (SELECT to_jsonb(bad) FROM bad ORDER BY "table", role, privilege, "column" LIMIT 1)
         AS first_violation
