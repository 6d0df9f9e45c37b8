-- Accounts at an identity provider that sign in as users: an account as one user of a tenant, a user by one account.
CREATE TABLE user_identities (
    tenant_id BLOB NOT NULL,
    user_uid BLOB NOT NULL,
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    PRIMARY KEY (tenant_id, user_uid),
    UNIQUE (tenant_id, issuer, subject),
    FOREIGN KEY (tenant_id, user_uid) REFERENCES users (tenant_id, uid)
);
