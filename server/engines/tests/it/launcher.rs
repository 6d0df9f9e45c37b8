//! Programs without a sandbox, for tests of what an engine makes of them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use freehold_engines::{Exit, Launcher, Prepared, Process, Program, StepError};
use futures::future::{BoxFuture, FutureExt as _};
use tokio::process::Command;

/// Runs the program given as `$@`, and keeps in its record who it is and how it ended.
const SHELL: &str = r#"
record=$1; shift
echo $$ >"$record/shell.new"; mv "$record/shell.new" "$record/shell"
"$@" >"$record/stdout" 2>"$record/stderr" </dev/null &
echo $! >"$record/pid.new"; mv "$record/pid.new" "$record/pid"
wait $!
echo $? >"$record/exit.new"; mv "$record/exit.new" "$record/exit"
"#;

#[derive(Default)]
pub struct Direct;

struct Ready(Program);

struct Started {
    record: PathBuf,
    interrupted: AtomicBool,
}

impl Launcher for Direct {
    fn outlives(&self) -> Duration {
        Duration::from_secs(900)
    }

    fn prepare<'a>(&'a self, program: Program) -> BoxFuture<'a, Result<Box<dyn Prepared>, StepError>> {
        async move { Ok(Box::new(Ready(program)) as Box<dyn Prepared>) }.boxed()
    }

    fn adopt<'a>(&'a self, record: PathBuf) -> BoxFuture<'a, Option<Box<dyn Process>>> {
        async move { record.exists().then(|| started(record)) }.boxed()
    }
}

impl Prepared for Ready {
    fn cancel(self: Box<Self>) -> BoxFuture<'static, ()> {
        std::future::ready(()).boxed()
    }

    fn start(self: Box<Self>) -> BoxFuture<'static, Result<Box<dyn Process>, StepError>> {
        async move {
            let program = self.0;
            fs::create_dir_all(&program.record).expect("a record");
            let mut shell = Command::new("sh");
            shell.arg("-c").arg(SHELL).arg("sh").arg(&program.record).arg(&program.path).args(&program.arguments);
            shell.env_clear().envs(&program.environment).current_dir(&program.directory).process_group(0).stdin(Stdio::null());
            let child = shell.spawn().map_err(|error| StepError::new("launch-failed", error.to_string()))?;
            tokio::spawn(async move { child.wait_with_output().await });
            Ok(started(program.record))
        }
        .boxed()
    }
}

fn started(record: PathBuf) -> Box<dyn Process> {
    Box::new(Started { record, interrupted: AtomicBool::new(false) })
}

impl Process for Started {
    fn ended(&self) -> BoxFuture<'_, Exit> {
        async {
            loop {
                if let Some(code) = number(&self.record.join("exit")) {
                    return if code > 128 { Exit::Signal(code - 128) } else { Exit::Code(code) };
                }
                if number(&self.record.join("shell")).is_some_and(|pid| !Path::new(&format!("/proc/{pid}/exe")).exists()) {
                    return number(&self.record.join("exit")).map_or(Exit::Unknown, Exit::Code);
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        .boxed()
    }

    // Nobody ends what is not wanted here.
    fn claim(&self) {}

    fn interrupt(&self) {
        if !self.interrupted.swap(true, Ordering::SeqCst) {
            signal("INT", &self.record, false);
        }
    }

    fn confinement(&self) -> freehold_engines::Confinement {
        freehold_engines::Confinement::default()
    }

    fn kill(&self) {
        signal("KILL", &self.record, true);
    }
}

/// Ends the program with this record and the shell that would say so, as a loss of power does.
pub fn cut_off(record: &Path) {
    signal("KILL", record, true);
}

fn signal(name: &str, record: &Path, group: bool) {
    let Some(pid) = number(&record.join("pid")) else { return };
    let target = if group { format!("-{}", group_of(pid)) } else { pid.to_string() };
    std::process::Command::new("kill").args([&format!("-{name}"), "--", &target]).status().expect("kill is there");
}

fn group_of(pid: i32) -> i32 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    after.split_whitespace().nth(2).and_then(|group| group.parse().ok()).unwrap_or(pid)
}

fn number(path: &Path) -> Option<i32> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}
