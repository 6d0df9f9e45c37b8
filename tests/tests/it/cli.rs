//! The command line, as a person uses it.

use std::{
    cell::RefCell,
    path::Path,
    process::{Command, Output},
    time::Duration,
};

use freehold::RunPhase;
use freehold_tests::{Database, Database::Sqlite, Process, World, binary, endpoint, eventually};
use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::Value;

/// A person at a shell: variables, and everything the program ever said to them.
pub struct Shell {
    variables: Vec<(&'static str, String)>,
    said: RefCell<String>,
}

/// What one command did.
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Shell {
    pub fn of(world: &World, certificate: &str) -> Self {
        let file = |name: &str| world.installation.pki.path(name).display().to_string();
        let variables = vec![
            ("FREEHOLD_ENDPOINT", endpoint(world.replica.api)),
            ("FREEHOLD_CA", file("ca.crt")),
            ("FREEHOLD_CERT", file(&format!("{certificate}.crt"))),
            ("FREEHOLD_KEY", file(&format!("{certificate}.key"))),
            ("FREEHOLD_TENANT", "acme".to_owned()),
        ];
        Self { variables, said: RefCell::default() }
    }

    /// Their variables.
    pub fn variables(&self) -> impl Iterator<Item = (&'static str, String)> {
        self.variables.iter().cloned()
    }

    /// A command line; words are parted by spaces.
    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(binary());
        command.args(line.split_whitespace()).env_clear().env("HOME", "/nonexistent").envs(self.variables.iter().cloned());
        command
    }

    /// Runs a command line.
    pub fn run(&self, line: &str) -> Ran {
        let mut command = self.command(line);
        let Output { status, stdout, stderr } = command.output().expect("it starts");
        let text = |bytes| String::from_utf8(bytes).expect("it speaks UTF-8");
        let ran = Ran { code: status.code(), out: text(stdout), err: text(stderr) };
        for stream in [&ran.out, &ran.err] {
            assert!(!stream.contains('\x1b'), "no terminal, no colours: {line}: {stream}");
        }
        self.said.borrow_mut().push_str(&format!("{}{}", ran.out, ran.err));
        ran
    }

    /// Runs a command line that must work; answers what it printed.
    pub fn ok(&self, line: &str) -> String {
        let ran = self.run(line);
        assert_eq!(ran.code, Some(0), "{line}: {}{}", ran.out, ran.err);
        ran.out
    }

    /// Runs a command line that must fail with this code and say these words, and nothing where results go.
    pub fn fails(&self, line: &str, code: i32, words: &[&str]) {
        let ran = self.run(line);
        assert_eq!(ran.code, Some(code), "{line}: {}{}", ran.out, ran.err);
        for word in words {
            assert!(ran.err.contains(word), "`{word}` is missing: {line}: {}", ran.err);
        }
    }

    /// Nothing that the program ever said has this in it.
    pub fn never_said(&self, secret: &str) {
        assert!(!self.said.borrow().contains(secret), "{secret} was said");
    }

    /// The same with another value of a variable, or without it.
    fn with(&self, name: &'static str, value: Option<String>) -> Self {
        let mut variables: Vec<_> = self.variables.iter().filter(|(other, _)| *other != name).cloned().collect();
        variables.extend(value.map(|value| (name, value)));
        Self { variables, said: RefCell::default() }
    }
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"))
}

both_databases!(a_person_deploys_the_sample_from_the_command_line);

