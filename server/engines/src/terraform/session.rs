//! Runs the program's commands in the folder of one phase of a run.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::Path,
    sync::{LazyLock, Mutex, PoisonError},
};

use freehold_domain::blueprints::Module;
use regex::{Match, Regex};
use serde_json::{Map, Value, json};

use super::{TerraformEngine, follower::Follower, plan_json::PlanJson, workspace::Workspace};
use crate::{Access, Exit, Level, Mode, Prepared, Process, Program, Redactor, Sink, StepError};

/// Of several overrides the last one wins, and `~` sorts after every letter.
const OVERRIDE: &str = "~freehold_override.tf.json";
/// How much of its memory a program that runs alone may waste, in percent of what it needs, before it collects what it does not
/// need any more (`GOGC`, <https://go.dev/doc/gc-guide>). Its start takes a quarter longer with the usual 100.
const ALONE: &str = "400";
/// Largest plan for people that is read.
const SHOWN: usize = 256 << 20;

/// One phase of a run.
pub(super) struct Session<'a> {
    pub engine: &'a TerraformEngine,
    pub workspace: Workspace,
    pub sink: &'a dyn Sink,
    pub redactor: Mutex<Redactor>,
}

/// What a phase begins with.
pub(super) struct Material<'m> {
    /// Files of the blueprint.
    pub files: Vec<(&'m str, &'m [u8])>,
    /// Values of the variables.
    pub variables: &'m Map<String, Value>,
    /// Checksums of the providers; empty when they are in the files, or nobody has any yet.
    pub lock: &'m [u8],
    /// The state; empty when there is none.
    pub state: &'m [u8],
}

/// What a plan was found to be.
pub(super) struct Found {
    /// The file that the program wrote.
    pub plan: Vec<u8>,
    /// Checksums of the providers.
    pub lock: Vec<u8>,
    /// The same for people.
    pub shown: PlanJson,
}

impl<'a> Session<'a> {
    /// A phase in this folder, in which these values are secret.
    pub fn new(engine: &'a TerraformEngine, workspace: Workspace, sink: &'a dyn Sink, secrets: &[Value]) -> Self {
        let mut redactor = Redactor::default();
        secrets.iter().for_each(|secret| redactor.learn(secret));
        let environments = [&engine.settings.read_environment, &engine.settings.write_environment];
        for value in environments.into_iter().flat_map(BTreeMap::values).filter_map(|value| value.to_str()) {
            redactor.learn_text(value);
        }
        Self { engine, workspace, sink, redactor: Mutex::new(redactor) }
    }

    /// Lays everything out in an empty folder and has the providers installed.
    pub async fn prepare(&self, material: &Material<'_>) -> Result<(), StepError> {
        let workspace = &self.workspace;
        workspace.create()?;
        for (path, content) in material.files.iter().filter(|(path, _)| !workspace.is_kept(path)) {
            workspace.write(&workspace.files().join(path), content)?;
        }
        let lock = workspace.module().join(".terraform.lock.hcl");
        if !material.lock.is_empty() {
            workspace.write(&lock, material.lock)?;
        }
        if !material.state.is_empty() {
            workspace.write(&workspace.state(), material.state)?;
        }
        let variables = serde_json::to_vec(material.variables).expect("maps with text keys always have a JSON form");
        workspace.write(&workspace.own().join("variables.json"), &variables)?;
        workspace.write(&workspace.own().join("cli.tfrc"), self.configuration().as_bytes())?;
        if needs(&workspace.module(), &BACKEND)? {
            // The state is kept here and nowhere else, whatever the module says.
            let local = json!({ "terraform": { "backend": { "local": {} } } });
            workspace.write(&workspace.module().join(OVERRIDE), local.to_string().as_bytes())?;
        }
        // What only has resources of the program itself needs no providers, and would be none the wiser.
        if needs(&workspace.module(), &INSTALLED)? {
            let mut arguments = vec!["init", "-input=false", "-no-color"];
            if lock.exists() {
                arguments.push("-lockfile=readonly");
            }
            self.command("init", &arguments, "init-failed").await.map_err(|error| self.told_of_providers(error))?;
        }
        Ok(())
    }

