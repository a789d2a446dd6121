-- The version of the schema, read by every process before it serves.

-- name: read_version()^
SELECT version_num AS version, oldest_processes
FROM public.schema_version
