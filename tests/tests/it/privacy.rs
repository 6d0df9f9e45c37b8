//! Secrets that are looked for everywhere but where they belong.

use std::{fmt::Debug, path::PathBuf};

use freehold::{
    BlueprintFile, RunOutcome,
    raw::proto::iam::v1::{ExchangeTokenRequest, token_service_client::TokenServiceClient},
};
use freehold_tests::{
    Database::{Postgres, Sqlite},
    Installation, Process, Witness,
};
use futures::TryStreamExt as _;
use serde_json::{Value, json};

/// Everything our own code can say, and every statement of the database.
pub const LOGGING: (&str, &str) = ("RUST_LOG", "freehold=trace,sqlx=trace");

/// Secrets go to a service and to a database that is not there, and come out as outputs.
const VAULT: &str = r#"
apiVersion: freehold.dev/v1
engine: native
inputs:
  type: object
  required: [url, token, dsn]
  properties:
    url: { type: string }
    token: { type: string, maxLength: 64, sensitive: true }
    dsn: { type: string, sensitive: true }
resources:
  password:
    type: random_password
    length: 30
    special: false
  thing:
    type: http
    create:
      method: PUT
      url: "${inputs.url}/thing"
      headers: { authorization: "Bearer ${inputs.token}" }
      body: { password: "${resources.password.value}", token: "${inputs.token}" }
  database:
    type: postgres_database
    connection: "${inputs.dsn}"
    name: shop
outputs:
  password: { value: "${resources.password.value}", sensitive: true }
  pair: { value: "${inputs.token}:${resources.password.value}", sensitive: true }
"#;

