CREATE TABLE notification_rules (
    tenant_id UUID NOT NULL REFERENCES tenants (uid),
    uid UUID NOT NULL,
    name TEXT NOT NULL,
    parent TEXT NOT NULL,
    version BIGINT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (tenant_id, uid),
    UNIQUE (tenant_id, name)
);
CREATE INDEX notification_rules_by_parent ON notification_rules (tenant_id, parent, uid);

-- What a rule has gathered under one name. `due` is when somebody is told of it; absent while there is nothing to tell.
CREATE TABLE notification_groups (
    tenant_id UUID NOT NULL REFERENCES tenants (uid),
    rule UUID NOT NULL,
    name TEXT NOT NULL,
    due BIGINT,
    touched BIGINT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (tenant_id, rule, name)
);
CREATE INDEX notification_groups_due ON notification_groups (due) WHERE due IS NOT NULL;
CREATE INDEX notification_groups_idle ON notification_groups (touched) WHERE due IS NULL;

-- `due` is when a message is tried next, or when whoever tries it now has lost it; absent when all is over. `epoch` is the number of
-- the claim.
CREATE TABLE notifications (
    tenant_id UUID NOT NULL REFERENCES tenants (uid),
    uid UUID NOT NULL,
    rule UUID NOT NULL,
    state TEXT NOT NULL,
    due BIGINT,
    touched BIGINT NOT NULL,
    epoch BIGINT NOT NULL DEFAULT 0,
    body TEXT NOT NULL,
    PRIMARY KEY (tenant_id, uid)
);
CREATE INDEX notifications_by_rule ON notifications (tenant_id, rule, uid);
CREATE INDEX notifications_due ON notifications (due) WHERE due IS NOT NULL;
CREATE INDEX notifications_over ON notifications (touched) WHERE due IS NULL;

INSERT INTO quotas (tenant_id, dimension, max, used, reserved, version, window_start, updated)
SELECT uid, 'notification_rules', 100, 0, 0, 1, 0, 0 FROM tenants;

DO $$
DECLARE
    tenant_table TEXT;
BEGIN
    FOREACH tenant_table IN ARRAY ARRAY['notification_rules', 'notification_groups', 'notifications'] LOOP
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
