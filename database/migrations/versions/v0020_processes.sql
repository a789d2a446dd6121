-- A process looks at the schema before it serves. A migration that takes away what older processes
-- need raises oldest_processes, in which this column says so to those that start later.

ALTER TABLE public.schema_version
  ADD COLUMN oldest_processes text NOT NULL DEFAULT '0001'
  CONSTRAINT schema_version_oldest_processes CHECK (oldest_processes ~ '^[0-9]{4}$');
COMMENT ON COLUMN public.schema_version.oldest_processes IS
  'Processes whose newest migration is before this one do not serve.';
GRANT SELECT ON public.schema_version
  TO paycore_command, paycore_signing, paycore_projector, paycore_query, paycore_audit;
