//! The life of a tenant.

use freehold::{Client, TenantState};
use freehold_tests::{Database, World, until};

both_databases!(a_tenant_is_created_renamed_suspended_resumed_and_deleted);

async fn a_tenant_is_created_renamed_suspended_resumed_and_deleted(database: Database) {
    let world = World::new(database).await.with_sample().await;
    let platform = &world.admin;
    let ada = world.person("acme", "ada", &["tenant-admin"]).await;
    ada.deployments().create("shop/dev/hello", "greeting@1.0.0").input("name", "world").send().await.expect("a deployment");
    assert!(platform.tenants().create("acme").send().await.expect_err("the name is taken").is_already_exists());
    assert!(ada.tenants().create("mine").send().await.expect_err("not for tenants").is_permission_denied());

    let renamed = ada.tenants().update("acme").display_name("Acme Ltd").send().await.expect("her own tenant");
    assert_eq!((renamed.display_name.as_str(), renamed.state), ("Acme Ltd", TenantState::Active));
    assert!(ada.tenants().suspend("acme", "no").send().await.expect_err("not for tenants").is_permission_denied());

    let stopped = platform.tenants().suspend("acme", "unpaid").send().await.expect("suspended");
    assert_eq!(stopped.state, TenantState::Suspended);
    let refused = ada.projects().create("two").send().await.expect_err("nothing new");
    assert_eq!((refused.reason(), refused.is_permission_denied()), (Some("TENANT_SUSPENDED"), true));
    assert_eq!(refused_plan(&ada).await.as_deref(), Some("TENANT_SUSPENDED"));
    assert_eq!(ada.projects().list().send().await.expect("reads go on").items.len(), 1);
    assert_eq!(platform.tenants().resume("acme").send().await.expect("resumed").state, TenantState::Active);
    ada.projects().create("two").send().await.expect("again at once");

    let in_use = platform.tenants().delete("acme").send().await.expect_err("it has a deployment");
    assert_eq!((in_use.reason(), in_use.metadata("deployments")), (Some("RESOURCE_IN_USE"), Some("1")));
    let operation = platform.tenants().delete("acme").force().send().await.expect("forgotten");
    let operation = platform.operations().wait_done(&operation.name).await.expect("done");
    assert!(operation.error.is_none());
    assert!(ada.whoami().send().await.expect_err("nobody any more").is_unauthenticated());
    let gone = platform.tenants().get("acme").send().await.expect("kept for a while, for the platform");
    assert_eq!(gone.state, TenantState::Deleted);
    assert!(platform.tenants().create("acme").send().await.expect_err("the name is kept").is_already_exists());
}

async fn refused_plan(client: &Client) -> Option<String> {
    let refused = client.runs().plan("shop/dev/hello").send().await.expect_err("no new runs");
    refused.reason().map(str::to_owned)
}

both_databases!(two_tenants_share_names_and_nothing_else);

async fn two_tenants_share_names_and_nothing_else(database: Database) {
    let world = World::new(database).await.with_sample().await;
    let ada = world.person("acme", "ada", &["tenant-admin"]).await;
    let other = world.tenant("other").await;
    let bob = world.person("other", "bob", &["tenant-admin"]).await;
    other.projects().create("shop").send().await.expect("the same name in another tenant");
    assert_ne!(
        ada.projects().get("shop").send().await.expect("hers").uid,
        bob.projects().get("shop").send().await.expect("his").uid
    );
    assert_eq!(ada.tenants().list().send().await.expect("her own").items.len(), 1);
    assert_eq!(bob.projects().list().send().await.expect("a list").items.len(), 1);
    assert_eq!(bob.blueprints().list().send().await.expect("a list").items.len(), 0);

    // A blueprint of another tenant cannot be deployed, and it cannot be told whether it exists.
    bob.environments().create("shop/dev", freehold::EnvironmentKind::Dev).send().await.expect("an environment");
    let theirs = bob.deployments().create("shop/dev/hello", "tenants/acme/blueprints/greeting/versions/1.0.0").input("name", "x");
    let nothing = bob.deployments().create("shop/dev/hello", "tenants/acme/blueprints/nothing/versions/1.0.0").input("name", "x");
    let (theirs, nothing) = (theirs.send().await.expect_err("not his"), nothing.send().await.expect_err("nothing"));
    assert_eq!((theirs.code(), theirs.message()), (nothing.code(), nothing.message()));
    // The same for what he may not see.
    let (theirs, nothing) = (bob.projects().get("tenants/acme/projects/shop"), bob.projects().get("tenants/acme/projects/none"));
    let (theirs, nothing) = (theirs.send().await.expect_err("not his"), nothing.send().await.expect_err("nothing"));
    assert_eq!((theirs.code(), theirs.reason()), (nothing.code(), nothing.reason()));
    assert_eq!(theirs.message().replace("shop", "none"), nothing.message());

    // The header that says which tenant a call is about is held against what the request names.
    let lying = world.installation.client(&[world.replica.api], world.installation.pki.credentials("acme-ada"), "other").await;
    let mut raw =
        freehold::raw::proto::tenants::v1::project_service_client::ProjectServiceClient::new(lying.raw().expect("a channel"));
    let request = freehold::raw::proto::tenants::v1::GetProjectRequest { name: "tenants/acme/projects/shop".to_owned() };
    let refused = freehold::raw::error(raw.get_project(request).await.expect_err("header and request differ"));
    assert_eq!(refused.reason(), Some("TENANT_MISMATCH"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_replica_hears_of_a_suspension_within_seconds() {
    let world = World::new(Database::Postgres).await;
    let second = world.installation.replica(&[]).await;
    world.person("acme", "ada", &["tenant-admin"]).await;
    let ada = world.installation.client(&[second.api], world.installation.pki.credentials("acme-ada"), "acme").await;
    ada.projects().create("shop").send().await.expect("the replica knows the tenant");

    world.admin.tenants().suspend("acme", "unpaid").send().await.expect("suspended");
    until("the other replica to refuse", || async {
        let answer = ada.projects().update("shop").display_name("still").send().await;
        answer.is_err_and(|error| error.reason() == Some("TENANT_SUSPENDED"))
    })
    .await;
}
