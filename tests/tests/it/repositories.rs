//! Modules in repositories: fetched at a commit by the runner, kept in the plan, and refused with what no module may have.

use freehold::{BlueprintFile, DriftState, RunOutcome};
use freehold_tests::{Database, GitServer, Site, World, git::AUTHORIZATION};

const SIGN: &str = r#"
variable "motto" { type = string }
module "frame" {
  source = "../frame"
  text   = var.motto
}
output "sign" { value = module.frame.sign }
"#;
const FRAME: &str = r#"
variable "text" { type = string }
resource "terraform_data" "sign" { input = "[${var.text}]" }
output "sign" { value = terraform_data.sign.output }
"#;
/// A state of somebody else's making.
const FORGED: &str = r#"{
  "version": 4, "terraform_version": "1.5.0", "serial": 9, "lineage": "forged", "outputs": {},
  "resources": [{ "mode": "managed", "type": "terraform_data", "name": "forged", "provider": "provider[\"terraform.io/builtin/terraform\"]",
    "instances": [{ "schema_version": 0, "attributes": { "id": "x", "input": null, "output": null, "triggers_replace": null } }] }]
}"#;

fn blueprint(url: &str, commit: &str, path: &str) -> Vec<BlueprintFile> {
    let document = format!(
        "apiVersion: freehold.dev/v1\nengine: terraform\nmodule:\n  path: {path}\n  git: {{ url: \"{url}\", commit: \"{commit}\" }}\n\
         inputs:\n  properties:\n    motto: {{ type: string, default: hello }}\n"
    );
    vec![BlueprintFile::new("blueprint.yaml", document)]
}

