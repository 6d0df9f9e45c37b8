//! A tenant's life.

use freehold_domain::{Reason, names::QuotaName, quotas::Dimension, tenants::TenantState};
use freehold_service::{
    audit,
    operations::{self},
    projects::{self, CreateProject},
    quotas,
    tenants::{self, UpdateTenant},
};

use super::*;

fn rename(to: &str) -> UpdateTenant {
    UpdateTenant { name: name("tenants/acme"), display_name: Some(to.to_owned()), labels: None, queue_weight: None }
}

#[tokio::test]
async fn a_new_tenant_has_every_quota_and_sees_itself_only() {
    let server = Installation::start().await;
    let ada = server.acme("roles/viewer").await;
    server.tenant("rival").await;

    let caller = server.call(&ada, "quotas.quotas.list").await;
    let listed = quotas::list(&server.app, &caller, &name("tenants/acme")).await.expect("listed");
    assert_eq!(listed.len(), Dimension::ALL.len());
    let users = listed.iter().find(|quota| quota.dimension == Dimension::Users).expect("there");
    assert_eq!((users.limit, users.used), (Some(Dimension::Users.default_limit()), 1));

    let own = tenants::list(&server.app, &server.call(&ada, "tenants.tenants.list").await, PAGE).await.expect("listed");
    assert_eq!(own.items.iter().map(|tenant| tenant.name.to_string()).collect::<Vec<_>>(), ["tenants/acme"]);
    let all = tenants::list(&server.app, &server.call(ADMIN, "tenants.tenants.list").await, PAGE).await.expect("listed");
    assert_eq!(all.items.len(), 2);

    let other = tenants::get(&server.app, &server.call(&ada, "tenants.tenants.get").await, &name("tenants/rival")).await;
    assert_eq!(other.expect_err("it does not exist for her").reason(), Reason::ResourceNotFound);
}

#[tokio::test]
async fn a_suspended_tenant_reads_and_only_the_platform_changes_it() {
    let server = Installation::start().await;
    let ada = server.acme("roles/tenant-admin").await;
    let acme = name("tenants/acme");

    let renamed =
        tenants::update(&server.app, &server.call(&ada, "tenants.tenants.update").await, rename("Acme"), &write()).await;
    assert_eq!(renamed.expect("her own tenant").meta.display_name, "Acme");
    let refused =
        tenants::suspend(&server.app, &server.call(&ada, "tenants.tenants.suspend").await, &acme, "x".to_owned(), &write()).await;
    assert_eq!(missing(&refused.expect_err("not hers to stop")), Some("tenants.tenants.suspend"));

    let weigh = |weight| UpdateTenant { queue_weight: Some(weight), ..rename("Acme") };
    let caller = server.call(&ada, "tenants.tenants.update").await;
    let same = tenants::update(&server.app, &caller, weigh(1), &write()).await.expect("it is 1 already");
    let refused = tenants::update(&server.app, &caller, weigh(2), &write()).await.expect_err("more than her tenant was given");
    assert_eq!((missing(&refused), same.queue_weight), (Some("tenants.tenants.update"), 1));
    let caller = server.call(ADMIN, "tenants.tenants.update").await;
    assert_eq!(tenants::update(&server.app, &caller, weigh(2), &write()).await.expect("the platform may").queue_weight, 2);

    let admin = server.call(ADMIN, "tenants.tenants.suspend").await;
    let suspended = tenants::suspend(&server.app, &admin, &acme, "unpaid".to_owned(), &write()).await.expect("suspended");
    assert_eq!((suspended.state, suspended.suspend_reason.as_str()), (TenantState::Suspended, "unpaid"));
    let refused = tenants::update(&server.app, &server.call(&ada, "tenants.tenants.update").await, rename("x"), &write()).await;
    assert_eq!(refused.expect_err("reads only").reason(), Reason::TenantSuspended);
    tenants::get(&server.app, &server.call(&ada, "tenants.tenants.get").await, &acme).await.expect("reads stay open");
    let admin_update = server.call(ADMIN, "tenants.tenants.update").await;
    let renamed =
        tenants::update(&server.app, &admin_update, rename("Acme (suspended)"), &write()).await.expect("the platform may");

    let stale = Write { etag: Some(suspended.meta.etag()), ..write() };
    let error = tenants::resume(&server.app, &admin, &acme, &stale).await.expect_err("it was renamed since");
    assert_eq!((error.reason(), error.metadata()["current_etag"].clone()), (Reason::EtagMismatch, renamed.meta.etag()));
    let resumed = tenants::resume(&server.app, &admin, &acme, &write()).await.expect("resumed");
    let again = tenants::resume(&server.app, &admin, &acme, &write()).await.expect("no error when it is active");
    assert_eq!((resumed.state, again), (TenantState::Active, resumed.clone()));
}