    /// Makes a plan in the folder that was prepared.
    pub async fn plan(&self, mode: Mode) -> Result<Found, StepError> {
        let own = self.workspace.own();
        let (out, variables) = (own.join("plan"), own.join("variables.json"));
        let (out_argument, variables) = (format!("-out={}", out.display()), format!("-var-file={}", variables.display()));
        let mut arguments = vec!["plan", "-json", "-input=false", "-lock=false", &out_argument, &variables];
        match mode {
            Mode::Apply => {}
            Mode::Destroy => arguments.push("-destroy"),
            Mode::Drift => arguments.push("-refresh-only"),
        }
        let out = out.display().to_string();
        // It is made ready while the plan is made.
        let show = ["show", "-json", "-no-color", &out];
        let (planned, show) =
            tokio::join!(self.command("plan", &arguments, "plan-failed"), self.ready("show", &show, Access::Read));
        let plan = planned.and_then(|()| self.workspace.read(Path::new(&out)));
        let plan =
            plan.and_then(|plan| plan.ok_or_else(|| StepError::new("plan-failed", "the program wrote no plan").retryable()));
        let (plan, show) = match plan {
            Ok(plan) => (plan, show?),
            Err(error) => {
                give_up(show).await;
                return Err(error);
            }
        };
        let process = self.start(show).await?;
        let exit = process.ended().await;
        let shown = self.workspace.read(&self.workspace.record("show").join("stdout"))?.unwrap_or_default();
        let unreadable = |why: String| StepError::new("plan-failed", format!("the plan cannot be read: {why}"));
        if exit != Exit::Code(0) {
            return Err(unreadable(format!("`show` ended with {}", told(&exit))));
        }
        if shown.len() > SHOWN {
            return Err(unreadable(format!("it has {} bytes; {SHOWN} are possible", shown.len())));
        }
        let shown: PlanJson = serde_json::from_slice(&shown).map_err(|error| unreadable(error.to_string()))?;
        shown.learn_secrets(&mut self.redactor.lock().unwrap_or_else(PoisonError::into_inner));
        let lock = self.workspace.read(&self.workspace.module().join(".terraform.lock.hcl"))?.unwrap_or_default();
        Ok(Found { plan, lock, shown })
    }

    /// Takes a resource that there is into the state, by the name that its provider has for it.
    pub async fn import(&self, number: usize, address: &str, id: &str) -> Result<(), StepError> {
        let variables = format!("-var-file={}", self.workspace.own().join("variables.json").display());
        let arguments = ["import", "-input=false", "-no-color", "-lock=false", "-backup=-", &variables, "--", address, id];
        self.command(&format!("import-{number}"), &arguments, "import-failed").await
    }

    /// Makes the program ready.
    pub async fn ready(&self, name: &str, arguments: &[&str], access: Access) -> Result<Box<dyn Prepared>, StepError> {
        let settings = &self.engine.settings;
        let own = self.workspace.own();
        let mut environment = match access {
            Access::Read => settings.read_environment.clone(),
            Access::Write => settings.write_environment.clone(),
        };
        if !self.workspace.module().join(".terraform/providers").exists() {
            // Not for providers, which would have it from their program: of those there may be many, and large ones.
            environment.entry("GOGC".to_owned()).or_insert_with(|| ALONE.into());
        }
        let fixed: [(&str, OsString); 9] = [
            ("PATH", "/usr/local/bin:/usr/bin:/bin".into()),
            ("HOME", own.clone().into()),
            // In a sandbox it is the program's own. Providers make sockets in it, whose whole path may have 107 bytes (unix(7)),
            // so it cannot be inside of the folder of a run.
            ("TMPDIR", "/tmp".into()),
            ("TF_IN_AUTOMATION", "1".into()),
            ("TF_INPUT", "0".into()),
            ("CHECKPOINT_DISABLE", "1".into()),
            // Runs would spoil it for each other: nothing keeps two of them from writing to it at once.
            ("TF_PLUGIN_CACHE_DIR", "".into()),
            ("TF_CLI_CONFIG_FILE", own.join("cli.tfrc").into()),
            ("LANG", "C.UTF-8".into()),
        ];
        environment.extend(fixed.map(|(name, value)| (name.to_owned(), value)));
        let program = Program {
            path: settings.program.path.clone(),
            arguments: arguments.iter().map(OsString::from).collect(),
            environment,
            folder: self.workspace.files(),
            directory: self.workspace.module(),
            readable: settings.provider_mirror.iter().cloned().collect(),
            record: self.workspace.record(name),
            disk: None,
            access,
        };
        self.engine.launcher.prepare(program).await
    }

    /// Starts it.
    pub async fn start(&self, program: Box<dyn Prepared>) -> Result<Box<dyn Process>, StepError> {
        let process = program.start().await?;
        self.sink.confined(process.confinement());
        Ok(process)
    }

    /// Runs a command to its end, with its output in the log; a failure has this code.
    async fn command(&self, name: &str, arguments: &[&str], code: &str) -> Result<(), StepError> {
        let process = self.start(self.ready(name, arguments, Access::Read).await?).await?;
        let mut follower = Follower::new(process, &self.workspace.record(name), self.sink, &self.redactor, 0);
        match follower.finish().await {
            _ if follower.was_left() => {
                // It changes nothing, and is in the way of who begins anew.
                follower.kill().await;
                Err(StepError::new("lease-lost", "this runner was given the run anew"))
            }
            Exit::Code(0) => Ok(()),
            _ if follower.was_interrupted() => Err(StepError::new("cancelled", "somebody asked it to stop")),
            exit => Err(self.failure(&follower, &exit, code)),
        }
    }

