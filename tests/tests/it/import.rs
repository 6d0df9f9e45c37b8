//! The way of a user of Terraform: a folder that was applied by hand becomes a blueprint and a deployment.

use std::time::Duration;

use freehold::{DeploymentState, RunPhase};
use freehold_tests::{Database, World, binary, terraform};
use tokio::{process::Command, time::timeout};

use crate::{
    Sqlite,
    cli::Shell,
    state::{Terraform, resources},
};

const MODULE: &str = r#"
variable "name" {
  type        = string
  description = "Whose it is"
}
variable "replicas" {
  type    = number
  default = 2
}
variable "Labels" {
  type    = map(string)
  default = {}
}
variable "size" {
  type    = object({ cpu = number, memory = optional(string, "1Gi") })
  default = { cpu = 1 }
}
variable "anything" { default = ["a", 1] }
variable "token" {
  type      = string
  sensitive = true
}
locals { all = toset([for number in range(var.replicas) : tostring(number)]) }
resource "terraform_data" "first" { input = var.name }
resource "terraform_data" "each" {
  for_each = local.all
  input    = { first = terraform_data.first.output, labels = var.Labels, size = var.size, anything = var.anything }
}
resource "terraform_data" "secret" { input = sha256(var.token) }
output "name" { value = terraform_data.first.output }
"#;

/// A folder with this module, applied by hand.
async fn applied(world: &World, name: &str) -> Terraform {
    let terraform = Terraform::new(world, name, MODULE);
    let write = |file: &str, text: &str| std::fs::write(terraform.dir().join(file), text).expect("a file");
    write("terraform.tfvars", "name = \"one\"\nLabels = { team = \"web\" }\nreplicas = \"3\"\n");
    write("secret.auto.tfvars", "token = \"canary-of-the-token\"\n");
    terraform.ok("init -input=false").await;
    // As providers would have left it.
    write(".terraform.lock.hcl", "# kept\n");
    terraform.ok("apply -input=false -auto-approve").await;
    terraform
}

async fn a_folder_that_was_applied_by_hand_goes_on_here(database: Database) {
    let world = World::new(database).await.shop().await;
    let _runner = world.runner();
    let shell = Shell::of(&world, "admin");
    let by_hand = applied(&world, "by-hand").await;
    let dir = by_hand.dir().display().to_string();

    let said = shell.ok(&format!("import terraform {dir} shop/dev/web --timeout 100s"));
    assert!(said.contains("The plan is empty") && said.contains("shop/dev/web manages 5 resources"), "{said}");
    let web = world.admin.deployments().get("shop/dev/web").send().await.expect("it is there");
    assert_eq!((web.state, web.observed_revision), (DeploymentState::Active, 1));
    let version = world.admin.blueprints().get_version("web@1.0.0").send().await.expect("it is published");
    let paths: Vec<&str> = version.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, [".terraform.lock.hcl", "blueprint.yaml", "main.tf"]);
    assert!(version.files.iter().all(|file| !String::from_utf8_lossy(&file.content).contains("canary")));
    let before = resources(&world.admin).await;

    // A change through here changes what is there: nothing is made twice, nothing anew.
    shell.ok("deployment update shop/dev/web --input name=two");
    let applied = shell.ok("deployment apply shop/dev/web --yes --timeout 100s");
    assert!(applied.contains("Done: 0 created, 4 changed, 0 destroyed."), "{applied}");
    assert_eq!(resources(&world.admin).await, before, "with the ids they had");

    // The state can be taken out, put back, and put back to what it was.
    let file = world.installation.path("web.tfstate");
    assert!(shell.ok("state resources shop/dev/web").contains("terraform_data.each[\"0\"]"));
    shell.ok(&format!("state pull shop/dev/web --to {}", file.display()));
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).expect("a file").permissions());
    assert_eq!(mode & 0o077, 0, "it is nobody else's");
    let mut state: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).expect("a file")).expect("JSON");
    state["serial"] = (state["serial"].as_u64().expect("a number") + 1).into();
    std::fs::write(&file, state.to_string()).expect("a file");
    shell.ok("state lock shop/dev/web --id mine");
    shell.ok(&format!("state push shop/dev/web {} --lock mine", file.display()));
    shell.ok("state unlock shop/dev/web mine");
    state["terraform_version"] = "0.0.1".into();
    std::fs::write(&file, state.to_string()).expect("a file");
    shell.fails(&format!("state push shop/dev/web {}", file.display()), 6, &["has a higher one"]);
    assert!(shell.ok("state break-lock shop/dev/web --reason cleaning --yes").contains("nobody holds"), "push lets go");
    let restored = shell.ok("state restore shop/dev/web 1 --yes --timeout 100s");
    assert!(
        restored.contains("Version 1 of the state is written again") && restored.contains("The state is restored"),
        "{restored}"
    );
    let applied = shell.ok("deployment apply shop/dev/web --yes --timeout 100s");
    assert!(applied.contains("Done: 0 created, 4 changed, 0 destroyed."), "{applied}");

    // And so does a change of the module, whose folder is that of the blueprint by now.
    std::fs::write(by_hand.dir().join("more.tf"), "resource \"terraform_data\" \"more\" {}\n").expect("a file");
    shell.ok(&format!("blueprint push {dir} --name web"));
    shell.ok("blueprint publish web@1.1.0");
    shell.ok("deployment update shop/dev/web --blueprint web@1.1.0");
    let applied = shell.ok("deployment apply shop/dev/web --yes --timeout 100s");
    assert!(applied.contains("Done: 1 created, 0 changed, 0 destroyed."), "{applied}");
    shell.fails(&format!("import terraform {dir} shop/dev/web"), 1, &["web@1.0.0 is published already"]);
    shell.never_said("canary-of-the-token");
}

