-- A quota of connections, with those that are there.

INSERT INTO quotas (tenant_id, dimension, max, used, reserved, version, window_start, updated)
SELECT tenants.uid, 'connections', 100, COUNT(connections.uid), 0, 1, 0, 0
FROM tenants LEFT JOIN connections ON connections.tenant_id = tenants.uid
GROUP BY tenants.uid;
