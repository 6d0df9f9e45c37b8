-- Accounts at an identity provider that sign in as users: an account as one user of a tenant, a user by one account.
CREATE TABLE user_identities (
    tenant_id UUID NOT NULL,
    user_uid UUID NOT NULL,
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    PRIMARY KEY (tenant_id, user_uid),
    UNIQUE (tenant_id, issuer, subject),
    FOREIGN KEY (tenant_id, user_uid) REFERENCES users (tenant_id, uid)
);

ALTER TABLE user_identities ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY one_tenant ON user_identities USING (
    NULLIF(current_setting('freehold.tenant', true), '') IS NULL
    OR tenant_id = CAST(NULLIF(current_setting('freehold.tenant', true), '') AS UUID)
);
