//! Where the repository is, and how other programs are started in it.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use crate::Failure;

/// The folder with the workspace's Cargo.toml.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("the crate is two folders below the root").to_owned()
}

/// Where cargo builds to.
pub fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |dir| root().join(dir))
}

/// Where tools are installed: outside of what is committed, kept by caches of `target`.
pub fn tools() -> PathBuf {
    target().join("tools")
}

/// Cargo in the root with these words, as if a person had typed it in a fresh shell: what the outer `cargo run` says about this
/// crate would rebuild dependencies whose build scripts read it, and what is set for the command line is not meant for tests.
pub fn cargo(arguments: &str) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in env::vars_os() {
        let foreign = ["CARGO_MANIFEST", "CARGO_PKG", "CARGO_CRATE", "CARGO_BIN", "CARGO_PRIMARY", "FREEHOLD_"];
        if foreign.iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
            command.env_remove(name);
        }
    }
    command.current_dir(root()).args(arguments.split(' '));
    command
}

/// A program as a person would type it, for messages.
pub fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = [program].into_iter().chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

/// Runs a program to its end with its output on ours.
///
/// # Errors
/// When it cannot be started, or ends badly.
pub fn run(command: &mut Command) -> Result<(), Failure> {
    let status = command.status().map_err(|error| format!("{} cannot be started: {error}", shown(command)))?;
    if status.success() { Ok(()) } else { Err(format!("{} failed ({status})", shown(command)).into()) }
}

/// What a program prints, or none when it cannot be started or ends badly.
pub fn answer(command: &mut Command) -> Option<String> {
    let Output { status, stdout, stderr } = command.output().ok()?;
    let text = if stdout.is_empty() { stderr } else { stdout };
    status.success().then(|| String::from_utf8_lossy(&text).trim().to_owned())
}

/// The first program of this name on the path.
pub fn on_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}
