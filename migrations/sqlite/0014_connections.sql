-- Connections to other systems, and what those call us for.

CREATE TABLE connections (
    tenant_id BLOB NOT NULL REFERENCES tenants (uid),
    uid BLOB NOT NULL,
    name TEXT NOT NULL,
    parent TEXT NOT NULL,
    version INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (tenant_id, uid),
    UNIQUE (tenant_id, name)
);
CREATE INDEX connections_by_parent ON connections (tenant_id, parent, uid);
-- Other systems call by this alone.
CREATE UNIQUE INDEX connections_by_uid ON connections (uid);

-- A delivery is kept once: neither its id nor what was signed comes again.
CREATE TABLE inbound_messages (
    tenant_id BLOB NOT NULL,
    uid BLOB NOT NULL,
    connection BLOB NOT NULL,
    delivery_id TEXT NOT NULL,
    digest TEXT NOT NULL,
    kind TEXT NOT NULL,
    received INTEGER NOT NULL,
    state TEXT NOT NULL,
    body TEXT NOT NULL,
    payload BLOB NOT NULL,
    PRIMARY KEY (tenant_id, uid),
    UNIQUE (tenant_id, connection, delivery_id),
    UNIQUE (tenant_id, connection, digest),
    FOREIGN KEY (tenant_id, connection) REFERENCES connections (tenant_id, uid)
);
CREATE INDEX inbound_messages_by_connection ON inbound_messages (tenant_id, connection, uid);
CREATE INDEX inbound_messages_by_time ON inbound_messages (received);