async fn a_person_deploys_the_sample_from_the_command_line(database: Database) {
    let world = World::new(database).await;
    let _runner = world.runner();
    let shell = Shell::of(&world, "admin");
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/samples/greeting");

    assert!(shell.ok("whoami").contains("platform/admin"));
    assert!(shell.ok("tenant create beta --display-name Beta").contains("tenants/beta"));
    assert!(shell.ok("tenant list").contains("beta"));
    shell.ok("project create shop");
    shell.ok("environment create shop/dev --kind dev");
    assert!(shell.ok("environment list shop").contains("shop/dev"));
    shell.ok("quota set deployments 3");
    let quotas = shell.ok("quota list");
    let deployments = quotas.lines().find(|line| line.starts_with("deployments")).expect("a line of it");
    assert!(deployments.contains('3'), "{quotas}");

    shell.ok("blueprint create greeting");
    let pushed = shell.ok(&format!("blueprint push {}", sample.display()));
    assert!(pushed.contains("draft of greeting: 2 files"), "{pushed}");
    shell.ok("blueprint publish greeting@1.0.0 --notes First");
    assert!(shell.ok("blueprint versions greeting").contains("1.0.0"));
    shell.ok("deployment create shop/dev/hello --blueprint greeting@1.0.0 --input name=world");

    let plan = shell.ok("deployment plan shop/dev/hello");
    assert!(plan.contains("Plan: 4 to create, 0 to change, 0 to destroy."), "{plan}");
    shell.fails("deployment apply shop/dev/hello", 2, &["there is no terminal to ask on", "--yes"]);
    let applied = shell.ok("deployment apply shop/dev/hello --yes --message First");
    assert!(applied.contains("Done: 4 created, 0 changed, 0 destroyed."), "{applied}");
    assert!(world.made("shop/dev/hello.txt").is_some_and(|text| text.contains("Hello world")));
    let again = shell.ok("deployment apply shop/dev/hello --yes");
    assert!(again.contains("No changes."), "{again}");
    let outputs = shell.ok("deployment outputs shop/dev/hello");
    assert!(outputs.contains("shop/dev/hello.txt") && outputs.contains("(sensitive)"), "{outputs}");

    let runs = json(&shell.ok("run list shop/dev/hello --output json"));
    let outcomes: Vec<_> = runs.as_array().expect("a list").iter().map(|run| run["outcome"].as_str().expect("a text")).collect();
    assert_eq!(outcomes, ["NO_CHANGES", "SUCCEEDED", "SUCCEEDED"], "newest first");
    let run = runs[1]["name"].as_str().expect("a name");
    assert!(shell.ok(&format!("run plan {run}")).contains("Plan: 4 to create"));
    assert!(shell.ok(&format!("run logs {run}")).contains("creation is done"));
    assert!(shell.ok("run list shop/dev/hello").contains("SUCCEEDED"));
    let audit = shell.ok("audit list");
    for word in ["PlanDeployment", "ApplyRun", "CreateDeployment"] {
        assert!(audit.contains(word), "{word} is missing in {audit}");
    }

    // Programs read the same in two languages.
    for command in ["deployment get shop/dev/hello", "quota list", "blueprint get greeting@1.0.0", "whoami"] {
        let as_json = json(&shell.ok(&format!("{command} --output json")));
        let as_yaml = shell.ok(&format!("{command} --output yaml"));
        assert_eq!(yaml(&as_yaml), as_json, "{command}: {as_yaml}");
    }

    shell.fails("deployment drift shop/dev/none", 3, &["RESOURCE_NOT_FOUND", "hint: "]);
    std::fs::write(world.installation.path("files/acme/shop/dev/hello.txt"), "vandalised").expect("a vandal");
    shell.fails("deployment drift shop/dev/hello", 1, &["not as it was made"]);
    assert!(shell.ok("deployment get shop/dev/hello").contains("DRIFTED"));
    let items = json(&shell.ok("drift list shop/dev --output json"));
    let item = items[0]["name"].as_str().expect("an item").to_owned();
    assert_eq!((&items[0]["state"], &items[0]["address"]), (&"OPEN".into(), &"file.note".into()));
    assert!(shell.ok("drift list").contains("vandalised"));
    assert!(shell.ok(&format!("drift ack {item} --note seen")).contains("ACKNOWLEDGED"));
    assert!(shell.ok(&format!("drift assign {item} --ticket OPS-1")).contains("ACKNOWLEDGED"));
    assert!(shell.ok(&format!("drift accept {item} --reason planned --days 30")).contains("ACCEPTED"));
    assert!(shell.ok("drift exception list").contains("planned"));
    assert_eq!(json(&shell.ok(&format!("drift show {item} --output json")))["ticket"], "OPS-1");
    assert!(!shell.ok("drift list --state open --class new").contains("vandalised"));
    shell.fails("drift exception create --path * --reason why --days 30", 2, &["say what it covers"]);
    let exception = json(&shell.ok("drift exception create --type file --path mode --reason umask --days 9 --output json"));
    shell.ok(&format!("drift exception delete {}", exception["uid"].as_str().expect("a uid")));
    assert!(shell.ok("drift policy shop/dev --every 6h --remediation propose").contains("21600s"));
    assert!(shell.ok("drift policy shop/dev/hello").contains("PROPOSE"), "as its environment says");
    shell.fails("drift policy shop/dev/hello --every 1m", 2, &["from one hour to 30 days"]);
    shell.ok("drift policy shop/dev --inherit");
    let destroyed = shell.ok("deployment destroy shop/dev/hello --yes");
    assert!(destroyed.contains("Done: 0 created, 0 changed, 4 destroyed."), "{destroyed}");
    assert_eq!(world.made("shop/dev/hello.txt"), None);
    shell.ok("deployment delete shop/dev/hello");
    assert!(shell.ok("completions bash").contains("complete -F"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_shown_to_who_asks_for_it_and_nowhere_else() {
    let world = World::new(Sqlite).await.with_sample().await;
    let _runner = world.runner();
    let shell = Shell::of(&world, "admin");
    shell.ok("deployment create shop/dev/hello --blueprint greeting@1.0.0 --input name=world");
    shell.ok("deployment apply shop/dev/hello --yes");
    let asked = shell.with("NO_COLOR", Some("1".to_owned()));
    let revealed = json(&asked.ok("deployment outputs shop/dev/hello --reveal --output json"));
    let password = revealed.as_array().expect("a list").iter().find(|output| output["name"] == "password").expect("it is there");
    let password = password["value"].as_str().expect("a text");
    assert_eq!(password.chars().count(), 24);

    for output in ["table", "json", "yaml"] {
        let run = json(&shell.ok("run list shop/dev/hello --output json"))[0]["name"].as_str().expect("a name").to_owned();
        for command in [
            "deployment get shop/dev/hello",
            "deployment plan shop/dev/hello",
            "deployment outputs shop/dev/hello",
            "state versions shop/dev/hello",
            "state get shop/dev/hello 1",
            "deployment revisions shop/dev/hello",
            "audit list",
            &format!("run get {run}"),
            &format!("run logs {run}"),
            &format!("run plan {run}"),
        ] {
            shell.ok(&format!("{command} --output {output}"));
        }
    }
    shell.ok("deployment destroy shop/dev/hello --yes");
    assert!(!shell.said.borrow().contains(password), "it was not asked for");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_exit_code_has_its_cause_and_every_error_its_next_step() {
    let world = World::new(Sqlite).await.with_sample().await;
    let _runner = world.runner();
    let shell = Shell::of(&world, "admin");
    world.person("acme", "vic", &["viewer"]).await;
    let viewer = Shell::of(&world, "acme-vic");

    shell.fails("project create Not_A_Name", 2, &["error: ", "project_id"]);
    shell.fails("project frobnicate", 2, &["frobnicate", "--help"]);
    shell.fails("quota set projects many", 2, &["give a number or `none`"]);
    shell.with("FREEHOLD_ENDPOINT", None).fails("whoami", 2, &["FREEHOLD_ENDPOINT", "--endpoint"]);
    shell.with("FREEHOLD_KEY", None).fails("whoami", 2, &["--key or FREEHOLD_KEY"]);
    shell.fails("project get none", 3, &["RESOURCE_NOT_FOUND", "hint: check the name and the tenant"]);
    shell.fails("tenant get nobody", 3, &["RESOURCE_NOT_FOUND"]);
    viewer.fails("project create mine", 4, &["PERMISSION_MISSING", "hint: ask for a role with tenants.projects.create"]);
    shell.ok("quota set projects 1");
    shell.fails("project create second", 5, &["QUOTA_EXCEEDED", "hint: 1 of 1 projects are used"]);
    shell.fails("project create shop", 6, &["RESOURCE_EXISTS", "hint: choose another name"]);
    shell.fails("project delete shop", 6, &["RESOURCE_IN_USE"]);
    let closed = std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port");
    let begun = std::time::Instant::now();
    shell.with("FREEHOLD_ENDPOINT", Some(endpoint(closed))).fails("whoami", 7, &[&closed.to_string()]);
    let plain = format!("http://{}", world.replica.api);
    let https = format!("use https:// for it: https://{}", world.replica.api);
    shell.with("FREEHOLD_ENDPOINT", Some(plain)).fails("whoami", 7, &[&https]);
    assert!(begun.elapsed() < Duration::from_secs(60), "nobody waits for ever: {:?}", begun.elapsed());

    let broken = "apiVersion: freehold.dev/v1\nengine: native\nresources:\n  thing:\n    type: http\n    \
                  create: { method: POST, url: \"http://127.0.0.1:1/\" }\n";
    world.publish("broken", vec![freehold::BlueprintFile::new("blueprint.yaml", broken)]).await;
    shell.ok("deployment create shop/dev/broken --blueprint broken@1.0.0");
    shell.fails("deployment apply shop/dev/broken --yes", 8, &["http.thing", "freehold run logs shop/dev/broken/"]);
    let run = json(&shell.ok("run list shop/dev/broken -o json"))[0]["name"].as_str().expect("a name").to_owned();
    shell.fails(&format!("run watch {run}"), 8, &["the run ended as FAILED"]);
    shell.fails(&format!("run approve {run} --yes"), 6, &["awaits no approval"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_changes_what_is_given_and_nothing_else() {
    let world = World::new(Sqlite).await.with_sample().await;
    let shell = Shell::of(&world, "admin");
    let labels = |noun: &str, name: &str| json(&shell.ok(&format!("{noun} get {name} -o json")))["labels"].clone();
    let name = world.installation.path("inputs.yaml");
    std::fs::write(&name, "# who\nname: Ada\nwords: 3\n").expect("the folder can be written");
    shell.ok(&format!("deployment create shop/dev/hello --blueprint greeting@1.0.0 --inputs {}", name.display()));
    for (noun, name) in [("tenant", "acme"), ("project", "shop"), ("environment", "shop/dev"), ("deployment", "shop/dev/hello")] {
        shell.ok(&format!("{noun} update {name} --label team=web --label tier=one"));
        shell.ok(&format!("{noun} update {name} --label tier=two --label empty="));
        assert_eq!(labels(noun, name), serde_json::json!({"team": "web", "tier": "two", "empty": ""}), "{noun}");
        shell.ok(&format!("{noun} update {name} --remove-label empty --remove-label team"));
        assert_eq!(labels(noun, name), serde_json::json!({"tier": "two"}), "{noun}");
        shell.ok(&format!("{noun} update {name} --clear-labels --label new=1"));
        assert_eq!(labels(noun, name), serde_json::json!({"new": "1"}), "{noun}");
        shell.fails(&format!("{noun} update {name}"), 2, &["--display-name", "--clear-labels"]);
    }
    let inputs = &json(&shell.ok("deployment update shop/dev/hello --input words=1 -o json"))["inputs"];
    assert_eq!(*inputs, serde_json::json!({"name": "Ada", "words": 1}));
    let hint = "hint: if the value of name is meant as a text, write --input 'name=\"12345\"'";
    shell.fails("deployment update shop/dev/hello --input name=12345", 2, &["inputs.name", hint]);
    shell.fails("environment create shop/prd --kind prd", 2, &["dev, test, staging, prod"]);
    let version = shell.ok("blueprint get greeting@1.0.0");
    assert!(version.contains("FILE") && version.contains("greeting.txt") && !version.contains("Welcome"), "{version}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_approve_leaves_the_run_to_who_may() {
    let world = World::new(Sqlite).await.with_sample().await;
    let _runner = world.runner();
    world.person("acme", "ada", &["tenant-admin"]).await;
    let (author, reviewer) = (Shell::of(&world, "acme-ada"), Shell::of(&world, "admin"));
    author.ok("environment create shop/live --kind prod");
    author.ok("deployment create shop/live/hello --blueprint greeting@1.0.0 --input name=world");

    let said = author.ok("deployment apply shop/live/hello --yes");
    let command = said.lines().find_map(|line| line.strip_prefix("To review and approve it: freehold ")).expect("a command");
    assert!(said.contains("by somebody else than its author") && said.contains("Plan: 4 to create"), "{said}");
    let refused = author.run(&format!("{command} --yes"));
    assert_eq!(refused.code, Some(4), "{}", refused.err);
    assert!(refused.err.contains("cannot approve it") && !refused.err.contains("hint: "), "{}", refused.err);
    let denied = author.ok("audit list");
    assert_eq!(denied.lines().filter(|line| line.contains("DENIED")).count(), 1, "apply has not even tried: {denied}");
    assert!(reviewer.ok(&format!("{command} --yes")).contains("Done: 4 created"));

    let started = author.ok("deployment destroy shop/live/hello --no-wait");
    let run = started.lines().find_map(|line| line.strip_prefix("run ")).expect("its name");
    assert!(started.contains("== QUEUED: a free runner"), "what it waits for: {started}");
    world.admin.runs().get(run).send().await.expect("it is there").wait_until(RunPhase::AwaitingApproval).await.expect("planned");
    assert!(reviewer.ok(&format!("run approve {run} --yes")).contains("4 destroyed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_stops_waiting_learns_what_becomes_of_the_run() {
    let world = World::new(Sqlite).await.with_sample().await;
    let shell = Shell::of(&world, "admin");
    shell.ok("deployment create shop/dev/hello --blueprint greeting@1.0.0 --input name=world");
    let left = async |line: &str| {
        let mut process = Process::start(shell.command(line), &world.installation.path(&line.replace(['/', ' '], "-")));
        let said = eventually("the run", || {
            let said = process.said();
            async move { if said.contains("== QUEUED") { Ok(said) } else { Err(said) } }
        })
        .await;
        let run = said.lines().find_map(|line| line.strip_prefix("run ")).expect("its name").to_owned();
        process.signal("INT");
        assert_eq!(process.wait().await.code(), Some(130), "{}", process.said());
        (run, process.said())
    };

    // Nobody works: what only looks goes on by itself, what was not decided on is in nobody's way.
    let (run, said) = left("deployment plan shop/dev/hello").await;
    assert!(
        said.contains(&format!("freehold run watch {run}")) && said.contains(&format!("freehold run cancel {run}")),
        "{said}"
    );
    shell.fails(&format!("run watch {run} --timeout 1s"), 9, &["the time is over, and the run goes on"]);
    shell.ok(&format!("run cancel {run}"));
    shell.fails(&format!("run watch {run}"), 8, &["the run ended as CANCELLED: somebody stopped it"]);
    let (run, said) = left("deployment apply shop/dev/hello --yes").await;
    assert!(said.contains("nothing was done; the run is cancelled"), "{said}");
    assert_eq!(json(&shell.ok(&format!("run get {run} -o json")))["outcome"], "CANCELLED");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_waiting_run_says_to_do_ends_its_wait() {
    let world = World::new(Sqlite).await.with_sample().await;
    world.person("acme", "ada", &["developer"]).await;
    let (shell, ada) = (Shell::of(&world, "admin"), Shell::of(&world, "acme-ada"));
    shell.ok("deployment create shop/dev/hello --blueprint greeting@1.0.0 --input name=world");
    let started = shell.ok("deployment apply shop/dev/hello --no-wait");
    let run = started.lines().find_map(|line| line.strip_prefix("run ")).expect("its name");
    let explain = || ada.ok(&format!("run explain {run}"));
    let advice = |said: &str| -> Vec<String> {
        said.lines().filter_map(|line| line.trim().strip_prefix("freehold ")).map(str::to_owned).collect()
    };

    let alone = explain();
    assert!(
        alone.contains("is QUEUED and waits for a runner of runnerPools/default") && alone.contains("RUNNERS_ABSENT"),
        "{alone}"
    );
    assert!(alone.contains("Likely start: unknown (no runner") && alone.contains("then it ends as EXPIRED"), "{alone}");
    shell.ok("quota set concurrent_runs 0");
    shell.ok("tenant suspend acme --reason unpaid");
    let stopped = explain();
    assert!(stopped.contains("Reason: TENANT_SUSPENDED") && stopped.contains("unpaid"), "{stopped}");
    let commands = advice(&stopped);
    assert_eq!(commands.len(), 2, "the tenant and the quota: {stopped}");
    commands.iter().for_each(|command| drop(shell.ok(command)));

    let _runner = world.runner();
    let waiting = world.admin.runs().get(run).send().await.expect("it is there");
    waiting.wait_until(RunPhase::AwaitingApproval).await.expect("planned");
    let undecided = explain();
    assert!(undecided.contains("Reason: APPROVAL") && undecided.contains("users/ada: may apply"), "{undecided}");
    let [command] = &advice(&undecided)[..] else { panic!("{undecided}") };
    assert!(ada.ok(&format!("{command} --yes")).contains("Done: 4 created"));
    assert!(explain().contains("has ended as SUCCEEDED"));
    let told = json(&ada.ok(&format!("run explain {run} -o json")));
    assert_eq!((told["phase"].as_str(), told["waiting_on"].is_null()), (Some("DONE"), true), "{told}");
}

#[test]
fn certificates_are_not_written_over_and_mistakes_are_told_as_everywhere() {
    let shell = Shell { variables: Vec::new(), said: RefCell::default() };
    let dir = tempfile::tempdir().expect("a temporary folder");
    let dir = dir.path().display();
    shell.ok(&format!("admin ca init --dir {dir}"));
    let issue = |identity: &str, more: &str| {
        format!("admin ca issue --dir {dir} {identity} --out-cert {dir}/x.crt --out-key {dir}/x.key {more}")
    };
    shell.fails(&issue("server/one", ""), 2, &["error: ", "--host"]);
    shell.fails(&issue("nobody/ada", ""), 2, &["error: ", "nobody/ada"]);
    shell.ok(&issue("platform/ada", ""));
    let key = || std::fs::read_to_string(format!("{dir}/x.key")).expect("a key");
    let before = key();
    shell.fails(&issue("platform/eve", ""), 2, &["error: ", "x.key holds a key already", "--force"]);
    assert_eq!(key(), before);
    shell.ok(&issue("platform/eve", "--force"));
    assert_ne!(key(), before);
    shell.fails(&format!("admin ca revoke --dir {dir} 77"), 1, &["error: no certificate has the serial number 77"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_says_where_to_connect_and_variables_win_over_it() {
    let world = World::new(Sqlite).await;
    world.person("acme", "ada", &["tenant-admin"]).await;
    let dir = world.installation.pki.path("");
    let profile = |name: &str, certificate: &str| {
        let url = endpoint(world.replica.api);
        let files = format!("ca = \"ca.crt\"\ncert = \"{certificate}.crt\"\nkey = \"{certificate}.key\"");
        format!("[profiles.{name}]\nendpoint = \"{url}\"\n{files}\ntenant = \"acme\"\n")
    };
    let config = dir.join("config.toml");
    let text = format!("default_profile = \"ops\"\n{}{}", profile("ops", "admin"), profile("ada", "acme-ada"));
    std::fs::write(&config, text).expect("the folder can be written");
    let shell = Shell { variables: vec![("FREEHOLD_CONFIG", config.display().to_string())], said: RefCell::default() };
    assert!(shell.ok("whoami").contains("platform/admin"), "paths are relative to the file");
    assert!(shell.ok("whoami --profile ada").contains("tenants/acme/users/ada"));
    let ada = shell.with("FREEHOLD_PROFILE", Some("ada".to_owned()));
    assert!(ada.ok("whoami").contains("tenants/acme/users/ada"));
    ada.ok("project create shop");
    ada.with("FREEHOLD_TENANT", Some("beta".to_owned())).fails("project get shop", 3, &["tenants/beta"]);
    shell.fails("whoami --profile eve", 2, &["no profile `eve`", "it has ada, ops"]);
    std::fs::write(&config, "[profiles.ops]\nendpont = \"x\"\n").expect("the folder can be written");
    shell.fails("whoami", 2, &["config.toml", "endpont"]);
    let nowhere = shell.with("FREEHOLD_CONFIG", Some("/nonexistent/config.toml".to_owned()));
    nowhere.fails("whoami", 2, &["/nonexistent/config.toml", "freehold --help"]);
}

/// Reads a document of YAML by somebody else's parser.
fn yaml(text: &str) -> Value {
    let mut events = Parser::new_from_str(text).map(|event| event.unwrap_or_else(|error| panic!("{error} in {text}")).0);
    let first = events.find(|event| !matches!(event, Event::StreamStart | Event::DocumentStart(_)));
    node(first.expect("a document"), &mut events)
}

fn node<'a>(event: Event<'a>, events: &mut impl Iterator<Item = Event<'a>>) -> Value {
    match event {
        Event::Scalar(text, ScalarStyle::Plain, ..) => serde_json::from_str(&text).unwrap_or_else(|_| text.into()),
        Event::Scalar(text, ..) => text.into(),
        Event::SequenceStart(..) => {
            let mut items = Vec::new();
            while let Some(item) = events.next().filter(|event| *event != Event::SequenceEnd) {
                items.push(node(item, events));
            }
            items.into()
        }
        Event::MappingStart(..) => {
            let mut fields = serde_json::Map::new();
            while let Some(key) = events.next().filter(|event| *event != Event::MappingEnd) {
                let key = node(key, events).as_str().expect("keys are texts").to_owned();
                let value = events.next().expect("a key has a value");
                fields.insert(key, node(value, events));
            }
            fields.into()
        }
        other => panic!("{other:?} is not for data"),
    }
}

const CAREFUL: &str = "
description: What is made needs two
rules:
  - name: two
    when: plan.create > 0 && environment.kind == 'DEV'
    require: { approvals: 2, from: [roles/approver, users/ada], expiry: 8h, comment_required: true }
";

#[tokio::test(flavor = "multi_thread")]
async fn two_people_approve_and_an_auditor_checks_it_with_files_alone() {
    let world = World::new(Sqlite).await.with_sample().await;
    let _runner = world.runner();
    for who in ["ada", "bob"] {
        world.person("acme", who, &["approver"]).await;
    }
    let (author, ada, bob) = (Shell::of(&world, "admin"), Shell::of(&world, "acme-ada"), Shell::of(&world, "acme-bob"));
    let file = |name: &str, text: &str| {
        let path = world.installation.path(name);
        std::fs::write(&path, text).expect("the folder can be written");
        path.display().to_string()
    };
    let careful = file("careful.yaml", CAREFUL);
    let wrong = file("wrong.yaml", &CAREFUL.replace("plan.create", "plan.creates"));
    author.fails(&format!("approval-policy create careful -f {wrong}"), 2, &["rules[0].when", "did you mean `create`"]);
    let odd = file("odd.yaml", &CAREFUL.replace("expiry: 8h", "expiry: soon"));
    author.fails(&format!("approval-policy create careful -f {odd}"), 2, &["rule two: expiry: write it as 90s, 10m or 1h"]);
    let made = author.ok(&format!("approval-policy create careful -f {careful}"));
    assert!(made.contains("users/ada") && made.contains("plan.create > 0"), "{made}");
    assert!(author.ok("approval-policy list").contains("careful"));
    author.ok("environment update shop/dev --approval-policy careful");
    author.fails("approval-policy delete careful", 6, &["RESOURCE_IN_USE"]);
    author.ok("deployment create shop/dev/hello --blueprint greeting@1.0.0 --input name=world");

    let said = author.ok("deployment apply shop/dev/hello --yes");
    assert!(said.contains("2 approvals by somebody else than its author of roles/approver"), "{said}");
    let run = json(&author.ok("run list shop/dev/hello -o json"))[0]["name"].as_str().expect("a name").to_owned();
    ada.fails(&format!("run approve {run} --yes"), 2, &["comment", "rule `two`"]);
    let approved = ada.ok(&format!("run approve {run} --yes --comment fine"));
    for words in ["An approval is of this and nothing else", "plan    sha256:", "review  sha256:", "Your approval is kept."] {
        assert!(approved.contains(words), "{words} is missing: {approved}");
    }
    ada.ok(&format!("run withdraw {run}"));
    let shown = bob.ok(&format!("run approvals {run}"));
    assert!(shown.contains("asks for 2 approvals") && shown.contains("does not count: it was withdrawn"), "{shown}");
    ada.ok(&format!("run approve {run} --yes --comment again"));
    author.fails(&format!("receipt get {run}"), 1, &["has not begun"]);
    assert!(bob.ok(&format!("run approve {run} --yes --comment fine")).contains("Done: 4 created"));

    let (receipts, keys) = (author.ok(&format!("receipt get {run}")), author.ok("receipt key get"));
    assert_eq!((receipts.lines().count(), author.ok("receipt export")), (2, receipts.clone()));
    assert!(author.ok("receipt list").contains("BEGUN") && author.ok("receipt key list").contains("KEY ID"));
    let (receipt, key) = (file("receipt.json", &receipts), file("key.pem", &keys));
    let auditor = Shell { variables: Vec::new(), said: RefCell::default() };
    let told = auditor.ok(&format!("receipt verify {receipt} --key {key}"));
    for words in
        ["approved by tenants/acme/users/ada", "approved by tenants/acme/users/bob", "rule `two`", "asked for 2 approvals"]
    {
        assert!(told.contains(words), "{words} is missing: {told}");
    }
    let altered = file("altered.json", &receipts.replacen('A', "B", 1));
    auditor.fails(&format!("receipt verify {altered} --key {key}"), 1, &["is not to be believed: line 1"]);
    auditor.fails(&format!("receipt verify {receipt}"), 2, &["--key FILE"]);
    author.ok("receipt key rotate");
    assert_eq!(author.ok("receipt key get").matches("BEGIN PUBLIC KEY").count(), 2);
}
