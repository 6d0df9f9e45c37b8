-- Deleted tenants are found by the time of their deletion, to be purged when they have been kept for long enough.
ALTER TABLE tenants ADD COLUMN delete_time INTEGER;
UPDATE tenants SET delete_time = body ->> '$.delete_time';
CREATE INDEX tenants_deleted ON tenants (delete_time) WHERE delete_time IS NOT NULL;
