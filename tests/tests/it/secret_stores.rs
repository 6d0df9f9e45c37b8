//! Stores of secrets: what is said of them, what may be named in them, and what becomes of what cannot be read.

use std::{fs, net::TcpListener, process::Command};

use freehold::{Code, EnvironmentKind, RunOutcome, SecretDriver, SecretRef};
use freehold_tests::{Database, World, binary, endpoint};
use serde_json::{Value, json};

use crate::secrets::{Stage, password};

both_databases!(a_store_is_described_and_holds_nothing);

async fn a_store_is_described_and_holds_nothing(database: Database) {
    let world = World::new(database).await.with_sample().await;
    let stores = world.admin.secret_stores();
    let driver = SecretDriver::vault("https://vault.example:8200", "secret");
    let made =
        stores.create("vault", driver.clone()).description("of the platform").label("team", "db").send().await.expect("made");
    assert_eq!((made.name.as_str(), made.driver.as_ref()), ("tenants/acme/secretStores/vault", Some(&driver)));
    assert!(stores.create("vault", driver.clone()).send().await.expect_err("taken").is_already_exists());
    let wrong = SecretDriver::vault("http://vault.example/ui", "../sys");
    let refused = stores.create("other", wrong).send().await.expect_err("two faults");
    let fields: Vec<_> = refused.violations().iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!(fields, ["secret_store.vault.address", "secret_store.vault.mount"]);
    for driver in [SecretDriver::environment("PATH"), SecretDriver::directory("/run/../etc"), SecretDriver::directory("secrets")]
    {
        assert!(stores.create("other", driver).send().await.expect_err("it leads elsewhere").is_invalid_argument());
    }

    let environment = SecretDriver::environment("ACME_");
    let changed = stores.update("vault").driver(environment.clone()).etag(&made.etag).send().await.expect("changed");
    assert_eq!((changed.driver.as_ref(), changed.description.as_str()), (Some(&environment), "of the platform"));
    assert!(stores.update("vault").display_name("x").etag(&made.etag).send().await.expect_err("old").is_etag_mismatch());
    assert_eq!(stores.get("vault").send().await.expect("it is there"), changed);
    assert_eq!(stores.list().collect_up_to(10).await.expect("a list"), [changed]);

    // Who develops sees where secrets are; who administers says it.
    let dev = world.person("acme", "dev", &["developer"]).await;
    assert_eq!(dev.secret_stores().get("vault").send().await.expect("seen").name, made.name);
    let refused = dev.secret_stores().create("own", driver).send().await.expect_err("not for developers");
    assert_eq!((refused.code(), refused.metadata("permission")), (Code::PermissionDenied, Some("secrets.stores.create")));
    let rival = world.tenant("rival").await;
    assert!(rival.secret_stores().list().send().await.expect("a list").items.is_empty());

    stores.delete("vault").send().await.expect("deleted");
    assert!(stores.delete("vault").send().await.expect_err("gone").is_not_found());
    stores.delete("vault").allow_missing().send().await.expect("well");
    let kinds: Vec<_> = world.admin.events().list().events().collect_up_to(500).await.expect("events");
    let kinds: Vec<_> = kinds.iter().map(|event| event.kind.as_str()).filter(|kind| kind.starts_with("secret_store.")).collect();
    assert_eq!(kinds, ["secret_store.created", "secret_store.updated", "secret_store.deleted"]);
}

both_databases!(a_secret_is_named_where_the_blueprint_says_sensitive_and_nowhere_else);

