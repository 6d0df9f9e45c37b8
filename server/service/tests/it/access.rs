//! Who may do what.

use freehold_domain::{Reason, names::ServiceAccountName};
use freehold_service::{
    access::delete_binding,
    audit,
    environments::{self, CreateEnvironment},
    projects::{self, CreateProject},
    runners,
    service_accounts::{self, CreateServiceAccount},
};

use super::*;

const SHOP: &str = "tenants/acme/projects/shop";

impl Installation {
    async fn shop(&self) {
        let cmd = CreateProject {
            approval_policy: None,
            parent: name("tenants/acme"),
            id: Some("shop".parse().expect("an id")),
            described: Described::default(),
            description: String::new(),
        };
        projects::create(&self.app, &self.call(ADMIN, "tenants.projects.create").await, cmd, &write()).await.expect("created");
    }

    async fn reads_shop(&self, who: &str) -> Result<()> {
        let shop = SHOP.parse().expect("valid");
        projects::get(&self.app, &self.call(who, "tenants.projects.get").await, &shop).await.map(drop)
    }

    async fn robot(&self) -> ServiceAccountName {
        let cmd = CreateServiceAccount {
            parent: name("tenants/acme"),
            id: Some("ci".parse().expect("an id")),
            described: Described::default(),
        };
        let caller = self.call(ADMIN, "iam.serviceAccounts.create").await;
        service_accounts::create(&self.app, &caller, cmd, &write()).await.expect("created").name
    }
}

#[tokio::test]
async fn roles_take_effect_at_once_and_go_with_their_member() {
    let server = Installation::start().await;
    let ada = server.acme("roles/tenant-admin").await;
    server.shop().await;
    let bob = server.user("tenants/acme", "bob").await;

    assert_eq!(missing(&server.reads_shop(&bob).await.expect_err("nothing is granted")), Some("tenants.projects.get"));
    let binding = server.give(&ada, "roles/viewer", &bob, SHOP).await.expect("an administrator may");
    server.reads_shop(&bob).await.expect("granted");
    let twice = server.give(&ada, "roles/viewer", &bob, SHOP).await.expect_err("has it");
    assert_eq!(twice.reason(), Reason::ResourceExists);
    let caller = server.call(&ada, "iam.roleBindings.delete").await;
    delete_binding(&server.app, &caller, &binding.name, &write()).await.expect("taken away");
    server.reads_shop(&bob).await.expect_err("taken away");

    server.give(&ada, "roles/viewer", &bob, SHOP).await.expect("given");
    let caller = server.call(&ada, "iam.users.delete").await;
    users::delete(&server.app, &caller, &bob.parse().expect("valid"), false, &write()).await.expect("deleted");
    assert_eq!(server.caller(&bob, "tenants.projects.get").await.expect_err("gone").reason(), Reason::CertUnknown);
    assert_eq!(server.user("tenants/acme", "bob").await, bob, "the name and the mail address are free");
    server.reads_shop(&bob).await.expect_err("the new one has nothing of the old one");

    let caller = server.call(&ada, "iam.users.deactivate").await;
    users::deactivate(&server.app, &caller, &bob.parse().expect("valid"), &write()).await.expect("deactivated");
    assert_eq!(server.caller(&bob, "tenants.projects.get").await.expect_err("out").reason(), Reason::CertUnknown);
}

#[tokio::test]
async fn nobody_gives_what_they_do_not_have_and_every_wrong_field_is_named() {
    let server = Installation::start().await;
    let ada = server.acme("roles/tenant-admin").await;
    server.shop().await;
    let bob = server.user("tenants/acme", "bob").await;
    server.tenant("rival").await;
    let eve = server.user("tenants/rival", "eve").await;

    server.give(&ada, "roles/developer", &bob, SHOP).await.expect("given");
    let up = server.give(&bob, "roles/tenant-admin", &bob, "tenants/acme").await.expect_err("he may not give roles at all");
    assert_eq!(missing(&up), Some("iam.roleBindings.create"));
    let error = server.give(&ada, "roles/viewer", &eve, &format!("{SHOP}/environments/none")).await.expect_err("two faults");
    let fields: Vec<&str> = error.violations().iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!(fields, ["role_binding.member", "role_binding.resource"]);
    let foreign = server.give(&ada, "roles/viewer", &ada, "tenants/rival").await.expect_err("another tenant");
    assert_eq!(foreign.reason(), Reason::ResourceNotFound);
}

#[tokio::test]
async fn refusals_are_kept_in_the_trail_of_the_tenant() {
    let server = Installation::start().await;
    let ada = server.acme("roles/viewer").await;
    let caller = server.call(&ada, "tenants.tenants.suspend").await;
    let error =
        freehold_service::tenants::resume(&server.app, &caller, &name("tenants/acme"), &write()).await.expect_err("a viewer");
    for _ in 0..50 {
        audit::denied(&server.app, &caller, &error).await;
    }
    let newest = Page { newest_first: true, ..PAGE };
    let reader = server.call(&ada, "audit.records.list").await;
    let trail = audit::list(&server.app, &reader, Some(&name("tenants/acme")), newest).await.expect("listed").items;
    let kept: Vec<_> = trail.iter().filter(|record| record.denied.is_some()).collect();
    // 50 calls touch two minutes at most.
    assert!((10..=20).contains(&kept.len()), "{}", kept.len());
    assert_eq!(
        (kept[0].principal.as_str(), kept[0].permission.as_str(), kept[0].resource.as_str()),
        (ada.as_str(), "tenants.tenants.suspend", "tenants/acme")
    );
    let refused = audit::list(&server.app, &reader, None, PAGE).await.expect_err("the installation's trail is not hers");
    assert_eq!(missing(&refused), Some("audit.records.list"));
}

