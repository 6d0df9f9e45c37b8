//! `freehold dev --demo`: from nothing to a deployed blueprint, and a quota that holds, told as it happens.

use std::{path::Path, time::Instant};

use freehold::{BlueprintFile, Client, Credentials, EnvironmentKind, RunPhase};
use futures::TryStreamExt as _;

use crate::{Failure, serve::Addresses};

/// The sample that is published; the same files are in deploy/samples/greeting.
const SAMPLE: [(&str, &str); 2] = [
    ("blueprint.yaml", include_str!("../../deploy/samples/greeting/blueprint.yaml")),
    ("greeting.txt", include_str!("../../deploy/samples/greeting/greeting.txt")),
];

/// Deployments that the tenant of the demo may have.
const LIMIT: i64 = 1;

/// Creates a tenant, publishes a blueprint, deploys it, and shows what came of it.
pub async fn run(dir: &Path, addresses: Addresses, begun: Instant) -> Result<(), Failure> {
    let pki = dir.join("pki");
    let credentials =
        Credentials::new().ca_file(pki.join("ca.crt")).certificate_files(pki.join("admin.crt"), pki.join("admin.key"));
    let client = Client::builder(format!("https://{}", addresses.api)).credentials(credentials).tenant("acme").build().await?;

    match client.tenants().create("acme").display_name("Acme").send().await {
        Ok(_) => {}
        Err(error) if error.is_already_exists() => {
            println!("\nThe demo ran here before; its deployment is shop/dev/hello.");
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    }
    client.quotas().set_limit("deployments", LIMIT).send().await?;
    client.projects().create("shop").display_name("Web shop").send().await?;
    client.environments().create("shop/dev", EnvironmentKind::Dev).send().await?;
    step(begun, "tenant acme, project shop, environment dev; 1 deployment allowed");

    client.blueprints().create("greeting").send().await?;
    let files = SAMPLE.map(|(path, content)| BlueprintFile { path: path.to_owned(), content: content.into() });
    let written = client.blueprints().write_draft("greeting", files).send().await?;
    let version = client.blueprints().publish("greeting@1.0.0", &written.blueprint_draft.etag).send().await?;
    step(begun, &format!("blueprint greeting published as 1.0.0, {}", version.digest));

    client.deployments().create("shop/dev/hello", "greeting@1.0.0").input("name", "world").send().await?;
    let run = client.runs().plan("shop/dev/hello").send().await?.wait_until(RunPhase::AwaitingApproval).await?;
    step(begun, "planned:");
    println!("{}", freehold_cli::plan_text(&run.plan().await?));

    client.runs().approve(&run).send().await?;
    step(begun, "approved by its digest; applying:");
    let mut log = run.logs();
    while let Some(line) = log.try_next().await? {
        println!("  {}: {}", line.address.unwrap_or_default(), line.text);
    }
    run.wait_done().await?.into_result()?;
    step(begun, "deployed");
    for output in client.state().outputs("shop/dev/hello").send().await? {
        let value = if output.sensitive {
            "(sensitive)".to_owned()
        } else {
            output.value.map(|value| value.to_string()).unwrap_or_default()
        };
        println!("  {} = {value}", output.name);
    }
    println!("  file: {}", dir.join("files/acme/shop/dev/hello.txt").display());

    match client.deployments().create("shop/dev/second", "greeting@1.0.0").input("name", "again").send().await {
        Err(error) if error.is_quota_exceeded() => step(begun, &format!("a second deployment is refused: {error}")),
        Err(error) => return Err(error.into()),
        Ok(_) => return Err("the quota did not hold: a second deployment was created".into()),
    }
    println!("\nFrom nothing to deployed in {:.2} s.", begun.elapsed().as_secs_f64());
    Ok(())
}

/// Says how to go on: lines to paste, and a link with the administrator's token. A fragment stays in the browser.
pub fn invite(dir: &Path, addresses: Addresses, token: &str, demo: bool) {
    let pki = dir.join("pki");
    let (ca, cert, key) = (pki.join("ca.crt"), pki.join("admin.crt"), pki.join("admin.key"));
    let (ca, cert, key) = (ca.display(), cert.display(), key.display());
    let api = addresses.api;
    let tenant = if demo { "acme" } else { "TENANT" };
    println!(
        "
Listening: api {api}, web {web}, runner {runner}, state {state}, admin {admin} (plaintext, loopback).

Console: https://{web}
  Open this link to sign in; for 12 hours, whoever has it is administrator of this installation:
  https://{web}/#token={token}
  The browser warns of a certificate that it does not know. Go on in spite of that, or have it trust the authority of this
  installation: {ca}

Command line and SDK (the ten lines of Rust are in README.md):
  export FREEHOLD_ENDPOINT=https://{api} FREEHOLD_TENANT={tenant}
  export FREEHOLD_CA={ca}
  export FREEHOLD_CERT={cert}
  export FREEHOLD_KEY={key}
  freehold whoami
  freehold quota list
  freehold deployment list shop/dev

grpcurl:
  grpcurl -cacert {ca} -cert {cert} -key {key} {api} list
  grpcurl -cacert {ca} -cert {cert} -key {key} -d '{{\"tenant_id\":\"globex\"}}' \\
    {api} freehold.tenants.v1.TenantService/CreateTenant

Ctrl-C ends it.",
        web = addresses.web,
        runner = addresses.runner,
        admin = addresses.admin,
        state = addresses.state,
    );
}

fn step(begun: Instant, text: &str) {
    println!("[{:5.2} s] {text}", begun.elapsed().as_secs_f64());
}
