//! Tenants, and people in them.

use freehold::Client;

use crate::World;

impl World {
    /// Creates a tenant; answers a client of a platform administrator whose short names are those of it.
    pub async fn tenant(&self, id: &str) -> Client {
        let client = self.installation.client(&[self.replica.api], self.installation.pki.credentials("admin"), id).await;
        client.tenants().create(id).send().await.expect("a platform administrator creates tenants");
        client
    }

    /// Invites a person to a tenant and gives them these roles on all of it; answers a client with their certificate.
    pub async fn person(&self, tenant: &str, id: &str, roles: &[&str]) -> Client {
        let pki = &self.installation.pki;
        let admin = self.installation.client(&[self.replica.api], pki.credentials("admin"), tenant).await;
        admin.users().invite(format!("{id}@{tenant}.example")).id(id).send().await.expect("an invitation");
        for role in roles {
            admin.access().bind(role, format!("users/{id}")).send().await.expect("a role");
        }
        let file = format!("{tenant}-{id}");
        pki.issue(&file, &format!("tenants/{tenant}/users/{id}"));
        self.installation.client(&[self.replica.api], pki.credentials(&file), tenant).await
    }
}
