-- What a look at the queue compares. `class` and `place` of a run are set while it waits for a runner, and only then.
ALTER TABLE tenants ADD COLUMN active BOOLEAN NOT NULL DEFAULT TRUE;
ALTER TABLE tenants ADD COLUMN queue_weight BIGINT NOT NULL DEFAULT 1;
UPDATE tenants SET active = (CAST(body AS JSON) ->> 'state' = 'Active');

ALTER TABLE runs ADD COLUMN class TEXT;
ALTER TABLE runs ADD COLUMN place BIGINT;
ALTER TABLE runs ADD COLUMN job_began BIGINT;
ALTER TABLE runs ADD COLUMN job_ended BIGINT;
UPDATE runs SET
    class = CASE
        WHEN phase = 'RECOVERING' THEN 'RECOVERY'
        WHEN phase = 'APPLY_QUEUED' THEN 'APPLY'
        WHEN CAST(body AS JSON) ->> 'kind' = 'Drift' THEN 'DRIFT'
        WHEN CAST(body AS JSON) ->> 'kind' = 'Plan' THEN 'LOOK'
        ELSE 'PLAN'
    END,
    place = CASE
        WHEN phase = 'RECOVERING' THEN 0
        WHEN phase = 'APPLY_QUEUED' THEN CAST(CAST(body AS JSON) ->> 'create_time' AS BIGINT)
        WHEN CAST(body AS JSON) ->> 'kind' = 'Drift' THEN CAST(CAST(body AS JSON) ->> 'create_time' AS BIGINT) + 3600000000
        WHEN CAST(body AS JSON) ->> 'kind' = 'Plan' THEN CAST(CAST(body AS JSON) ->> 'create_time' AS BIGINT) + 1800000000
        ELSE CAST(CAST(body AS JSON) ->> 'create_time' AS BIGINT) + 900000000
    END
WHERE phase IN ('QUEUED', 'APPLY_QUEUED', 'RECOVERING');
DROP INDEX runs_claimable;
CREATE INDEX runs_waiting ON runs (pool, engine, tenant_id, place, uid) WHERE place IS NOT NULL;
CREATE INDEX runs_measured ON runs (pool, job_ended) WHERE job_ended IS NOT NULL;

-- What each tenant was given of each pool, on its own clock.
CREATE TABLE queue_shares (
    pool TEXT NOT NULL,
    tenant_id UUID NOT NULL REFERENCES tenants (uid),
    began BIGINT NOT NULL,
    ended BIGINT NOT NULL,
    PRIMARY KEY (pool, tenant_id)
);
CREATE INDEX queue_shares_by_clock ON queue_shares (pool, began);
ALTER TABLE queue_shares ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY one_tenant ON queue_shares USING (
    NULLIF(current_setting('freehold.tenant', true), '') IS NULL
    OR tenant_id = CAST(NULLIF(current_setting('freehold.tenant', true), '') AS UUID)
);

-- Runs that wait for their first runner hold a place of the quota `queued_runs`.
INSERT INTO quotas (tenant_id, dimension, max, used, reserved, version, window_start, updated)
SELECT uid, 'queued_runs', 1000, 0,
    (SELECT COUNT(*) FROM runs WHERE runs.tenant_id = tenants.uid AND runs.phase = 'QUEUED' AND runs.epoch = 0),
    1, 0, CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)
FROM tenants;
INSERT INTO reservations (tenant_id, uid, dimension, amount, owner, owner_name, created)
SELECT tenant_id, uid, 'queued_runs', 1, uid, CAST(body AS JSON) ->> 'name', CAST(CAST(body AS JSON) ->> 'create_time' AS BIGINT)
FROM runs WHERE phase = 'QUEUED' AND epoch = 0;
