-- When the server looks at a deployment next, to look for drift or to see that it is not due yet; NULL when it does not.
ALTER TABLE deployments ADD COLUMN drift_due BIGINT;
UPDATE deployments SET drift_due = 0;
CREATE INDEX deployments_drift_due ON deployments (drift_due) WHERE drift_due IS NOT NULL;

-- `shown` are the values, sealed with the tenant's key. `resolved` is set while the item is.
CREATE TABLE drift_items (
    tenant_id UUID NOT NULL,
    uid UUID NOT NULL,
    deployment UUID NOT NULL,
    environment TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    state TEXT NOT NULL,
    class TEXT NOT NULL,
    exception UUID,
    resolved BIGINT,
    version BIGINT NOT NULL,
    shown BYTEA NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (tenant_id, uid),
    UNIQUE (tenant_id, deployment, fingerprint),
    FOREIGN KEY (tenant_id, deployment) REFERENCES deployments (tenant_id, uid) ON DELETE CASCADE
);
CREATE INDEX drift_items_by_deployment ON drift_items (tenant_id, deployment, uid);
CREATE INDEX drift_items_by_environment ON drift_items (tenant_id, environment, uid);
CREATE INDEX drift_items_by_exception ON drift_items (tenant_id, exception) WHERE exception IS NOT NULL;
CREATE INDEX drift_items_resolved ON drift_items (resolved) WHERE resolved IS NOT NULL;

-- `ends` is set until what it covered has been opened again.
CREATE TABLE drift_exceptions (
    tenant_id UUID NOT NULL REFERENCES tenants (uid),
    uid UUID NOT NULL,
    ends BIGINT,
    body TEXT NOT NULL,
    PRIMARY KEY (tenant_id, uid)
);
CREATE INDEX drift_exceptions_ending ON drift_exceptions (ends) WHERE ends IS NOT NULL;

INSERT INTO quotas (tenant_id, dimension, max, used, reserved, version, window_start, updated)
SELECT uid, 'drift_checks_per_day', 2000, 0, 0, 1, 0, 0 FROM tenants;

DO $$
DECLARE
    tenant_table TEXT;
BEGIN
    FOREACH tenant_table IN ARRAY ARRAY['drift_items', 'drift_exceptions'] LOOP
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
