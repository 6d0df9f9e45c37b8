//! Tenants, and who and what is in them.

use freehold::{BlueprintFile, Client, EnvironmentKind};

use crate::{World, sample};

/// Adds project `shop` and environment `shop/dev` to the client's tenant.
pub(crate) async fn shop(client: &Client) {
    client.projects().create("shop").send().await.expect("a project");
    client.environments().create("shop/dev", EnvironmentKind::Dev).send().await.expect("an environment");
}

/// Publishes these files as `{name}@1.0.0` of the client's tenant.
pub(crate) async fn publish(client: &Client, name: &str, files: Vec<BlueprintFile>) {
    client.blueprints().create(name).send().await.expect("a blueprint");
    let written = client.blueprints().write_draft(name, files).send().await.expect("a draft");
    client
        .blueprints()
        .publish(format!("{name}@1.0.0"), &written.blueprint_draft.etag)
        .send()
        .await
        .unwrap_or_else(|error| panic!("{name} can be published: {error:?}; {:?}", written.diagnostics));
}

/// Adds `shop/dev` and the sample as `greeting@1.0.0` to the client's tenant.
pub async fn furnish(client: &Client) {
    shop(client).await;
    publish(client, "greeting", sample()).await;
}

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