    /// Why a program failed, in one error with everything that it named.
    pub fn failure(&self, follower: &Follower<'_>, exit: &Exit, code: &str) -> StepError {
        let error = match follower.failures.as_slice() {
            [] if follower.last_words.is_empty() => StepError::new(code, format!("the program ended with {}", told(exit))),
            [] => StepError::new(code, follower.last_words.join("\n")),
            [first, rest @ ..] => {
                let mut error = first.error(code);
                for other in rest {
                    error.message.push_str(&format!("; {}", other.text()));
                }
                error
            }
        };
        let error = match exit {
            Exit::Limit(limit) => {
                StepError { message: limit.clone(), ..error }.hint("make the module smaller, or raise the limit")
            }
            Exit::Signal(_) | Exit::Unknown => StepError { message: format!("{} ({})", error.message, told(exit)), ..error },
            Exit::Code(_) => error,
        };
        let redactor = self.redactor.lock().unwrap_or_else(PoisonError::into_inner);
        StepError { message: redactor.redact(&error.message), ..error }
    }

    /// What to do when something cannot be installed.
    fn told_of_providers(&self, error: StepError) -> StepError {
        if error.code != "init-failed" || !error.hint.is_empty() {
            return error;
        }
        error.hint(match &self.engine.settings.provider_mirror {
            Some(_) => {
                "this runner installs providers from its mirror alone: have its operator add this one with `providers mirror`, use \
                 one that is there, or make a new plan if the mirror has changed since this one"
            }
            None => "look at what the runner may reach (`--egress`), or give it a folder of providers (`--provider-mirror`)",
        })
    }

    /// Says something in the log of the run.
    pub fn log(&self, level: Level, text: &str) {
        self.sink.log(level, "", text);
    }

    /// The program's own configuration: where providers come from.
    fn configuration(&self) -> String {
        match &self.engine.settings.provider_mirror {
            Some(mirror) => {
                let path = Value::from(mirror.display().to_string());
                format!(
                    "disable_checkpoint = true\nprovider_installation {{\n  filesystem_mirror {{\n    path = {path}\n  }}\n}}\n"
                )
            }
            None => "disable_checkpoint = true\n".to_owned(),
        }
    }
}

/// Nothing of a program is left that was made ready and is not wanted.
pub(super) async fn give_up(prepared: Result<Box<dyn Prepared>, StepError>) {
    if let Ok(prepared) = prepared {
        prepared.cancel().await;
    }
}

/// How a program ended, in words.
fn told(exit: &Exit) -> String {
    match exit {
        Exit::Code(code) => format!("code {code}"),
        Exit::Signal(signal) => format!("signal {signal}"),
        Exit::Limit(limit) => limit.clone(),
        Exit::Unknown => "nobody knows what: it is gone, as after a loss of power".to_owned(),
    }
}

/// Blocks that say where the state is kept.
static BACKEND: LazyLock<Regex> = LazyLock::new(|| pattern(r#"\b(?:backend\s*"|cloud\s*\{)"#));
/// Blocks that need something installed first; of resources, their types.
static INSTALLED: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r#"\b(?:backend|cloud|module|provider|required_providers)\b\s*["{]|\b(?:resource|data|ephemeral)\s*"([^"]*)"#)
});

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("a constant pattern")
}

/// Whether the module has, or may have, such a block. Resources of the program's own types are none.
///
/// What only looks like one, in a comment say, is taken for one: the price is an `init` too many.
fn needs(module: &Path, blocks: &Regex) -> Result<bool, StepError> {
    let unreadable = |error: std::io::Error| StepError::new("folder-unusable", format!("the module cannot be read: {error}"));
    for file in std::fs::read_dir(module).map_err(unreadable)? {
        let path = file.map_err(unreadable)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.ends_with(".tf.json") || name.ends_with(".tofu.json") {
            return Ok(true);
        }
        if name.ends_with(".tf") || name.ends_with(".tofu") {
            let text = std::fs::read(&path).map_err(unreadable)?;
            let text = String::from_utf8_lossy(&text);
            let own = |kind: Option<Match<'_>>| kind.is_some_and(|kind| kind.as_str().starts_with("terraform_"));
            if blocks.captures_iter(&text).any(|found| !own(found.get(1))) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// The module of a document, which the engine's rules demand.
pub(super) fn module_of(document: &freehold_domain::blueprints::Document) -> Result<&Module, StepError> {
    document.module().ok_or_else(|| StepError::new("blueprint-invalid", "the blueprint names no module; write `module: .`"))
}
