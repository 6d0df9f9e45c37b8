-- Deleted tenants are found by the time of their deletion, to be purged when they have been kept for long enough.
ALTER TABLE tenants ADD COLUMN delete_time BIGINT;
UPDATE tenants SET delete_time = CAST(CAST(body AS JSON) ->> 'delete_time' AS BIGINT);
CREATE INDEX tenants_deleted ON tenants (delete_time) WHERE delete_time IS NOT NULL;