async fn a_secret_is_named_where_the_blueprint_says_sensitive_and_nowhere_else(database: Database) {
    let stage = Stage::new(database).await;
    let acme = stage.acme();
    acme.secret_stores().create("env", SecretDriver::environment("ACME_")).send().await.expect("a store");
    acme.secret_stores().create("files", SecretDriver::directory("/run/secrets")).send().await.expect("a store");
    let create = |inputs: Value| {
        let deployment = acme.deployments().create("shop/dev/web", "web@1.0.0");
        let inputs = inputs.as_object().expect("an object").clone();
        inputs.into_iter().fold(deployment, |deployment, (name, value)| deployment.input(name, value)).send()
    };
    let secret = |inner: Value| json!({ "$secret": inner });
    let good = secret(json!({ "store": "vault", "path": "db/prod", "key": "password" }));
    let table = [
        (json!({ "password": "value", "plain": good }), "plain", "reserved"),
        (json!({ "password": secret(json!({ "store": "nowhere", "path": "x" })) }), "password", "no secret store `nowhere`"),
        (json!({ "password": secret(json!({ "store": "vault", "path": "x" })) }), "password", "key: is required"),
        (json!({ "password": secret(json!({ "store": "vault", "path": "../x", "key": "k" })) }), "password", "path: "),
        (json!({ "password": secret(json!({ "store": "files", "path": "a/../../etc/passwd" })) }), "password", "path: "),
        (json!({ "password": secret(json!({ "store": "files", "path": "/etc/passwd" })) }), "password", "path: "),
        (json!({ "password": secret(json!({ "store": "env", "path": "A/B" })) }), "password", "path: "),
        (json!({ "password": secret(json!({ "store": "env", "path": "TOKEN", "version": 1 })) }), "password", "version: "),
        (
            json!({ "password": secret(json!({ "store": "vault", "path": "x", "key": "k", "value": "v" })) }),
            "password",
            "`value`",
        ),
        (json!({ "password": { "$secret": { "store": "vault", "path": "x", "key": "k" }, "more": 1 } }), "password", "alone"),
        (json!({ "password": { "$secret": "db/prod" } }), "password", "holds an object"),
    ];
    for (inputs, input, why) in table {
        let refused = create(inputs.clone()).await.expect_err("it is refused");
        let [violation] = refused.violations() else { panic!("{inputs}: {refused:?}") };
        assert_eq!(violation.field, format!("deployment.inputs.{input}"), "{inputs}");
        assert!(violation.description.contains(why), "{inputs}: {}", violation.description);
    }

    // It is shown, kept by whoever changes something else, and replaced like any input.
    let made =
        create(json!({ "password": good, "port": secret(json!({ "store": "env", "path": "PORT" })) })).await.expect("right");
    assert_eq!(made.inputs["password"], good);
    let mut inputs = made.inputs.clone();
    inputs.insert("plain".to_owned(), "other".into());
    inputs.remove("password");
    let changed = acme.deployments().update("shop/dev/web").inputs(inputs.clone()).send().await.expect("changed");
    assert_eq!((changed.inputs["password"].clone(), changed.generation), (good, made.generation + 1));
    inputs.insert("password".to_owned(), "a value".into());
    let changed = acme.deployments().update("shop/dev/web").inputs(inputs).send().await.expect("changed");
    assert!(!changed.inputs.contains_key("password"), "a value is not shown: {:?}", changed.inputs);
}

both_databases!(what_cannot_be_read_says_why_and_what_is_not_allowed_is_not_asked_for);

