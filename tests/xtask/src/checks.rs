//! Everything that must hold before a change lands, in the order in which it fails soonest.

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    time::Instant,
};

use crate::{
    Failure,
    tools::{self, BUF_CLI, DENY, GRPC_CURL, POSTGRES},
    workspace::{cargo, root, run, shown, target},
};

/// Makes sure of the tools, then runs every check and every test. The last line is `N passed, N failed`.
pub fn test() -> Result<(), Failure> {
    let begun = Instant::now();
    println!("==> what the tests need");
    let [_, grpcurl, buf] = tools::ensure([&POSTGRES, &GRPC_CURL, &BUF_CLI])?;
    println!("    here after {:.1} s", begun.elapsed().as_secs_f64());

    let mut lint = Command::new(&buf);
    lint.args(["lint", "proto"]).current_dir(root());
    let mut documentation = cargo(&["doc", "--workspace", "--no-deps", "--quiet"]);
    documentation.env("RUSTDOCFLAGS", "-D warnings");
    let checks = [
        cargo(&["fmt", "--all", "--check"]),
        lint,
        cargo(&["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]),
        // All targets, because that is what the tests build too: of fewer, the dependencies would have other features, and be
        // built twice.
        cargo(&["build", "--workspace", "--all-targets", "--quiet"]),
        documentation,
    ];
    let steps = checks.len() + 1;
    for (index, mut check) in checks.into_iter().enumerate() {
        timed(index + 1, steps, &mut check, run)?;
    }
    let mut tests = cargo(&["test", "--workspace", "--no-fail-fast"]);
    tests.env("FREEHOLD_BIN", target().join("debug/freehold")).env("FREEHOLD_GRPCURL", grpcurl).env("FREEHOLD_BUF", buf);
    let count = timed(steps, steps, &mut tests, counted)?;
    println!("All checks in {:.0} s.", begun.elapsed().as_secs_f64());
    println!("{} passed, {} failed", count.passed, count.failed);
    count.verdict()
}

/// Checks the dependencies by deny.toml.
pub fn deny() -> Result<(), Failure> {
    let deny = DENY.ensure()?;
    run(Command::new(&deny).args(["--workspace", "check", "bans", "licenses", "sources"]).current_dir(root()))?;
    let mut advisories = Command::new(&deny);
    advisories.args(["--workspace", "check", "advisories"]).current_dir(root());
    run(&mut advisories).map_err(|failure| {
        format!("{failure}\nbans, licences and sources are as they should be; the advisories are open, or their database cannot be fetched here").into()
    })
}

/// Compares the contract with the one of a commit.
pub fn breaking(against: &str) -> Result<(), Failure> {
    let buf = BUF_CLI.ensure()?;
    let against = format!(".git#ref={against},subdir=proto");
    run(Command::new(buf).args(["breaking", "proto", "--against", &against]).current_dir(root()))
}

fn timed<T>(
    step: usize,
    steps: usize,
    command: &mut Command,
    go: impl FnOnce(&mut Command) -> Result<T, Failure>,
) -> Result<T, Failure> {
    println!("==> [{step}/{steps}] {}", shown(command));
    let begun = Instant::now();
    let result = go(command);
    println!("    {} after {:.1} s", if result.is_ok() { "done" } else { "FAILED" }, begun.elapsed().as_secs_f64());
    result
}

/// What the test harness counted.
#[derive(Debug, Default, PartialEq, Eq)]
struct Count {
    passed: u64,
    failed: u64,
    ignored: u64,
    /// Ended well, as cargo sees it.
    sound: bool,
}

impl Count {
    /// Adds a line such as `test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s`.
    fn add(&mut self, line: &str) {
        let Some((_, numbers)) = line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". ")) else { return };
        for part in numbers.split(';') {
            let Some((number, what)) = part.trim().split_once(' ') else { continue };
            let number = number.parse().unwrap_or(0);
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }

    fn verdict(&self) -> Result<(), Failure> {
        match self {
            Self { failed: 1.., .. } => Err("tests failed".into()),
            Self { sound: false, .. } => {
                Err("cargo test ended badly: something did not build, or a test ended its process".into())
            }
            Self { ignored: 1.., .. } => {
                Err(format!("{} tests are ignored; a test that cannot run fails and says why", self.ignored).into())
            }
            Self { passed: 0, .. } => Err("there are no tests".into()),
            _ => Ok(()),
        }
    }
}

/// Runs the tests, shows what they print, and counts.
fn counted(tests: &mut Command) -> Result<Count, Failure> {
    let mut child = tests.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let mut count = Count::default();
    for line in BufReader::new(child.stdout.take().ok_or("the output of the tests is not a pipe")?).lines() {
        let line = line?;
        println!("{line}");
        count.add(&line);
    }
    count.sound = child.wait()?.success();
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_added_up_and_judged() {
        let mut count = Count { sound: true, ..Count::default() };
        assert!(count.verdict().is_err(), "no test at all");
        count.add("test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 3 filtered out; finished in 0.01s");
        count.add("running 5 tests; 9 failed");
        count.add("test result: ok. 30 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 2.01s");
        assert_eq!(count, Count { passed: 42, failed: 0, ignored: 0, sound: true });
        assert!(count.verdict().is_ok());
        count.add("test result: ok. 1 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 2.01s");
        assert!(count.verdict().is_err(), "an ignored test is a skipped one");
        count.add("test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 2.01s");
        assert_eq!((count.passed, count.failed), (44, 2));
        assert!(count.verdict().is_err());
    }

    #[test]
    fn tests_that_did_not_finish_are_no_success() {
        let mut count = Count::default();
        count.add("test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s");
        assert!(count.verdict().is_err());
    }
}
