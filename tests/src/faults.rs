//! The binary that can be told to die at a point, and to do without a safeguard.

use std::{path::PathBuf, process::Command};

/// The binary built with the feature `faults`: `FREEHOLD_FAULTS_BIN`, or `freehold-faults` beside the one that ships.
///
/// # Panics
/// When there is none; `cargo xtask test` builds it.
pub fn faults_binary() -> PathBuf {
    if let Some(path) = std::env::var_os("FREEHOLD_FAULTS_BIN") {
        return path.into();
    }
    let test = std::env::current_exe().expect("a test knows its own file");
    let built =
        test.ancestors().nth(2).map(|profile| profile.join("freehold-faults")).expect("tests run from target/PROFILE/deps");
    assert!(
        built.exists(),
        "{} is missing; run `cargo build -p freehold-server --features faults`, copy target/debug/freehold there, and build \
         again without the feature; `cargo xtask test` does all that",
        built.display()
    );
    built
}

/// The same command of the binary with faults, with these variables: `FREEHOLD_FAULT` as `NAME:COUNT`, `FREEHOLD_MUTANT` as
/// `NAME,NAME`.
pub fn armed(command: &Command, variables: &[(&str, &str)]) -> Command {
    let mut armed = Command::new(faults_binary());
    armed.args(command.get_args()).env_remove("RUST_LOG").env_remove("FREEHOLD_FAULT").env_remove("FREEHOLD_MUTANT");
    armed.envs(variables.iter().copied());
    armed
}
