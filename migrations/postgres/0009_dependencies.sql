-- Which deployment needs which: one graph for each tenant, without cycles. `due` says when the server looks whether outputs of the
-- upstream have changed for the deployment; absent when there is nothing to look at.
CREATE TABLE dependencies (
    tenant_id UUID NOT NULL,
    deployment UUID NOT NULL,
    upstream UUID NOT NULL,
    due BIGINT,
    body TEXT NOT NULL,
    PRIMARY KEY (tenant_id, deployment, upstream),
    FOREIGN KEY (tenant_id, deployment) REFERENCES deployments (tenant_id, uid) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, upstream) REFERENCES deployments (tenant_id, uid)
);
CREATE INDEX dependencies_by_upstream ON dependencies (tenant_id, upstream);
CREATE INDEX dependencies_due ON dependencies (due) WHERE due IS NOT NULL;

-- When a deployment is looked at for the end of its life, and when an abandoned one is forgotten.
ALTER TABLE deployments ADD COLUMN attend_at BIGINT;
ALTER TABLE deployments ADD COLUMN purge_at BIGINT;
CREATE INDEX deployments_attended ON deployments (attend_at) WHERE attend_at IS NOT NULL;
CREATE INDEX deployments_abandoned ON deployments (purge_at) WHERE purge_at IS NOT NULL;

-- A deployment has few runs that have not ended, and many that have.
CREATE INDEX runs_of_deployment_unfinished ON runs (tenant_id, deployment, uid) WHERE phase <> 'DONE';

ALTER TABLE dependencies ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY one_tenant ON dependencies USING (
    NULLIF(current_setting('freehold.tenant', true), '') IS NULL
    OR tenant_id = CAST(NULLIF(current_setting('freehold.tenant', true), '') AS UUID)
);
