//! What a real store cannot be made to do.

use std::fs;

use freehold_domain::secrets::SecretRef;
use freehold_fakes::{FakeVault, Fault, Reply, VAULT_ROLE};
use serde_json::json;

use super::*;

const SECRET: &str = "s3cret-of-a-test";

/// A store, and a runner that reads `db/` of it for `acme`.
struct Stage {
    vault: FakeVault,
    secrets: Secrets,
    _dir: tempfile::TempDir,
}

async fn stage() -> Stage {
    let vault = FakeVault::start(SECRET).await;
    let dir = tempfile::tempdir().expect("a folder");
    let file = |name: &str, content: &str| {
        let path = dir.path().join(name);
        fs::write(&path, content).expect("the folder can be written");
        path
    };
    // A newline at its end is an editor's.
    let secret_id = file("secret-id", &format!("{}\n", VAULT_ROLE.1));
    let stores = json!({ "stores": [{ "scopes": ["tenants/acme"], "vault": {
        "address": vault.server.url(), "mount": "secret", "kv_version": 2, "paths": ["db"], "ca_file": file("ca.pem", vault.server.ca()),
        "auth": { "approle": { "role_id": VAULT_ROLE.0, "secret_id_file": secret_id } },
    } }] });
    let secrets = Secrets::open(&file("secrets.json", &stores.to_string())).expect("right");
    Stage { vault, secrets, _dir: dir }
}

impl Stage {
    async fn read(&self) -> Result<Found, StepError> {
        self.read_as("password", "secret").await
    }

    async fn read_as(&self, key: &str, mount: &str) -> Result<Found, StepError> {
        let reference = SecretRef {
            store: "vault".parse().expect("an id"),
            path: "db/prod".to_owned(),
            key: Some(key.to_owned()),
            version: None,
        };
        let driver = json!({ "vault": { "address": self.vault.server.url(), "mount": mount, "kv_version": 2 } });
        let driver = Some(serde_json::from_value(driver).expect("a driver"));
        let deployment = "tenants/acme/projects/shop/environments/dev/deployments/web".parse().expect("a name");
        let reads = BTreeMap::from([("input".to_owned(), SecretRead { reference, driver })]);
        self.secrets.read(&deployment, &reads).await
    }

    /// What it was asked, as methods and paths.
    fn asked(&self) -> Vec<String> {
        self.vault.server.requests().iter().map(|request| format!("{} {}", request.method, request.path)).collect()
    }
}

const LOGIN: &str = "POST /v1/auth/approle/login";
const READ: &str = "GET /v1/secret/data/db/prod";
const GIVE_BACK: &str = "POST /v1/auth/token/revoke-self";

#[tokio::test]
async fn what_passes_is_tried_again_and_what_may_be_done_twice_only() {
    let stage = stage().await;
    let busy = || Fault::Reply(Reply::json(429, &json!({ "errors": ["rate limit quota exceeded"] })).with("retry-after", 1));
    for (place, fault) in
        [(READ, Fault::status(500)), (READ, Fault::status(503)), (READ, busy()), (READ, Fault::Cut), (LOGIN, busy())]
    {
        stage.vault.server.forget();
        stage.vault.server.fail(place, fault.clone());
        let found = stage.read().await.unwrap_or_else(|error| panic!("{fault:?} at {place}: {error}"));
        assert_eq!(found.values["input"], SECRET);
        assert_eq!(found.reads["input"].reference.version, Some(1));
        assert_eq!(stage.asked().iter().filter(|line| *line == place).count(), 2, "{fault:?} at {place}");
        assert_eq!(stage.asked().last().map(String::as_str), Some(GIVE_BACK));
    }
    // A sign-in whose answer is lost may have been one of the few that the secret id is good for.
    for fault in [Fault::status(500), Fault::Cut] {
        stage.vault.server.forget();
        stage.vault.server.fail(LOGIN, fault);
        let error = stage.read().await.err().expect("nobody knows");
        assert_eq!((error.code.as_str(), error.retryable), ("secret-store-unavailable", true));
        assert_eq!(stage.asked(), [LOGIN]);
    }
}