#[tokio::test]
async fn a_workload_identity_acts_as_its_service_account_until_it_is_deleted() {
    let server = Installation::start().await;
    let ada = server.acme("roles/tenant-admin").await;
    server.shop().await;
    let robot = server.robot().await;
    server.give(&ada, "roles/viewer", &robot.to_string(), "tenants/acme").await.expect("given");

    let caller = server.call(&ada, "iam.workloadIdentities.create").await;
    let take_on = async |spiffe_id: &str| {
        service_accounts::create_identity(&server.app, &caller, &robot, spiffe_id.to_owned(), &write()).await
    };
    let posing = take_on("spiffe://test.example/tenants/acme/users/ada").await.expect_err("that is Ada");
    assert_eq!(posing.violations()[0].field, "spiffe_id");
    assert_eq!(server.caller("ns/prod/sa/ci", "tenants.projects.get").await.expect_err("nobody").reason(), Reason::CertUnknown);
    let identity = take_on("spiffe://test.example/ns/prod/sa/ci").await.expect("taken on");
    let error = take_on("spiffe://test.example/ns/prod/sa/ci").await.expect_err("taken");
    assert_eq!(error.reason(), Reason::ResourceExists);
    assert_eq!(server.call("ns/prod/sa/ci", "tenants.projects.get").await.principal.to_string(), robot.to_string());
    server.reads_shop("ns/prod/sa/ci").await.expect("as the account");

    let caller = server.call(&ada, "iam.workloadIdentities.delete").await;
    service_accounts::delete_identity(&server.app, &caller, &identity.name, &write()).await.expect("deleted");
    assert_eq!(server.caller("ns/prod/sa/ci", "tenants.projects.get").await.expect_err("nobody").reason(), Reason::CertUnknown);
}

#[tokio::test]
async fn environments_need_a_project_and_a_pool_and_take_their_roles_with_them() {
    let server = Installation::start().await;
    let ada = server.acme("roles/tenant-admin").await;
    let create = async |pool: &str| {
        let cmd = CreateEnvironment {
            approval_policy: None,
            parent: SHOP.parse().expect("valid"),
            id: Some("dev".parse().expect("an id")),
            described: Described::default(),
            kind: freehold_domain::environments::EnvironmentKind::Dev,
            runner_pool: pool.parse().expect("valid"),
            allow_self_approval: false,
            require_approval: false,
            drift_policy: None,
            require_undrifted_dependencies: false,
            ttl: freehold_domain::lifetimes::TtlPolicy::default(),
        };
        environments::create(&server.app, &server.call(&ada, "tenants.environments.create").await, cmd, &write()).await
    };
    let no_pool = create("runnerPools/default").await.expect_err("no such pool");
    assert_eq!(no_pool.violations()[0].field, "environment.runner_pool");
    runners::ensure_default_pool(&server.app).await.expect("made");
    runners::ensure_default_pool(&server.app).await.expect("is there");
    assert_eq!(create("runnerPools/default").await.expect_err("no such project").reason(), Reason::ResourceNotFound);
    server.shop().await;
    let dev = create("runnerPools/default").await.expect("created").name;

    let bob = server.user("tenants/acme", "bob").await;
    server.give(&ada, "roles/developer", &bob, &dev.to_string()).await.expect("given");
    assert_eq!(server.call(&bob, "tenants.environments.get").await.grants.len(), 1);
    let caller = server.call(&ada, "tenants.environments.delete").await;
    environments::delete(&server.app, &caller, &dev, false, &write()).await.expect("deleted");
    create("runnerPools/default").await.expect("the name is free");
    assert_eq!(server.call(&bob, "tenants.environments.get").await.grants.len(), 0, "the role was on the old one");
}

#[tokio::test]
async fn a_project_takes_the_roles_on_it_with_it() {
    let server = Installation::start().await;
    let ada = server.acme("roles/tenant-admin").await;
    server.shop().await;
    let bob = server.user("tenants/acme", "bob").await;
    server.give(&ada, "roles/developer", &bob, SHOP).await.expect("given");
    server.reads_shop(&bob).await.expect("granted");

    let caller = server.call(&ada, "tenants.projects.delete").await;
    projects::delete(&server.app, &caller, &SHOP.parse().expect("valid"), false, &write()).await.expect("deleted");
    assert_eq!(server.call(&bob, "tenants.projects.get").await.grants.len(), 0, "not even in this replica's memory");
    server.shop().await;
    assert_eq!(missing(&server.reads_shop(&bob).await.expect_err("the role was on the old one")), Some("tenants.projects.get"));
}