/// What must not be seen, each with its name.
struct Secrets(Vec<(&'static str, Vec<u8>)>);

impl Secrets {
    fn add(&mut self, what: &'static str, secret: impl Into<Vec<u8>>) {
        self.0.push((what, secret.into()));
    }

    /// Looks for each of them as it is and in hexadecimal, and for its text in JSON.
    fn are_not_in(&self, place: &str, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        for (what, secret) in &self.0 {
            assert!(secret.len() >= 12, "{what} is too short to be looked for");
            let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
            for form in [secret.as_slice(), hex.as_bytes()] {
                let found = bytes.windows(form.len()).position(|window| window.eq_ignore_ascii_case(form));
                let around = found.map(|at| String::from_utf8_lossy(&bytes[at.saturating_sub(200)..bytes.len().min(at + 200)]));
                assert_eq!(around, None, "{what} is in {place}");
            }
        }
    }

    fn are_not_shown(&self, place: &str, shown: &impl Debug) {
        self.are_not_in(place, format!("{shown:?}"));
    }
}

/// The database's own files.
fn database_files(installation: &Installation) -> Vec<PathBuf> {
    let files = std::fs::read_dir(installation.dir.path()).expect("the folder can be read").flatten().map(|entry| entry.path());
    files.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("freehold.db"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_in_no_log_plan_record_error_or_file_of_the_database() {
    let installation = Installation::new(Sqlite).await;
    let mut secrets = Secrets(Vec::new());
    let master = b"canary-master-key-0123456789abcd";
    std::fs::write(installation.path("master.key"), master).expect("the folder can be written");
    secrets.add("the master key", master);
    let mut serve = installation.serve(&[]);
    serve.env(LOGGING.0, LOGGING.1);
    let mut replica = installation.start(serve).await;
    let token_key = std::fs::read(installation.path("token.key")).expect("the server has made one");
    secrets.add("the key of the tokens", token_key);
    let mut run = installation.run(&[replica.runner], "runner", &[]);
    run.env(LOGGING.0, LOGGING.1);
    let runner = Process::start(run, &installation.path("runner.log"));
    let witness = Witness::start(&installation.path("witness")).await;
    let acme = installation.client(&[replica.api], installation.pki.credentials("admin"), "acme").await;
    acme.tenants().create("acme").send().await.expect("a tenant");
    acme.projects().create("shop").send().await.expect("a project");
    acme.environments().create("shop/dev", freehold::EnvironmentKind::Dev).send().await.expect("an environment");

    // An API key, and the token that it is exchanged for.
    let tomorrow = freehold::Timestamp::now() + std::time::Duration::from_secs(24 * 3600);
    acme.service_accounts().create("ci").display_name("Builds").send().await.expect("a service account");
    acme.access().bind("viewer", "serviceAccounts/ci").send().await.expect("a role");
    let made = acme.api_keys().create("serviceAccounts/ci", tomorrow).send().await.expect("a key");
    secrets.add("an API key", made.secret.reveal());
    secrets.are_not_shown("its answer", &made);
    let browser = installation.client(&[replica.web], installation.pki.trust(), "acme").await;
    let mut tokens = TokenServiceClient::new(browser.raw().expect("a channel"));
    let exchanged =
        tokens.exchange_token(ExchangeTokenRequest { api_key: made.secret.reveal().to_owned(), ..Default::default() }).await;
    let token = exchanged.expect("a token").into_inner().token;
    secrets.add("a token", token.as_str());
    let by_token = installation.pki.trust().bearer_token(&token);
    secrets.are_not_shown("credentials", &by_token);
    let by_token = installation.client(&[replica.web], by_token, "acme").await;
    by_token.projects().get("shop").send().await.expect("as the role says");
    let wrong = format!("{}x", made.secret.reveal());
    let refused =
        tokens.exchange_token(ExchangeTokenRequest { api_key: wrong, ..Default::default() }).await.expect_err("no such key");
    secrets.are_not_shown("a refusal", &refused);

    // Sensitive inputs, also when they are not what they should be.
    let (input, password) = ("canary-input-4242", "canary-dsn-password-77");
    secrets.add("a sensitive input", input);
    secrets.add("the password in a sensitive URL", password);
    acme.blueprints().create("vault").send().await.expect("a blueprint");
    let draft = acme.blueprints().write_draft("vault", vec![BlueprintFile::new("blueprint.yaml", VAULT)]).send().await;
    let draft = draft.expect("a draft");
    let published = acme.blueprints().publish("vault@1.0.0", &draft.blueprint_draft.etag).send().await;
    published.unwrap_or_else(|error| panic!("{error:?}; {:?}", draft.diagnostics));
    let dsn = format!("postgres://admin:{password}@127.0.0.1:1/shop");
    let create = |token: Value| {
        let wish = acme.deployments().create("shop/dev/vault", "vault@1.0.0").input("url", witness.url.as_str());
        wish.input("token", token).input("dsn", dsn.as_str()).send()
    };
    for wrong in [json!([input]), json!({ input: input }), json!(input.repeat(5))] {
        let refused = create(wrong).await.expect_err("not a text of 64 characters");
        assert!(refused.is_invalid_argument(), "{refused:?}");
        secrets.are_not_shown("a refusal", &refused);
    }
    secrets.are_not_shown("a deployment", &create(json!(input)).await.expect("a deployment"));

    // A run that fails at both, with an answer that repeats what was sent.
    witness.fail("/thing");
    let run = acme.runs().plan("shop/dev/vault").auto_apply().send().await.expect("a run").wait_done().await.expect("it ends");
    let revealed = acme.state().outputs("shop/dev/vault").reveal_sensitive().send().await.expect("outputs");
    let of = |name: &str| revealed.iter().find(|output| output.name == name).and_then(|output| output.value.clone());
    let drawn = of("password").and_then(|value| value.as_str().map(str::to_owned)).expect("it was drawn");
    assert_eq!((drawn.len(), of("pair")), (30, Some(json!(format!("{input}:{drawn}")))));
    secrets.add("a password", drawn);
    assert!(matches!(run.run().outcome, Some(RunOutcome::Failed | RunOutcome::Lost)), "{run:?}");
    secrets.are_not_shown("a run that failed", &run.clone().into_result().expect_err("badly"));
    secrets.are_not_shown("a run", run.run());
    secrets.are_not_shown("a plan", &run.plan().await.expect("a plan"));
    let lines: Vec<_> = run.logs().try_collect().await.expect("lines");
    assert!(!lines.is_empty());
    secrets.are_not_shown("the log of a run", &lines);
    secrets.are_not_shown("outputs", &acme.state().outputs("shop/dev/vault").send().await.expect("outputs"));
    let versions = acme.state().list_versions("shop/dev/vault").collect_up_to(100).await.expect("a list");
    assert!(!versions.is_empty());
    secrets.are_not_shown("versions of the state", &versions);
    let records = acme.audit().list().collect_up_to(1000).await.expect("a list");
    assert!(records.len() > 8);
    secrets.are_not_shown("audit records", &records);

    for _ in 0..2 {
        let files = database_files(&installation);
        let contents = || files.iter().map(|file| std::fs::read(file).expect("the file can be read"));
        let plain = b"shop/environments/dev/deployments/vault";
        assert!(contents().any(|bytes| bytes.windows(plain.len()).any(|window| window == plain)), "what is no secret is found");
        contents().zip(&files).for_each(|(bytes, file)| secrets.are_not_in(&file.display().to_string(), bytes));
        // Once more when everything has come into the main file.
        if replica.process.ended().is_none() {
            replica.process.signal("TERM");
            replica.process.wait().await;
        }
    }
    for (whose, log) in [("the server", replica.process.said()), ("the runner", runner.said())] {
        assert!(log.contains("\"level\":\"DEBUG\"") || log.contains("\"level\":\"TRACE\""), "{whose} says little: {log}");
        secrets.are_not_in(&format!("the log of {whose}"), log);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_password_of_the_database_is_said_by_no_server() {
    let mut secrets = Secrets(Vec::new());
    secrets.add("the password of the database", "canary-database-password");
    let mut installation = Installation::new(Postgres).await;
    let with_password = |url: &str| url.replace("freehold@", "freehold:canary-database-password@");
    installation.database_url = with_password(&installation.database_url);
    let mut serve = installation.serve(&[]);
    serve.env(LOGGING.0, LOGGING.1);
    let mut replica = installation.start(serve).await;
    let admin = installation.client(&[replica.api], installation.pki.credentials("admin"), "acme").await;
    admin.tenants().create("acme").send().await.expect("a tenant");
    replica.process.signal("TERM");
    replica.process.wait().await;
    secrets.are_not_in("the log of the server", replica.process.said());

    for url in [
        "postgres://freehold@127.0.0.1:1/freehold",
        "postgres://freehold@127.0.0.1:port/freehold",
        "postgres://freehold@127.0.0.1/freehold?sslmode=perhaps",
        "mysql://freehold@127.0.0.1/freehold",
    ] {
        installation.database_url = with_password(url);
        let refused = installation.serve(&[]).env(LOGGING.0, LOGGING.1).output().expect("it starts");
        assert_eq!(refused.status.code(), Some(1), "{url}: {refused:?}");
        secrets.are_not_in(url, [refused.stdout, refused.stderr].concat());
    }
}
