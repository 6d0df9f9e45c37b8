-- Columns are what SQL must know: keys, order and guards. The rest of a resource is one JSON document in `body`.
-- Times are microseconds since 1970 UTC.

CREATE TABLE tenants (
    uid UUID PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    version BIGINT NOT NULL,
    body TEXT NOT NULL,
    data_key BYTEA NOT NULL
);

CREATE TABLE projects (
    tenant_id UUID NOT NULL REFERENCES tenants (uid),
    uid UUID NOT NULL,
    name TEXT NOT NULL,
    parent TEXT NOT NULL,
    version BIGINT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (tenant_id, uid),
    UNIQUE (tenant_id, name)
);
CREATE INDEX projects_by_parent ON projects (tenant_id, parent, uid);

CREATE TABLE environments (
    tenant_id UUID NOT NULL,
    uid UUID NOT NULL,
    name TEXT NOT NULL,
    parent TEXT NOT NULL,
    version BIGINT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (tenant_id, uid),
    UNIQUE (tenant_id, name),
    FOREIGN KEY (tenant_id, parent) REFERENCES projects (tenant_id, name)
);
CREATE INDEX environments_by_parent ON environments (tenant_id, parent, uid);

CREATE TABLE blueprints (
    tenant_id UUID NOT NULL REFERENCES tenants (uid),
    uid UUID NOT NULL,
    name TEXT NOT NULL,
    parent TEXT NOT NULL,
    version BIGINT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (tenant_id, uid),
    UNIQUE (tenant_id, name)
);
CREATE INDEX blueprints_by_parent ON blueprints (tenant_id, parent, uid);

CREATE TABLE blueprint_versions (
    tenant_id UUID NOT NULL,
    uid UUID NOT NULL,
    name TEXT NOT NULL,
    parent TEXT NOT NULL,
    version BIGINT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (tenant_id, uid),
    UNIQUE (tenant_id, name),
    FOREIGN KEY (tenant_id, parent) REFERENCES blueprints (tenant_id, name)
);
CREATE INDEX blueprint_versions_by_parent ON blueprint_versions (tenant_id, parent, uid);

CREATE TABLE users (
    tenant_id UUID NOT NULL REFERENCES tenants (uid),
    uid UUID NOT NULL,
    name TEXT NOT NULL,
    parent TEXT NOT NULL,
    email TEXT NOT NULL,
    version BIGINT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (tenant_id, uid),
    UNIQUE (tenant_id, name),
    UNIQUE (tenant_id, email)
);
CREATE INDEX users_by_parent ON users (tenant_id, parent, uid);

CREATE TABLE service_accounts (
    tenant_id UUID NOT NULL REFERENCES tenants (uid),
    uid UUID NOT NULL,
    name TEXT NOT NULL,
    parent TEXT NOT NULL,
    version BIGINT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (tenant_id, uid),
    UNIQUE (tenant_id, name)
);
CREATE INDEX service_accounts_by_parent ON service_accounts (tenant_id, parent, uid);

CREATE TABLE workload_identities (
    tenant_id UUID NOT NULL,
    uid UUID NOT NULL,
    parent TEXT NOT NULL,
    spiffe_id TEXT NOT NULL UNIQUE,
    body TEXT NOT NULL,
    PRIMARY KEY (tenant_id, uid),
    FOREIGN KEY (tenant_id, parent) REFERENCES service_accounts (tenant_id, name) ON DELETE CASCADE
);

-- `member` is who the key or binding is for; it goes with its member in the same transaction.
CREATE TABLE api_keys (
    tenant_id UUID NOT NULL REFERENCES tenants (uid),
    uid UUID NOT NULL,
    member TEXT NOT NULL,
    digest BYTEA NOT NULL UNIQUE,
    body TEXT NOT NULL,
    PRIMARY KEY (tenant_id, uid)
);
CREATE INDEX api_keys_by_member ON api_keys (tenant_id, member);

CREATE TABLE role_bindings (
    tenant_id UUID NOT NULL REFERENCES tenants (uid),
    uid UUID NOT NULL,
    member TEXT NOT NULL,
    role TEXT NOT NULL,
    resource TEXT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (tenant_id, uid),
    UNIQUE (tenant_id, member, role, resource)
);

CREATE TABLE deployments (
    tenant_id UUID NOT NULL,
    uid UUID NOT NULL,
    name TEXT NOT NULL,
    parent TEXT NOT NULL,
    blueprint TEXT NOT NULL,
    version BIGINT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (tenant_id, uid),
    UNIQUE (tenant_id, name),
    FOREIGN KEY (tenant_id, parent) REFERENCES environments (tenant_id, name),
    FOREIGN KEY (tenant_id, blueprint) REFERENCES blueprints (tenant_id, name)
);
CREATE INDEX deployments_by_parent ON deployments (tenant_id, parent, uid);
CREATE INDEX deployments_by_blueprint ON deployments (tenant_id, blueprint);

CREATE TABLE revisions (
    tenant_id UUID NOT NULL,
    uid UUID NOT NULL,
    deployment UUID NOT NULL,
    number BIGINT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (tenant_id, uid),
    UNIQUE (tenant_id, deployment, number),
    FOREIGN KEY (tenant_id, deployment) REFERENCES deployments (tenant_id, uid) ON DELETE CASCADE
);

