-- What a look at the queue compares. `class` and `place` of a run are set while it waits for a runner, and only then.
ALTER TABLE tenants ADD COLUMN active BOOLEAN NOT NULL DEFAULT TRUE;
ALTER TABLE tenants ADD COLUMN queue_weight INTEGER NOT NULL DEFAULT 1;
UPDATE tenants SET active = (body ->> '$.state' = 'Active');

ALTER TABLE runs ADD COLUMN class TEXT;
ALTER TABLE runs ADD COLUMN place INTEGER;
ALTER TABLE runs ADD COLUMN job_began INTEGER;
ALTER TABLE runs ADD COLUMN job_ended INTEGER;
UPDATE runs SET
    class = CASE
        WHEN phase = 'RECOVERING' THEN 'RECOVERY'
        WHEN phase = 'APPLY_QUEUED' THEN 'APPLY'
        WHEN body ->> '$.kind' = 'Drift' THEN 'DRIFT'
        WHEN body ->> '$.kind' = 'Plan' THEN 'LOOK'
        ELSE 'PLAN'
    END,
    place = CASE
        WHEN phase = 'RECOVERING' THEN 0
        WHEN phase = 'APPLY_QUEUED' THEN CAST(body ->> '$.create_time' AS INTEGER)
        WHEN body ->> '$.kind' = 'Drift' THEN CAST(body ->> '$.create_time' AS INTEGER) + 3600000000
        WHEN body ->> '$.kind' = 'Plan' THEN CAST(body ->> '$.create_time' AS INTEGER) + 1800000000
        ELSE CAST(body ->> '$.create_time' AS INTEGER) + 900000000
    END
WHERE phase IN ('QUEUED', 'APPLY_QUEUED', 'RECOVERING');
DROP INDEX runs_claimable;
CREATE INDEX runs_waiting ON runs (pool, engine, tenant_id, place, uid) WHERE place IS NOT NULL;
CREATE INDEX runs_measured ON runs (pool, job_ended) WHERE job_ended IS NOT NULL;

-- What each tenant was given of each pool, on its own clock.
CREATE TABLE queue_shares (
    pool TEXT NOT NULL,
    tenant_id BLOB NOT NULL REFERENCES tenants (uid),
    began INTEGER NOT NULL,
    ended INTEGER NOT NULL,
    PRIMARY KEY (pool, tenant_id)
);
CREATE INDEX queue_shares_by_clock ON queue_shares (pool, began);

-- Runs that wait for their first runner hold a place of the quota `queued_runs`.
INSERT INTO quotas (tenant_id, dimension, max, used, reserved, version, window_start, updated)
SELECT uid, 'queued_runs', 1000, 0,
    (SELECT COUNT(*) FROM runs WHERE runs.tenant_id = tenants.uid AND runs.phase = 'QUEUED' AND runs.epoch = 0),
    1, 0, CAST(unixepoch('subsec') * 1000000 AS INTEGER)
FROM tenants;
INSERT INTO reservations (tenant_id, uid, dimension, amount, owner, owner_name, created)
SELECT tenant_id, uid, 'queued_runs', 1, uid, body ->> '$.name', CAST(body ->> '$.create_time' AS INTEGER)
FROM runs WHERE phase = 'QUEUED' AND epoch = 0;
