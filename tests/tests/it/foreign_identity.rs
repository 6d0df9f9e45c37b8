//! Workloads whose identity is of somebody else's making: a service mesh's, of another trust domain.

use std::{sync::Arc, time::Duration};

use freehold::{Client, Credentials};
use freehold_api::authority::{Authority, Profile, Usage};
use freehold_service::SystemClock;
use freehold_tests::{Database, World, until};

/// Why a client is nobody; its principal if it is somebody.
async fn who(client: &Client) -> Result<String, Option<String>> {
    match client.whoami().send().await {
        Ok(caller) => Ok(caller.principal),
        Err(error) => Err(error.reason().map(str::to_owned)),
    }
}

both_databases!(a_workload_of_another_trust_domain_is_the_service_account_that_took_it_on_and_nobody_else);

async fn a_workload_of_another_trust_domain_is_the_service_account_that_took_it_on_and_nobody_else(database: Database) {
    let world = World::new(database).await;
    let pki = &world.installation.pki;
    let ada = world.person("acme", "ada", &["tenant-admin"]).await;
    let mesh = Authority::create(&world.installation.path("mesh"), "mesh.example", Arc::new(SystemClock)).expect("an authority");
    let client = async |path: &str| {
        let profile = Profile {
            spiffe_id: format!("spiffe://mesh.example/{path}").parse().expect("a SPIFFE id"),
            dns_names: Vec::new(),
            ips: Vec::new(),
            lifetime: Duration::from_secs(3600),
            usage: Usage::Client,
        };
        let issued = mesh.issue(&profile).expect("issued");
        let credentials = Credentials::new().ca_file(pki.path("ca.crt")).certificate_pem(issued.cert_pem, issued.key_pem);
        world.client(credentials).await
    };
    std::fs::write(pki.path("ca.crt"), format!("{}{}", pki.authority.ca_pem(), mesh.ca_pem())).expect("written");
    let workload = client("ns/prod/sa/ci").await;
    let nobody = Err(Some("CERT_UNKNOWN".to_owned()));
    until("the server's trust in the mesh", || async { who(&workload).await == nobody }).await;

    ada.service_accounts().create("ci").send().await.expect("a service account");
    let taken =
        ada.service_accounts().create_identity("ci", "spiffe://mesh.example/ns/prod/sa/ci").send().await.expect("taken on");
    assert_eq!(who(&workload).await, Ok("tenants/acme/serviceAccounts/ci".to_owned()));
    ada.access().bind("viewer", "serviceAccounts/ci").send().await.expect("a role");
    workload.projects().list().send().await.expect("it may read");
    assert!(workload.projects().create("x").send().await.expect_err("and no more").is_permission_denied());

    for path in ["platform/admin", "tenants/acme/users/ada", "tenants/acme/serviceAccounts/ci", "runnerPools/default/runners/r1"]
    {
        assert_eq!(who(&client(path).await).await, nobody, "{path} is a principal in the own trust domain only");
    }
    ada.service_accounts().delete_identity(&taken.name).send().await.expect("ended");
    assert_eq!(who(&workload).await, nobody);
}
