//! Child processes that do not outlive their test.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
};

/// The binary under test: `FREEHOLD_BIN`, or the one that was built beside this test.
///
/// # Panics
/// When there is none; `cargo xtask test` builds it.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("FREEHOLD_BIN") {
        return path.into();
    }
    let test = std::env::current_exe().expect("a test knows its own file");
    let built = test.ancestors().nth(2).map(|profile| profile.join("freehold")).expect("tests run from target/PROFILE/deps");
    assert!(
        built.exists(),
        "{} is missing; run `cargo build -p freehold-server`, or the tests by `cargo xtask test`",
        built.display()
    );
    built
}

/// A process that is killed when it is dropped.
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts it, with everything it says in a file.
    pub fn start(mut command: Command, log: &Path) -> Self {
        let file = File::options().create(true).append(true).open(log).expect("the log can be written");
        let errors = file.try_clone().expect("a file has a second handle");
        let child = command.stdin(Stdio::null()).stdout(file).stderr(errors).spawn();
        let child = child.unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        Self { child, log: log.to_owned() }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has said so far.
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be asked")
    }

    /// Ends it at once, as kill -9 does.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Sends it a signal, for example `TERM`, `STOP`, `CONT`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.id().to_string()).status();
        assert!(sent.is_ok_and(|status| status.success()), "{name} was not sent");
    }

    /// Waits for its end.
    pub async fn wait(&mut self) -> ExitStatus {
        crate::eventually("the end of a process", || {
            let ended = self.ended();
            async move { ended.ok_or("it still runs") }
        })
        .await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
