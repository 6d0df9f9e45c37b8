-- Who people of other systems are here, what they ask for, and where runs are shown to them.

-- `due` is when what a message asks for is done, or when whoever does it now has lost it; absent when it asks for nothing or is
-- over. `epoch` is the number of the claim.
ALTER TABLE inbound_messages ADD COLUMN due BIGINT;
ALTER TABLE inbound_messages ADD COLUMN epoch BIGINT NOT NULL DEFAULT 0;
CREATE INDEX inbound_messages_due ON inbound_messages (due) WHERE due IS NOT NULL;

-- An account of another system acts as one principal.
CREATE TABLE connection_accounts (
    tenant_id UUID NOT NULL,
    uid UUID NOT NULL,
    connection UUID NOT NULL,
    external_id TEXT NOT NULL,
    principal TEXT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (tenant_id, uid),
    UNIQUE (tenant_id, connection, external_id),
    FOREIGN KEY (tenant_id, connection) REFERENCES connections (tenant_id, uid)
);
CREATE INDEX connection_accounts_by_principal ON connection_accounts (tenant_id, principal);

-- The last code of each account; a newer one takes its place.
CREATE TABLE link_codes (
    tenant_id UUID NOT NULL,
    connection UUID NOT NULL,
    external_id TEXT NOT NULL,
    digest BYTEA NOT NULL,
    expires BIGINT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (tenant_id, connection, external_id),
    FOREIGN KEY (tenant_id, connection) REFERENCES connections (tenant_id, uid)
);
CREATE INDEX link_codes_by_end ON link_codes (expires);

-- `due` is when the run is shown next, or when whoever shows it now has lost it; absent when it is shown as it is. `touched` grows with
-- whatever happens to the run. `ended` is when nothing more will be shown.
CREATE TABLE run_threads (
    tenant_id UUID NOT NULL,
    connection UUID NOT NULL,
    run UUID NOT NULL,
    deployment UUID NOT NULL,
    due BIGINT,
    epoch BIGINT NOT NULL DEFAULT 0,
    touched BIGINT NOT NULL DEFAULT 0,
    ended BIGINT,
    body TEXT NOT NULL,
    PRIMARY KEY (tenant_id, connection, run),
    FOREIGN KEY (tenant_id, connection) REFERENCES connections (tenant_id, uid)
);
CREATE INDEX run_threads_by_run ON run_threads (tenant_id, run) WHERE ended IS NULL;
CREATE INDEX run_threads_by_deployment ON run_threads (tenant_id, connection, deployment, run);
CREATE INDEX run_threads_due ON run_threads (due) WHERE due IS NOT NULL;
CREATE INDEX run_threads_ended ON run_threads (ended) WHERE ended IS NOT NULL;

DO $$
DECLARE
    tenant_table TEXT;
BEGIN
    FOREACH tenant_table IN ARRAY ARRAY['connection_accounts', 'link_codes', 'run_threads'] LOOP
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