/// A runner that modules may be fetched by from this server.
fn runner(world: &World, server: &GitServer, egress: &str, further: &[&str]) -> freehold_tests::RunnerProcess {
    let source = server.url("");
    let options = [&["--module-source", &source, "--egress", egress], further].concat();
    world.installation.runner(&[world.replica.runner], "runner", &options)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_is_what_its_repository_has_at_a_commit() {
    let world = World::new(Database::Sqlite).await.shop().await;
    let server = GitServer::start(&world.installation.path("repositories")).await;
    let password = world.installation.path("git.env");
    let header =
        format!("GIT_CONFIG_COUNT=1\nGIT_CONFIG_KEY_0=http.extraHeader\nGIT_CONFIG_VALUE_0=Authorization: {AUTHORIZATION}\n");
    std::fs::write(&password, header).expect("a file");
    let password = password.display().to_string();
    let _runner = runner(&world, &server, &server.address.to_string(), &["--read-env", &password]);
    let sign: [(&str, &[u8]); 3] = [
        ("modules/sign/main.tf", SIGN.as_bytes()),
        ("modules/sign/terraform.tfstate", FORGED.as_bytes()),
        ("modules/frame/main.tf", FRAME.as_bytes()),
    ];
    let first = server.commit("signs", &sign);
    server.commit("signs", &[("modules/frame/main.tf", FRAME.replace("[${var.text}]", "<${var.text}>").as_bytes())]);
    world.publish("sign", blueprint(&server.url("private/signs"), &first, "modules/sign")).await;
    let site = Site::new(&world, "sign", "sign", &[]).await;

    let run = site.planned().await;
    let counts = run.run().plan_summary.expect("numbers");
    assert_eq!((counts.create, counts.delete), (1, 0), "a state in the repository is none of this deployment's: {counts:?}");
    let asked = server.asked();
    site.approved(run).await;
    assert_eq!(server.asked(), asked, "what is applied is what was planned, whatever becomes of the repository");
    assert_eq!(
        (site.outputs().await["sign"].as_str(), site.held().await),
        (Some("[hello]"), vec!["module.frame.terraform_data.sign".to_owned()])
    );
    site.wants(&[("motto", "bye")]).await;
    site.approved(site.planned().await).await;
    assert_eq!(site.outputs().await["sign"], "[bye]");
    assert_eq!(site.drift().await, (DriftState::Clean, Vec::new()));
    site.rolled_back(1).await;
    assert_eq!(site.outputs().await["sign"], "[hello]");
    site.destroyed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_module_may_be_is_refused_by_name() {
    let world = World::new(Database::Sqlite).await.shop().await;
    let server = GitServer::start(&world.installation.path("repositories")).await;
    let open = runner(&world, &server, &server.address.to_string(), &[]);
    let main: (&str, &[u8]) = ("main.tf", b"output \"a\" { value = 1 }");
    let plain = server.commit("plain", &[main]);
    server.git("plain", &["tag", "--annotate", "--message=first", "v1"]);
    let tag = server.git("plain", &["rev-parse", "v1"]);

    server.commit("link", &[main]);
    std::os::unix::fs::symlink("/etc/passwd", world.installation.path("repositories/link/secret.tf")).expect("a link");
    let link = server.commit("link", &[]);
    server.commit("nested", &[main]);
    let inner = format!("160000,{plain},inner");
    server.git("nested", &["update-index", "--add", "--cacheinfo", &inner]);
    server.git("nested", &["commit", "--quiet", "--message=nested"]);
    let nested = server.git("nested", &["rev-parse", "HEAD"]);
    let large = server.commit("large", &[main, ("film", &noise(5 << 20))]);
    let huge = server.commit("huge", &[main, ("film", &noise(80 << 20))]);
    let many: Vec<(String, Vec<u8>)> = (0..2001).map(|n| (format!("files/{n}"), Vec::new())).collect();
    let many: Vec<(&str, &[u8])> = many.iter().map(|(path, content)| (path.as_str(), content.as_slice())).collect();
    let many = server.commit("many", &many);
    let cases = server.commit("cases", &[main, ("Main.tf", b"")]);
    let elsewhere = format!("http://localhost:{}/plain", server.address.port());

    let table = [
        ("commit", server.url("plain"), "0123456789012345678901234567890123456789", "module-fetch-failed", "not our ref"),
        ("repository", server.url("nothing"), &plain, "module-fetch-failed", "not found"),
        ("private", server.url("private/plain"), &plain, "module-fetch-failed", "Username"),
        ("tag", server.url("plain"), &tag, "module-refused", "something else than a commit"),
        ("folder", server.url("plain"), &plain, "module-refused", "no folder `absent`"),
        ("link", server.url("link"), &link, "module-refused", "a link, secret.tf"),
        ("nested", server.url("nested"), &nested, "module-refused", "another repository in it, inner"),
        ("cases", server.url("cases"), &cases, "module-refused", "if case is ignored"),
        ("large", server.url("large"), &large, "module-too-large", "4194304 bytes are possible"),
        ("huge", server.url("huge"), &huge, "module-too-large", "64 MiB"),
        ("many", server.url("many"), &many, "module-too-large", "2001 files"),
        ("elsewhere", elsewhere, &plain, "module-refused", "not among the sources"),
        ("moved", server.url("moved/plain"), &plain, "module-fetch-failed", "302"),
    ];
    let mut sandbox = String::new();
    for (id, url, commit, code, why) in &table {
        let path = if *id == "folder" { "absent" } else { "." };
        sandbox = refusal(&world, id, blueprint(url, commit, path), code, why).await;
    }
    drop(open);

    // Nor does a source that is allowed lead where programs of this runner may not connect to.
    if !sandbox.contains("net") {
        return eprintln!("NOT SHOWN HERE: no way out but the runner's: this machine gives its user no network of its own");
    }
    let _closed = runner(&world, &server, "registry.example:443", &[]);
    refusal(&world, "closed", blueprint(&server.url("plain"), &plain, "."), "module-fetch-failed", "403").await;
}

/// Plans this blueprint, which fails so. Answers what the program was kept in.
async fn refusal(world: &World, id: &str, files: Vec<BlueprintFile>, code: &str, why: &str) -> String {
    world.publish(id, files).await;
    let site = Site::new(world, id, id, &[]).await;
    let run = site.ended(world.admin.runs().plan(format!("shop/dev/{id}")).speculative().send().await.expect("a run")).await;
    let error = run.error.clone().unwrap_or_else(|| panic!("{id}: {run:?}"));
    assert_eq!((run.outcome, error.code.as_str()), (Some(RunOutcome::Failed), code), "{id}: {error:?}");
    assert!(error.message.contains(why) && error.hint.is_some(), "{id}: {error:?}");
    run.sandbox.unwrap_or_default()
}

/// Bytes that nothing makes fewer, the same each time.
fn noise(size: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(size);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes
}
