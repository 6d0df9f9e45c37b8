-- Connections to other systems, and what those call us for.

CREATE TABLE connections (
    tenant_id UUID NOT NULL REFERENCES tenants (uid),
    uid UUID NOT NULL,
    name TEXT NOT NULL,
    parent TEXT NOT NULL,
    version BIGINT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (tenant_id, uid),
    UNIQUE (tenant_id, name)
);
CREATE INDEX connections_by_parent ON connections (tenant_id, parent, uid);
-- Other systems call by this alone.
CREATE UNIQUE INDEX connections_by_uid ON connections (uid);

-- A delivery is kept once: neither its id nor what was signed comes again.
CREATE TABLE inbound_messages (
    tenant_id UUID NOT NULL,
    uid UUID NOT NULL,
    connection UUID NOT NULL,
    delivery_id TEXT NOT NULL,
    digest TEXT NOT NULL,
    kind TEXT NOT NULL,
    received BIGINT NOT NULL,
    state TEXT NOT NULL,
    body TEXT NOT NULL,
    payload BYTEA NOT NULL,
    PRIMARY KEY (tenant_id, uid),
    UNIQUE (tenant_id, connection, delivery_id),
    UNIQUE (tenant_id, connection, digest),
    FOREIGN KEY (tenant_id, connection) REFERENCES connections (tenant_id, uid)
);
CREATE INDEX inbound_messages_by_connection ON inbound_messages (tenant_id, connection, uid);
CREATE INDEX inbound_messages_by_time ON inbound_messages (received);

DO $$
DECLARE
    tenant_table TEXT;
BEGIN
    FOREACH tenant_table IN ARRAY ARRAY['connections', 'inbound_messages'] LOOP
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