async fn what_cannot_be_read_says_why_and_what_is_not_allowed_is_not_asked_for(database: Database) {
    let mut stage = Stage::new(database).await;
    for (path, value) in [("db/prod", "first"), ("db/short", "abc"), ("closed/db", "hidden"), ("rival/db", "rival")] {
        stage.bao.put(path, "password", value);
    }
    let _runner = stage.runner(&[stage.vault()], &[]);
    let acme = stage.acme();
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.set_nonblocking(true).expect("an option");
    let elsewhere = format!("https://localhost:{}", listener.local_addr().expect("an address").port());
    for (name, driver) in [
        ("elsewhere", SecretDriver::vault(elsewhere, "secret")),
        ("mount", SecretDriver::vault(stage.bao.url(), "sys")),
        ("env", SecretDriver::environment("FREEHOLD_")),
        ("files", SecretDriver::directory("/etc")),
        ("gone", SecretDriver::environment("ACME_")),
    ] {
        acme.secret_stores().create(name, driver).send().await.expect("a store");
    }
    let role = "the role ";
    let table = [
        ("other", SecretRef::new("elsewhere", "db/prod").key("password"), "secret-not-allowed", "operator"),
        ("mount", SecretRef::new("mount", "db").key("password"), "secret-not-allowed", "operator"),
        ("path", password("rival/db"), "secret-not-allowed", "operator"),
        ("env", SecretRef::new("env", "DATABASE_URL"), "secret-not-allowed", "operator"),
        ("files", SecretRef::new("files", "passwd"), "secret-not-allowed", "operator"),
        ("gone", SecretRef::new("gone", "TOKEN"), "secret-store-missing", "no secret store `gone`"),
        ("closed", password("closed/db"), "secret-denied", role),
        ("nothing", password("db/none"), "secret-missing", "there is nothing at db/none#password in the store vault"),
        ("version", password("db/prod").version(7), "secret-missing", "there is no version 7"),
        ("key", SecretRef::new("vault", "db/prod").key("user"), "secret-missing", "no such key"),
        ("short", password("db/short"), "secret-invalid", "inputs.password"),
    ];
    for (name, secret, ..) in &table {
        stage.deploy(name, secret.clone()).await;
    }
    acme.secret_stores().delete("gone").send().await.expect("deleted");
    for (name, _, code, why) in table {
        let refused = stage.refused(name).await;
        assert_eq!((refused.0.as_str(), refused.2), (code, false), "{name}: {}", refused.1);
        assert!(refused.1.contains(why) && !refused.1.contains("hidden"), "{name}: {}", refused.1);
        assert!(code.starts_with("secret-invalid") || refused.1.contains("input `password`"), "{name}: {}", refused.1);
    }
    assert!(listener.accept().is_err(), "nobody came to an address that the runner's operator has not named");

    // Both at once, and neither is asked for.
    let two = acme.deployments().create("shop/dev/two", "web@1.0.0").input("password", password("rival/db"));
    two.input("port", SecretRef::new("files", "passwd")).send().await.expect("a deployment");
    let (_, why, _) = stage.refused("two").await;
    assert!(why.contains("input `password`") && why.contains("input `port`"), "{why}");

    // Another environment is not what the place is for.
    acme.environments().create("shop/test", EnvironmentKind::Test).send().await.expect("an environment");
    let other = acme.deployments().create("shop/test/web", "web@1.0.0").input("password", password("db/prod"));
    other.send().await.expect("a deployment");
    let run = acme.runs().plan("shop/test/web").auto_apply().send().await.expect("a run").wait_done().await.expect("it ends");
    assert_eq!(crate::secrets::refusal(run.run()).0, "secret-not-allowed");

    // What may pass says so.
    stage.deploy("web", password("db/prod")).await;
    stage.bao.run(&["operator", "seal"]);
    let (code, why, retryable) = stage.refused("web").await;
    assert_eq!((code.as_str(), retryable), ("secret-store-unavailable", true), "{why}");
    assert!(why.contains("is sealed"), "{why}");
    stage.bao.process.kill();
    let (code, why, retryable) = stage.refused("web").await;
    assert_eq!((code.as_str(), retryable), ("secret-store-unavailable", true), "{why}");
    assert!(why.contains("cannot be reached"), "{why}");
}

both_databases!(every_kind_of_store_is_read);

