-- name: copy_suppressions
-- Rows of an import, as text; COPY cannot be planned, so it stands apart from the queries.
copy mailglass.suppression_intake
    (batch_id, id, tenant_id, scope, value, stream, reason, source, note, changed_by, expires_at, created_at)
from stdin;
