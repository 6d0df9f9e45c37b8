//! The trail: every change once, every refusal, and nobody else's.

use std::collections::BTreeMap;

use freehold::{AuditDecision, AuditRecord, Client, EnvironmentKind};
use freehold_tests::{Database, World};

async fn trail(client: &Client) -> Vec<AuditRecord> {
    client.audit().list().collect_up_to(1000).await.expect("the trail")
}

both_databases!(each_change_has_one_record_and_each_refusal_too);

async fn each_change_has_one_record_and_each_refusal_too(database: Database) {
    let world = World::new(database).await;
    let acme = &world.admin;
    let before = trail(acme).await.len();

    acme.projects().create("shop").send().await.expect("a project");
    acme.projects().update("shop").display_name("Shop").send().await.expect("a change");
    acme.environments().create("shop/dev", EnvironmentKind::Dev).send().await.expect("an environment");
    acme.quotas().set_limit("projects", 1).send().await.expect("a limit");
    acme.blueprints().create("web").send().await.expect("a blueprint");
    acme.blueprints().delete("web").send().await.expect("no blueprint");
    acme.users().invite("ada@acme.example").id("ada").send().await.expect("a user");
    let binding = acme.access().bind("viewer", "users/ada").send().await.expect("a role");
    acme.access().unbind(&binding.name).send().await.expect("no role");
    // None of these changes anything.
    acme.projects().get("shop").send().await.expect("a read");
    acme.projects().create("two").send().await.expect_err("no room");
    acme.projects().create("shop").send().await.expect_err("it exists");
    acme.projects().delete("none").allow_missing().send().await.expect("nothing to delete");

    let records = trail(acme).await;
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for record in &records[before..] {
        assert_eq!(record.decision, AuditDecision::Allowed);
        assert_eq!((record.principal.as_str(), record.proof.as_str()), ("platform/admin", "certificate"));
        assert!(!record.request_id.is_empty() && !record.permission.is_empty() && record.source_address.starts_with("127.0.0.1"));
        seen.push((record.method.rsplit('/').next().unwrap_or_default(), record.resource.as_str()));
    }
    let binding = binding.name.as_str();
    assert_eq!(
        seen,
        [
            ("CreateProject", "tenants/acme/projects/shop"),
            ("UpdateProject", "tenants/acme/projects/shop"),
            ("CreateEnvironment", "tenants/acme/projects/shop/environments/dev"),
            ("SetQuotaLimit", "tenants/acme/quotas/projects"),
            ("CreateBlueprint", "tenants/acme/blueprints/web"),
            ("DeleteBlueprint", "tenants/acme/blueprints/web"),
            ("InviteUser", "tenants/acme/users/ada"),
            ("CreateRoleBinding", binding),
            ("DeleteRoleBinding", binding),
        ]
    );
    let mut counted = BTreeMap::new();
    for record in &records {
        *counted.entry(&record.request_id).or_insert(0) += 1;
    }
    assert!(counted.values().all(|count| *count == 1), "each call has one record: {counted:?}");
    let one = acme.audit().get(&records[before].name).send().await.expect("it can be read alone");
    assert_eq!(one, records[before]);
    let newest = acme.audit().list().newest_first().collect_up_to(1).await.expect("a list");
    assert_eq!(newest.first(), records.last());
}

both_databases!(refusals_are_kept_and_nobody_reads_anothers_trail);

async fn refusals_are_kept_and_nobody_reads_anothers_trail(database: Database) {
    let world = World::new(database).await;
    let ada = world.person("acme", "ada", &["viewer"]).await;
    world.tenant("other").await;
    let bob = world.person("other", "bob", &["tenant-admin"]).await;

    let refused = ada.projects().create("shop").send().await.expect_err("viewers change nothing");
    assert!(refused.is_permission_denied());
    assert_eq!(refused.metadata("permission"), Some("tenants.projects.create"));
    let request_id = refused.request_id().expect("every answer names its call");

    let records = trail(&world.admin).await;
    let record = records.iter().find(|record| record.request_id == request_id).expect("the refusal is in the trail");
    assert_eq!(record.decision, AuditDecision::Denied);
    assert_eq!(record.principal, "tenants/acme/users/ada");
    assert_eq!((record.permission.as_str(), record.resource.as_str()), ("tenants.projects.create", "tenants/acme"));
    assert!(record.reason.as_deref().is_some_and(|why| why.contains("tenants.projects.create")));

    // What bob does to acme is his own tenant's business, and acme's trail is not his.
    let there = world.installation.client(&[world.replica.api], world.installation.pki.credentials("other-bob"), "acme").await;
    assert!(there.audit().list().send().await.expect_err("not his tenant").is_not_found());
    assert!(there.audit().get(&record.name).send().await.expect_err("not his tenant").is_not_found());
    assert!(there.projects().create("shop").send().await.expect_err("not his tenant").is_not_found());
    let his = trail(&bob).await;
    assert!(
        !his.is_empty()
            && his.iter().all(|record| record.name.starts_with("tenants/other/") && !record.resource.contains("acme"))
    );
    assert!(bob.audit().list_installation().send().await.expect_err("not for tenants").is_permission_denied());
    let uid = record.name.rsplit('/').next().expect("a name");
    assert!(
        bob.audit().get(format!("tenants/other/auditRecords/{uid}")).send().await.expect_err("not in his tenant").is_not_found()
    );
    assert_eq!(trail(&world.admin).await.len(), records.len(), "nothing of this is in acme's trail");

    let whole = world.admin.audit().list_installation().collect_up_to(100).await.expect("the installation's trail");
    assert!(whole.iter().any(|record| record.resource == "tenants/acme" && record.method.ends_with("CreateTenant")));
}
