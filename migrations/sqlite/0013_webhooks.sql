CREATE TABLE webhook_endpoints (
    tenant_id BLOB NOT NULL REFERENCES tenants (uid),
    uid BLOB NOT NULL,
    name TEXT NOT NULL,
    parent TEXT NOT NULL,
    version INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (tenant_id, uid),
    UNIQUE (tenant_id, name)
);
CREATE INDEX webhook_endpoints_by_parent ON webhook_endpoints (tenant_id, parent, uid);

-- `due` is when a delivery is tried next, or when whoever tries it now has lost it; absent when it is over, which was `ended`.
-- `epoch` is the number of the claim. `position` is the event's place in the log.
CREATE TABLE webhook_deliveries (
    tenant_id BLOB NOT NULL REFERENCES tenants (uid),
    uid BLOB NOT NULL,
    endpoint BLOB NOT NULL,
    event BLOB NOT NULL,
    position INTEGER NOT NULL,
    ordered BOOLEAN NOT NULL,
    state TEXT NOT NULL,
    due INTEGER,
    ended INTEGER,
    epoch INTEGER NOT NULL DEFAULT 0,
    body TEXT NOT NULL,
    PRIMARY KEY (tenant_id, uid),
    UNIQUE (tenant_id, endpoint, event)
);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (due) WHERE due IS NOT NULL;
CREATE INDEX webhook_deliveries_waiting ON webhook_deliveries (tenant_id, endpoint, position) WHERE due IS NOT NULL;
CREATE INDEX webhook_deliveries_by_endpoint ON webhook_deliveries (tenant_id, endpoint, uid);
CREATE INDEX webhook_deliveries_ended ON webhook_deliveries (ended) WHERE ended IS NOT NULL;

INSERT INTO quotas (tenant_id, dimension, max, used, reserved, version, window_start, updated)
SELECT uid, 'webhook_endpoints', 20, 0, 0, 1, 0, 0 FROM tenants;