#[tokio::test]
async fn a_deleted_tenant_is_nobody_at_once_and_a_record_for_the_platform() {
    let server = Installation::start().await;
    let ada = server.acme("roles/tenant-admin").await;
    let acme = name("tenants/acme");

    let admin = server.call(ADMIN, "tenants.tenants.delete").await;
    let operation = tenants::delete(&server.app, &admin, &acme, false, &write()).await.expect("it has no deployments");
    assert!(operation.done && operation.target == "tenants/acme");
    assert_eq!(server.caller(&ada, "tenants.tenants.get").await.expect_err("nobody").reason(), Reason::CertUnknown);
    let again = tenants::delete(&server.app, &admin, &acme, false, &write()).await;
    assert_eq!(again.expect_err("gone").reason(), Reason::ResourceNotFound);

    let read = tenants::get(&server.app, &server.call(ADMIN, "tenants.tenants.get").await, &acme).await.expect("kept");
    assert_eq!(read.state, TenantState::Deleted);
    assert!(read.purge_time() > read.delete_time);
    let found = operations::get(&server.app, &server.call(ADMIN, "operations.operations.get").await, &operation.name).await;
    assert_eq!(found.expect("the platform reads it"), operation);
    let trail =
        audit::list(&server.app, &server.call(ADMIN, "audit.records.list").await, Some(&acme), PAGE).await.expect("listed");
    assert_eq!(trail.items.last().expect("not empty").change, "tenant.deleted");
    let refused = tenants::update(&server.app, &server.call(ADMIN, "tenants.tenants.update").await, rename("x"), &write()).await;
    assert_eq!(refused.expect_err("gone").reason(), Reason::ResourceNotFound);
}

#[tokio::test]
async fn a_limit_below_what_is_used_refuses_growth_and_a_recount_finds_nothing() {
    let server = Installation::start().await;
    let ada = server.acme("roles/tenant-admin").await;
    let quota: QuotaName = "tenants/acme/quotas/projects".parse().expect("valid");
    let project = |id: &str| CreateProject {
        approval_policy: None,
        parent: name("tenants/acme"),
        id: Some(id.parse().expect("an id")),
        described: Described::default(),
        description: String::new(),
    };
    let caller = server.call(&ada, "tenants.projects.create").await;
    for id in ["one", "two"] {
        projects::create(&server.app, &caller, project(id), &write()).await.expect("fits");
    }

    let hers = quotas::set_limit(&server.app, &server.call(&ada, "quotas.quotas.setLimit").await, &quota, None, &write()).await;
    assert_eq!(missing(&hers.expect_err("the platform's to set")), Some("quotas.quotas.setLimit"));
    let admin = server.call(ADMIN, "quotas.quotas.setLimit").await;
    let low = quotas::set_limit(&server.app, &admin, &quota, Some(1), &write()).await.expect("may go below what is used");
    assert_eq!((low.limit, low.used, low.available()), (Some(1), 2, Some(0)));
    let refused = projects::create(&server.app, &caller, project("three"), &write()).await.expect_err("no growth");
    assert_eq!((refused.reason(), refused.metadata()["limit"].as_str()), (Reason::QuotaExceeded, "1"));

    let (counted, difference) =
        quotas::recount(&server.app, &server.call(ADMIN, "quotas.quotas.recount").await, &quota, &write())
            .await
            .expect("counted");
    assert_eq!((counted.used, difference), (2, 0));
    let stale = Write { etag: Some("0".to_owned()), ..write() };
    let error = quotas::set_limit(&server.app, &admin, &quota, None, &stale).await.expect_err("another etag");
    assert_eq!((error.reason(), error.metadata()["current_etag"].clone()), (Reason::EtagMismatch, low.etag()));
    let open = quotas::set_limit(&server.app, &admin, &quota, None, &write()).await.expect("no limit");
    assert_eq!(open.limit, None);
    projects::create(&server.app, &caller, project("three"), &write()).await.expect("grows again");
}