-- The queue of the runners is the table of runs: `phase` says what can be claimed, `lease_until` who was lost.
CREATE TABLE runs (
    tenant_id UUID NOT NULL,
    uid UUID NOT NULL,
    deployment UUID NOT NULL,
    phase TEXT NOT NULL,
    pool TEXT NOT NULL,
    engine TEXT NOT NULL,
    version BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    ask UUID,
    lease_until BIGINT,
    deadline BIGINT,
    log_lines BIGINT NOT NULL DEFAULT 0,
    body TEXT NOT NULL,
    PRIMARY KEY (tenant_id, uid),
    FOREIGN KEY (tenant_id, deployment) REFERENCES deployments (tenant_id, uid) ON DELETE CASCADE
);
CREATE INDEX runs_by_deployment ON runs (tenant_id, deployment, uid);
CREATE INDEX runs_claimable ON runs (pool, uid) WHERE phase IN ('QUEUED', 'APPLY_QUEUED', 'RECOVERING');
CREATE INDEX runs_asked ON runs (ask) WHERE ask IS NOT NULL;
CREATE INDEX runs_leased ON runs (lease_until) WHERE lease_until IS NOT NULL;
CREATE INDEX runs_due ON runs (deadline) WHERE deadline IS NOT NULL;
-- The last line of defence: two runs never change one deployment at the same time.
CREATE UNIQUE INDEX runs_changing ON runs (tenant_id, deployment) WHERE phase IN ('APPLYING', 'VERIFYING', 'RECOVERING');

CREATE TABLE run_steps (
    tenant_id UUID NOT NULL,
    run UUID NOT NULL,
    step_id TEXT NOT NULL,
    address TEXT NOT NULL,
    state TEXT NOT NULL,
    data BYTEA NOT NULL,
    error TEXT NOT NULL,
    PRIMARY KEY (tenant_id, run, step_id),
    FOREIGN KEY (tenant_id, run) REFERENCES runs (tenant_id, uid) ON DELETE CASCADE
);

CREATE TABLE run_logs (
    tenant_id UUID NOT NULL,
    run UUID NOT NULL,
    first BIGINT NOT NULL,
    lines BIGINT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (tenant_id, run, first),
    FOREIGN KEY (tenant_id, run) REFERENCES runs (tenant_id, uid) ON DELETE CASCADE
);

CREATE TABLE state_versions (
    tenant_id UUID NOT NULL,
    deployment UUID NOT NULL,
    serial BIGINT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (tenant_id, deployment, serial),
    FOREIGN KEY (tenant_id, deployment) REFERENCES deployments (tenant_id, uid) ON DELETE CASCADE
);

-- Bytes that no query looks into, sealed with the tenant's key: inputs, plans, states, outputs, files.
CREATE TABLE payloads (
    tenant_id UUID NOT NULL REFERENCES tenants (uid),
    owner UUID NOT NULL,
    kind TEXT NOT NULL,
    serial BIGINT NOT NULL,
    bytes BYTEA NOT NULL,
    PRIMARY KEY (tenant_id, owner, kind, serial)
);

CREATE TABLE operations (
    tenant_id UUID NOT NULL REFERENCES tenants (uid),
    uid UUID NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (tenant_id, uid)
);

CREATE TABLE runner_pools (
    uid UUID PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    version BIGINT NOT NULL,
    body TEXT NOT NULL
);

CREATE TABLE runners (
    name TEXT PRIMARY KEY,
    uid UUID NOT NULL UNIQUE,
    pool TEXT NOT NULL REFERENCES runner_pools (name),
    body TEXT NOT NULL
);

-- `window_start` is 0 for what does not come back by itself.
CREATE TABLE quotas (
    tenant_id UUID NOT NULL REFERENCES tenants (uid),
    dimension TEXT NOT NULL,
    max BIGINT,
    used BIGINT NOT NULL CHECK (used >= 0),
    reserved BIGINT NOT NULL CHECK (reserved >= 0),
    version BIGINT NOT NULL,
    window_start BIGINT NOT NULL,
    updated BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, dimension)
) WITH (fillfactor = 50);

CREATE TABLE reservations (
    tenant_id UUID NOT NULL,
    uid UUID NOT NULL,
    dimension TEXT NOT NULL,
    amount BIGINT NOT NULL CHECK (amount > 0),
    owner UUID NOT NULL,
    owner_name TEXT NOT NULL,
    created BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, uid),
    UNIQUE (tenant_id, owner, dimension),
    FOREIGN KEY (tenant_id, dimension) REFERENCES quotas (tenant_id, dimension)
);

-- Tenant 00000000-0000-0000-0000-000000000000 stands for the installation itself in the three tables below.
CREATE TABLE idempotency (
    tenant_id UUID NOT NULL,
    principal TEXT NOT NULL,
    method TEXT NOT NULL,
    request_id UUID NOT NULL,
    digest BYTEA NOT NULL,
    response TEXT NOT NULL,
    expires BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, principal, method, request_id)
);
CREATE INDEX idempotency_by_expiry ON idempotency (expires);

CREATE TABLE audit_records (
    tenant_id UUID NOT NULL,
    uid UUID NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (tenant_id, uid)
);

CREATE TABLE outbox (
    uid UUID PRIMARY KEY,
    tenant_id UUID NOT NULL,
    resource UUID NOT NULL,
    version BIGINT NOT NULL,
    body TEXT NOT NULL
);