async fn every_kind_of_store_is_read(database: Database) {
    let stage = Stage::new(database).await;
    let folder = stage.world.installation.path("mounted");
    fs::create_dir_all(folder.join("db")).expect("a folder");
    fs::write(folder.join("db/password"), "in a file").expect("a file");
    let token = stage.bao.token("reader");
    stage.bao.run(&["kv", "put", "-mount=old", "db/prod", "password=in version 1"]);
    let pki = &stage.world.installation.pki;
    pki.issue("reader", "runnerPools/default/runners/reader");
    let (certificate, key) = (pki.path("reader.crt"), pki.path("reader.key"));
    let jwt = stage.bao.trust_jwt("reader");
    stage.bao.trust_certificates("reader", &pki.path("ca.crt"));
    for mount in ["by-jwt", "by-cert"] {
        stage.bao.run(&["secrets", "enable", &format!("-path={mount}"), "-version=1", "kv"]);
        stage.bao.run(&["kv", "put", &format!("-mount={mount}"), "db/prod", &format!("password=in {mount}")]);
    }
    let stores = [
        stage.vault_as("old", 1, json!({ "token": { "file": token } })),
        stage.vault_as("by-jwt", 1, json!({ "jwt": { "mount": "jwt", "role": "reader", "file": jwt } })),
        stage.vault_as("by-cert", 1, json!({ "cert": { "role": "reader", "certificate_file": certificate, "key_file": key } })),
        json!({ "scopes": ["tenants/acme"], "environment": { "prefix": "ACME_" } }),
        json!({ "scopes": ["tenants/acme/projects/shop"], "directory": { "path": folder } }),
    ];
    let runner = stage.runner(&stores, &[("ACME_DB_PASSWORD", "in a variable"), ("ACME_DB_PORT", "5432")]);
    let acme = stage.acme();
    let folder = folder.join("db");
    for mount in ["old", "by-jwt", "by-cert"] {
        let (address, namespace) = (stage.bao.url(), String::new());
        let driver = SecretDriver::Vault { address, namespace, mount: mount.to_owned(), kv_version: 1 };
        acme.secret_stores().create(mount, driver).send().await.expect("a store");
    }
    for (name, driver) in
        [("env", SecretDriver::environment("ACME_DB_")), ("files", SecretDriver::directory(folder.to_str().expect("text")))]
    {
        acme.secret_stores().create(name, driver).send().await.expect("a store");
    }
    let table = [
        ("old", SecretRef::new("old", "db/prod").key("password"), "in version 1"),
        ("by-jwt", SecretRef::new("by-jwt", "db/prod").key("password"), "in by-jwt"),
        ("by-cert", SecretRef::new("by-cert", "db/prod").key("password"), "in by-cert"),
        ("env", SecretRef::new("env", "PASSWORD"), "in a variable"),
        ("files", SecretRef::new("files", "password"), "in a file"),
    ];
    for (name, secret, value) in table {
        let made = acme.deployments().create(format!("shop/dev/{name}"), "web@1.0.0").input("password", secret);
        made.input("port", SecretRef::new("env", "PORT")).send().await.expect("a deployment");
        let run = stage.run(name).await;
        assert_eq!(run.outcome, Some(RunOutcome::Succeeded), "{run:?}\n{}", runner.said());
        assert_eq!(stage.world.made(&format!("{name}.conf")), Some(format!("password={value}\nport=5432\n")));
    }
    stage.deploy("none", SecretRef::new("env", "NONE")).await;
    let (code, why, _) = stage.refused("none").await;
    assert_eq!(code, "secret-missing");
    assert!(why.contains("has no `ACME_DB_NONE`"), "{why}");
}

both_databases!(a_runner_that_reads_no_secrets_says_whose_word_it_waits_for);

async fn a_runner_that_reads_no_secrets_says_whose_word_it_waits_for(database: Database) {
    let stage = Stage::new(database).await;
    stage.deploy("web", password("db/prod")).await;
    let _runner = stage.world.runner();
    let (code, why, _) = stage.refused("web").await;
    assert_eq!(code, "secret-not-allowed");
    assert!(why.contains("--secrets"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn stores_are_kept_from_the_command_line() {
    let world = World::new(Database::Sqlite).await;
    let pki = &world.installation.pki;
    let freehold = |arguments: &[&str]| {
        let mut command = Command::new(binary());
        command.args(arguments).args(["--endpoint", &endpoint(world.replica.api), "--tenant", "acme", "--output", "json"]);
        command.arg("--ca").arg(pki.path("ca.crt")).arg("--cert").arg(pki.path("admin.crt"));
        let output = command.arg("--key").arg(pki.path("admin.key")).output().expect("it starts");
        let text = String::from_utf8_lossy(if output.status.success() { &output.stdout } else { &output.stderr }).into_owned();
        (output.status.code(), text)
    };
    let (code, made) = freehold(&["secret-store", "create", "vault", "--vault", "https://vault.example:8200", "--mount", "kv"]);
    assert_eq!(code, Some(0), "{made}");
    let made: Value = serde_json::from_str(&made).expect("JSON");
    let expected =
        json!({ "vault": { "address": "https://vault.example:8200", "namespace": "", "mount": "kv", "kv_version": 2 } });
    assert_eq!(made["driver"], expected);
    let (code, said) = freehold(&["secret-store", "create", "nothing"]);
    assert!(code != Some(0) && said.contains("--directory"), "{said}");
    let (code, changed) =
        freehold(&["secret-store", "update", "vault", "--directory", "/run/secrets/acme", "--description", "x"]);
    assert!(code == Some(0) && changed.contains("/run/secrets/acme"), "{changed}");
    let (_, listed) = freehold(&["secret-store", "list"]);
    assert!(listed.contains("tenants/acme/secretStores/vault"), "{listed}");
    assert_eq!(freehold(&["secret-store", "delete", "vault"]).0, Some(0));
    assert_ne!(freehold(&["secret-store", "get", "vault"]).0, Some(0));
}
