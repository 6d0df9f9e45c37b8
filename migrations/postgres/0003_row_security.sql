-- Row-level security is the second line between tenants: a transaction that works for one tenant sees and writes the rows of no
-- other, whatever its statements say. A session that names no tenant works for all of them.
DO $$
DECLARE
    tenant_table TEXT;
BEGIN
    FOREACH tenant_table IN ARRAY ARRAY[
        'projects', 'environments', 'blueprints', 'blueprint_versions', 'users', 'service_accounts', 'workload_identities',
        'api_keys', 'role_bindings', 'deployments', 'revisions', 'runs', 'run_steps', 'run_logs', 'state_versions', 'payloads',
        'operations', 'quotas', 'reservations', 'idempotency', 'audit_records', 'outbox'
    ] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', tenant_table);
        EXECUTE format(
            'CREATE POLICY one_tenant ON %I USING (
                NULLIF(current_setting(''freehold.tenant'', true), '''') IS NULL
                OR tenant_id = CAST(NULLIF(current_setting(''freehold.tenant'', true), '''') AS UUID)
            )',
            tenant_table
        );
    END LOOP;
END $$;
