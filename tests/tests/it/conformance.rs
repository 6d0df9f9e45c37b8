//! Clients we did not write: grpcurl, as people and scripts use it, and buf, which speaks gRPC-web.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    process::{Command, Output},
};

use freehold::raw::proto::{
    METHODS,
    iam::v1::{ExchangeTokenRequest, token_service_client::TokenServiceClient},
};
use freehold_tests::{Database::Sqlite, Pki, World, buf, grpcurl};
use serde_json::{Value, json};

/// grpcurl of the listener at this address, which trusts the authority and proves to be the holder of this certificate.
fn curl(pki: &Pki, certificate: Option<(&Pki, &str)>) -> Command {
    let mut command = Command::new(grpcurl());
    command.args(["-max-time", "20", "-cacert"]).arg(pki.path("ca.crt"));
    if let Some((of, file)) = certificate {
        command.arg("-cert").arg(of.path(&format!("{file}.crt"))).arg("-key").arg(of.path(&format!("{file}.key")));
    }
    command
}

/// Runs a call to its end; answers what it printed, and what it complained about.
fn outcome(mut command: Command, words: &[&str]) -> Result<String, String> {
    let Output { status, stdout, stderr } = command.args(words).output().expect("it starts");
    let (out, err) = (String::from_utf8_lossy(&stdout).into_owned(), String::from_utf8_lossy(&stderr).into_owned());
    if status.success() { Ok(out) } else { Err(format!("{out}{err}")) }
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"))
}

