-- Processes of the release before lose their security events from here on.
UPDATE public.schema_version SET oldest_processes = '0036';

REVOKE INSERT (first_us, last_us, count, event, client, method, reason, user_id, device_id,
               ip_address, request_id)
  ON audit.events FROM paycore_query;
REVOKE USAGE ON SCHEMA audit FROM paycore_query;
REVOKE INSERT (device_id) ON audit.events FROM paycore_command, paycore_projector;