#[tokio::test]
async fn what_stays_is_told_in_words_that_hold_no_secret() {
    let stage = stage().await;
    let sealed = || Fault::Reply(Reply::json(503, &json!({ "errors": ["Vault is sealed"] })));
    let echo = json!({ "errors": [format!("unknown: {} {}", VAULT_ROLE.1, "x".repeat(1000))] });
    let large = Fault::Reply(Reply::text(200, vec![b'x'; 2 << 20]));
    let moved = || Reply::text(307, Vec::new()).with("location", "https://elsewhere.example/");
    let table = [
        (READ, vec![sealed(), sealed(), sealed()], "secret-store-unavailable", "is sealed; unseal it"),
        (READ, vec![Fault::status(502), Fault::status(502), Fault::status(502)], "secret-store-unavailable", "status 502"),
        (READ, vec![large], "secret-store-unavailable", "more than"),
        (READ, vec![Fault::Garbage], "secret-store-refused", "not that of version 2"),
        (READ, vec![Fault::Reply(moved())], "secret-store-refused", "307"),
        (READ, vec![Fault::status(403)], "secret-denied", "role role-of-a-test of approle may not read db/prod#password"),
        (LOGIN, vec![Fault::Reply(moved())], "secret-store-refused", "307"),
        (LOGIN, vec![Fault::Reply(Reply::json(400, &echo))], "secret-store-refused", "(hidden)"),
        (LOGIN, vec![Fault::Garbage], "secret-store-refused", "does not let this runner in"),
    ];
    for (place, faults, code, why) in table {
        stage.vault.server.forget();
        faults.into_iter().for_each(|fault| stage.vault.server.fail(place, fault));
        let error = stage.read().await.err().expect("it is refused");
        assert_eq!(error.code, code, "{error}");
        assert!(error.message.starts_with("input `input`: ") && error.message.contains(why), "{error}");
        let told = error.to_string();
        assert!(!told.contains(VAULT_ROLE.1) && !told.contains(SECRET) && !told.contains("hvs.") && told.len() < 900, "{told}");
    }
}

#[tokio::test]
async fn nothing_is_sent_to_a_place_that_is_not_allowed_or_to_whoever_is_not_trusted() {
    let stage = stage().await;
    let error = stage.read_as("password", "other").await.err().expect("another engine");
    assert_eq!((error.code.as_str(), stage.vault.server.sockets()), ("secret-not-allowed", 0));

    let stranger = FakeVault::start("of somebody else").await;
    fs::write(stage._dir.path().join("ca.pem"), stranger.server.ca()).expect("written");
    let error = stage.read().await.err().expect("of another authority");
    assert_eq!(error.code, "secret-store-unavailable", "{error}");
    assert!(stage.asked().is_empty());
    fs::remove_file(stage._dir.path().join("ca.pem")).expect("removed");
    let error = stage.read().await.err().expect("no authority");
    assert!(error.code == "secret-store-refused" && error.message.contains("ca.pem cannot be read"), "{error}");
}

#[tokio::test]
async fn values_that_stand_side_by_side_are_of_one_version() {
    let stage = stage().await;
    let reference = |key: &str| SecretRef {
        store: "vault".parse().expect("an id"),
        path: "db/prod".to_owned(),
        key: Some(key.to_owned()),
        version: None,
    };
    let driver = json!({ "vault": { "address": stage.vault.server.url(), "mount": "secret", "kv_version": 2 } });
    let driver: Option<Driver> = Some(serde_json::from_value(driver).expect("a driver"));
    let deployment = "tenants/acme/projects/shop/environments/dev/deployments/web".parse().expect("a name");
    let reads =
        ["a", "b"].map(|input| (input.to_owned(), SecretRead { reference: reference("password"), driver: driver.clone() }));
    let found = stage.secrets.read(&deployment, &BTreeMap::from(reads)).await.map_err(|error| error.to_string()).expect("read");
    assert_eq!(found.values.len(), 2);
    assert_eq!(stage.asked(), [LOGIN, READ, GIVE_BACK]);
    assert_eq!(told(&found)[1], "input `b`: version 1 of db/prod#password in the store vault");
}
