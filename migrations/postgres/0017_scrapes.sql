-- What other systems could not deliver to a connection. `due` is when they are asked for it next, or when whoever asks now has lost it;
-- absent when there is nobody to ask. `epoch` is the number of the claim.
CREATE TABLE scrapes (
    tenant_id UUID NOT NULL,
    connection UUID NOT NULL,
    due BIGINT,
    epoch BIGINT NOT NULL DEFAULT 0,
    body TEXT NOT NULL,
    PRIMARY KEY (tenant_id, connection),
    FOREIGN KEY (tenant_id, connection) REFERENCES connections (tenant_id, uid)
);
CREATE INDEX scrapes_due ON scrapes (due) WHERE due IS NOT NULL;

INSERT INTO scrapes (tenant_id, connection, due, body)
SELECT tenant_id, uid, 0, '{"from":0,"seen":0,"looked":null,"error":"","waiting":{}}' FROM connections;

ALTER TABLE scrapes ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY one_tenant ON scrapes USING (
    NULLIF(current_setting('freehold.tenant', true), '') IS NULL
    OR tenant_id = CAST(NULLIF(current_setting('freehold.tenant', true), '') AS UUID)
);