/// Every service of this listener; runners have one of their own, where nothing is described.
fn services() -> BTreeSet<&'static str> {
    let services = METHODS.iter().filter_map(|method| method.path.strip_prefix('/')?.split('/').next());
    services.filter(|service| *service != "freehold.runners.v1.RunnerService").collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn grpcurl_finds_its_way_by_reflection_and_gets_answers_and_reasons() {
    let world = World::new(Sqlite).await;
    let pki = &world.installation.pki;
    let api = world.replica.api.to_string();
    let admin = || curl(pki, Some((pki, "admin")));

    let listed = outcome(admin(), &[&api, "list"]).expect("a list");
    let listed: BTreeSet<&str> = listed.lines().collect();
    assert_eq!(services().difference(&listed).collect::<Vec<_>>(), Vec::<&&str>::new(), "in {listed:?}");
    for service in services() {
        let methods = outcome(admin(), &[&api, "list", service]).expect("its methods");
        let found: BTreeSet<String> =
            methods.lines().map(|line| format!("/{service}/{}", line.rsplit('.').next().unwrap_or(line))).collect();
        let expected = METHODS.iter().map(|method| method.path).filter(|path| path.starts_with(&format!("/{service}/")));
        assert_eq!(found, expected.map(str::to_owned).collect());
    }
    let described = outcome(admin(), &[&api, "describe", "freehold.tenants.v1.TenantService.CreateTenant"]).expect("a text");
    for word in ["rpc CreateTenant", ".freehold.tenants.v1.CreateTenantRequest"] {
        assert!(described.contains(word), "{word} is missing in {described}");
    }

    let body = json!({ "tenantId": "beta", "tenant": { "displayName": "Beta" }, "requestId": uuid::Uuid::now_v7().to_string() });
    let create = "freehold.tenants.v1.TenantService/CreateTenant";
    let with_body = |body: &Value| {
        let mut command = admin();
        command.arg("-d").arg(body.to_string());
        command
    };
    let made = json(&outcome(with_body(&body), &[&api, create]).expect("a tenant"));
    assert_eq!((&made["tenant"]["name"], &made["tenant"]["displayName"]), (&json!("tenants/beta"), &json!("Beta")), "{made}");
    let seen = world.admin.tenants().get("beta").send().await.expect("the SDK sees it");
    assert_eq!(Some(seen.uid.as_str()), made["tenant"]["uid"].as_str());

    let get = "freehold.tenants.v1.TenantService/GetTenant";
    let nobody = with_body(&json!({ "name": "tenants/nobody" }));
    let refused = outcome(nobody, &[&api, get]).expect_err("there is none");
    for word in ["Code: NotFound", "google.rpc.ErrorInfo", "RESOURCE_NOT_FOUND", "tenants/nobody"] {
        assert!(refused.contains(word), "{word} is missing in {refused}");
    }
    let wrong = outcome(with_body(&json!({ "name": "nobody", "tenantId": "x" })), &[&api, get]).expect_err("no such field");
    assert!(wrong.contains("tenantId") || wrong.contains("tenant_id"), "reflection tells grpcurl before the server: {wrong}");
    let wrong = outcome(with_body(&json!({ "tenantId": "NO" })), &[&api, create]).expect_err("no such id");
    for word in ["Code: InvalidArgument", "google.rpc.BadRequest", "tenant_id"] {
        assert!(wrong.contains(word), "{word} is missing in {wrong}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_certificate_of_this_authority_nobody_comes_in() {
    let world = World::new(Sqlite).await;
    let pki = &world.installation.pki;
    let other = Pki::create(&world.installation.path("other"));
    other.issue("admin", "platform/admin");
    for listener in [world.replica.api, world.replica.runner] {
        let address = listener.to_string();
        for certificate in [None, Some((&other, "admin"))] {
            let refused = outcome(curl(pki, certificate), &[&address, "list"]).expect_err("nobody comes in");
            if listener == world.replica.runner && certificate.is_none() {
                // Who joins has no certificate yet; there is nothing else for it.
                assert!(refused.contains("server does not support the reflection API"), "{refused}");
                continue;
            }
            assert!(refused.contains("Failed to dial target host") && refused.contains("remote error: tls:"), "{refused}");
        }
        let fooled = outcome(curl(&other, Some((pki, "admin"))), &[&address, "list"]).expect_err("the client checks too");
        assert!(fooled.contains("certificate signed by unknown authority"), "{fooled}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_ask_for_health_on_the_machine_itself() {
    let world = World::new(Sqlite).await;
    let plain = |words: &[&str]| {
        let mut command = Command::new(grpcurl());
        command.args(["-plaintext", "-max-time", "20"]);
        outcome(command, words)
    };
    let address = world.replica.admin.to_string();
    let health = plain(&[&address, "grpc.health.v1.Health/Check"]).expect("an answer");
    assert_eq!(json(&health)["status"], "SERVING");
    let one = plain(&["-d", r#"{"service":"freehold.tenants.v1.TenantService"}"#, &address, "grpc.health.v1.Health/Check"]);
    assert_eq!(json(&one.expect("an answer"))["status"], "SERVING");
    let unknown = plain(&["-d", r#"{"service":"freehold.Nothing"}"#, &address, "grpc.health.v1.Health/Check"]);
    assert!(unknown.expect_err("no such service").contains("Code: NotFound"));
    // Nothing of any tenant is to be had without a proof of identity.
    let refused = plain(&[&address, "freehold.tenants.v1.TenantService/ListTenants"]).expect_err("not here");
    assert!(refused.contains("Code: Unimplemented") || refused.contains("Code: Unauthenticated"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn buf_speaks_grpc_web_with_a_token() {
    let world = World::new(Sqlite).await.shop().await;
    let pki = &world.installation.pki;
    let tomorrow = freehold::Timestamp::now() + std::time::Duration::from_secs(24 * 3600);
    world.admin.service_accounts().create("ci").display_name("Builds").send().await.expect("a service account");
    world.admin.access().bind("viewer", "serviceAccounts/ci").send().await.expect("a role");
    let key = world.admin.api_keys().create("serviceAccounts/ci", tomorrow).send().await.expect("a key");
    let browser = world.installation.client(&[world.replica.web], pki.trust(), "acme").await;
    let request = ExchangeTokenRequest { api_key: key.secret.reveal().to_owned(), ..Default::default() };
    let exchanged = TokenServiceClient::new(browser.raw().expect("a channel")).exchange_token(request).await;
    let bearer = format!("Authorization: Bearer {}", exchanged.expect("a token").into_inner().token);

    let proto = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto");
    let call = |address: SocketAddr, headers: &[&str], method: &str, data: &str| {
        let mut command = Command::new(buf());
        command.args(["curl", "--protocol", "grpcweb", "--timeout", "20s", "--data", data, "--cacert"]).arg(pki.path("ca.crt"));
        command.arg("--schema").arg(&proto);
        for header in headers {
            command.args(["--header", header]);
        }
        outcome(command, &[&format!("https://{address}/{method}")])
    };
    let list = "freehold.tenants.v1.ProjectService/ListProjects";
    let web = world.replica.web;
    let listed = json(&call(web, &[&bearer], list, r#"{"parent":"tenants/acme"}"#).expect("a list"));
    assert_eq!(listed["projects"][0]["name"], "tenants/acme/projects/shop", "{listed}");
    let refused = json(&call(web, &[], list, r#"{"parent":"tenants/acme"}"#).expect_err("who is it?"));
    assert_eq!(refused["code"], "unauthenticated", "{refused}");
    let refused = json(&call(web, &["Authorization: Bearer x.y.z"], list, r#"{"parent":"tenants/acme"}"#).expect_err("no token"));
    assert_eq!(refused["code"], "unauthenticated", "{refused}");
    let missing = r#"{"name":"tenants/acme/projects/none"}"#;
    let refused = json(&call(web, &[&bearer], "freehold.tenants.v1.ProjectService/GetProject", missing).expect_err("none"));
    assert_eq!(refused["code"], "not_found", "{refused}");
    assert_eq!(refused["details"][0]["type"], "google.rpc.ErrorInfo", "{refused}");
}