both_databases!(a_folder_that_was_applied_by_hand_goes_on_here);

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_taken_over_is_told_before_anything_is_made() {
    let world = World::new(Sqlite).await.shop().await;
    let _runner = world.runner();
    let shell = Shell::of(&world, "admin");
    let refused = |name: &str, text: &str, options: &str, words: &[&str]| {
        let terraform = Terraform::new(&world, name, text);
        shell.fails(&format!("import terraform {} shop/dev/{name} {options}", terraform.dir().display()), 2, words);
    };
    refused("remote", "terraform {\n  backend \"s3\" {}\n}\n", "", &["`s3`", "state pull", "--state FILE"]);
    refused("cloud", "terraform {\n  cloud {\n  }\n}\n", "", &["`cloud`", "--state FILE"]);
    refused("new", "resource \"terraform_data\" \"a\" {}\n", "", &["terraform.tfstate", "--state FILE"]);
    refused("outside", "module \"x\" { source = \"../x\" }\n", "", &["outside of the folder"]);
    refused("broken", "variable \"x\" {\n", "", &["main.tf"]);
    refused("missing", "variable \"x\" { type = string }\n", "--state /dev/null", &["`x`", "--var", "terraform.tfvars"]);
    let made = world.admin.deployments().list("shop/dev").collect_up_to(10).await.expect("a list");
    assert!(made.is_empty() && world.admin.blueprints().list().collect_up_to(10).await.expect("a list").is_empty());

    // What is not as the module says is shown, and nothing is done about it.
    let by_hand = applied(&world, "web").await;
    std::fs::write(by_hand.dir().join("terraform.tfvars"), "name = \"other\"\nLabels = { team = \"web\" }\nreplicas = 3\n")
        .expect("a file");
    let ran = shell.run(&format!("import terraform {} shop/dev/web --timeout 100s", by_hand.dir().display()));
    assert_eq!(ran.code, Some(1), "{}{}", ran.out, ran.err);
    assert!(ran.err.contains("the plan is not empty") && ran.out.contains("terraform_data.first"), "{}{}", ran.out, ran.err);
    let runs = world.admin.runs().list("shop/dev/web").collect_up_to(10).await.expect("a list");
    assert!(runs.len() == 1 && runs[0].phase == RunPhase::Done && !runs[0].changed, "{runs:?}");
    let kept = world.admin.deployments().get("shop/dev/web").send().await.expect("it is there");
    assert_eq!((kept.state, resources(&world.admin).await.len()), (DeploymentState::Partial, 5));
    // With what is true it goes through, from where it was.
    shell.ok("deployment update shop/dev/web --input name=one");
    assert!(shell.ok("deployment apply shop/dev/web --yes --timeout 100s").contains("No changes"));
    shell.never_said("canary-of-the-token");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_readme_leads_from_terraform_to_here() {
    let readme = include_str!("../../../README.md");
    let section = readme.split("## From Terraform").nth(1).expect("a section");
    let lines = section.split("```sh\n").nth(1).and_then(|rest| rest.split("```").next()).expect("lines to paste");
    assert!(lines.lines().count() < 10, "{lines}");

    let world = World::new(Sqlite).await.shop().await;
    let _runner = world.runner();
    applied(&world, "infra").await;
    let programs = world.installation.path("programs");
    std::fs::create_dir(&programs).expect("a folder");
    for (name, program) in [("freehold", binary()), ("terraform", terraform())] {
        std::os::unix::fs::symlink(program, programs.join(name)).expect("a link");
    }
    let mut shell = Command::new("sh");
    shell.args(["-e", "-c", lines]).current_dir(world.installation.dir.path()).kill_on_drop(true).env_clear();
    shell.env("PATH", format!("{}:/usr/bin:/bin", programs.display())).env("HOME", "/nonexistent").env("CHECKPOINT_DISABLE", "1");
    shell.envs(Shell::of(&world, "admin").variables()).stdin(std::process::Stdio::null());
    let ran = timeout(Duration::from_secs(200), shell.output()).await.expect("it ends in time").expect("it starts");
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{out}{err}");
    for words in ["The plan is empty", "No changes. What is there is as it should be.", "graph LR", "terraform_data.first"] {
        assert!(out.contains(words), "`{words}` is missing: {out}{err}");
    }
}
