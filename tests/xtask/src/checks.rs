//! Everything that must hold before a change lands, in the order in which it fails soonest.

use std::{
    convert::Infallible,
    env, fs,
    io::{BufRead as _, BufReader},
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use crate::{
    Failure,
    tools::{self, AWS_PROVIDER, BAO, BUF_CLI, DENY, GRPC_CURL, MOTO, NATS, POSTGRES, RELAY, TERRAFORM},
    web::{self, NODE, NODE_PACKAGES},
    workspace::{cargo, root, run, shown, target},
};

/// How long a program of tests may be silent; each line is a test that has ended, or one that has run for a minute.
const SILENCE: Duration = Duration::from_secs(600);

/// Makes sure of the tools, then runs every check and every test. The last line is `N passed, N failed`.
pub fn test() -> Result<(), Failure> {
    let begun = Instant::now();
    println!("==> what the tests need");
    let needed = [&POSTGRES, &GRPC_CURL, &BUF_CLI, &NATS, &BAO, &TERRAFORM, &RELAY, &NODE, &NODE_PACKAGES];
    let [_, grpcurl, buf, nats, openbao, terraform, python, node, _] = tools::ensure(needed)?;
    println!("    here after {:.1} s", begun.elapsed().as_secs_f64());

    let mut steps = Steps { done: 0, of: 10 };
    steps.run(&mut cargo("fmt --all --check"))?;
    steps.run(Command::new(&buf).args(["lint", "proto"]).current_dir(root()))?;
    for mut step in web::steps(&node) {
        steps.run(&mut step)?;
    }
    steps.run(&mut cargo("clippy --workspace --all-targets --quiet -- -D warnings"))?;
    steps.run(cargo("doc --workspace --no-deps --quiet").env("RUSTDOCFLAGS", "-D warnings"))?;

    // The server is built twice: once so that tests can make it fail, which is kept under another name, and as it ships.
    // `--test tidy` and `--all-targets` are there for what they bring in: with the features that tests ask for, the other crates
    // are built once for both and for the tests.
    let built = target().join("debug/freehold");
    let faulty = target().join("debug/freehold-faults");
    steps.run(&mut cargo("build --workspace --bin freehold --test tidy --features freehold-server/faults --quiet"))?;
    fs::copy(&built, &faulty).map_err(|error| format!("{} cannot be copied: {error}", built.display()))?;
    steps.run(&mut cargo("build --workspace --all-targets --quiet"))?;

    let mut tests = cargo("test --workspace --no-fail-fast");
    tests.env("FREEHOLD_BIN", built).env("FREEHOLD_FAULTS_BIN", faulty);
    tests.env("FREEHOLD_GRPCURL", grpcurl).env("FREEHOLD_BUF", buf).env("FREEHOLD_TERRAFORM", terraform);
    tests.env("FREEHOLD_NATS_SERVER", nats).env("FREEHOLD_PYTHON", python).env("FREEHOLD_NODE", node);
    tests.env("FREEHOLD_OPENBAO", openbao);
    let count = steps.timed(&mut tests, counted)?;
    println!("All checks in {:.0} s.", begun.elapsed().as_secs_f64());
    println!("{} passed, {} failed", count.passed, count.failed);
    count.verdict()
}

/// The life of something of AWS, told by a program of the tests. Its provider has 700 MB and starts anew for each command, so this
/// is none of the stories that every change runs.
pub fn aws() -> Result<(), Failure> {
    let [terraform, moto, plugins] = tools::ensure([&TERRAFORM, &MOTO, &AWS_PROVIDER])?;
    run(&mut cargo("build --quiet --bin freehold --bin freehold-aws --package freehold-server --package freehold-tests"))?;
    let built = |name: &str| target().join("debug").join(name);
    run(Command::new(built("freehold-aws"))
        .env("FREEHOLD_BIN", built("freehold"))
        .env("FREEHOLD_TERRAFORM", terraform)
        .env("FREEHOLD_MOTO", moto)
        .env("FREEHOLD_TERRAFORM_PLUGINS", plugins))
}

/// Measures Freehold and a bare server beside it, both built as they ship, and prints figures and ratios.
pub fn bench(options: &[String]) -> Result<(), Failure> {
    let [_, terraform] = tools::ensure([&POSTGRES, &TERRAFORM])?;
    run(&mut cargo("build --release --bins --package freehold-server --package freehold-tests --package xtask"))?;
    let built = |name: &str| target().join("release").join(name);
    run(Command::new(built("freehold-bench"))
        .args(options)
        .env("FREEHOLD_BIN", built("freehold"))
        .env("FREEHOLD_XTASK", built("xtask"))
        .env("FREEHOLD_TERRAFORM", terraform))
}

/// Becomes this very program, built with optimisation: a slow generator would measure itself.
///
/// # Errors
/// When it cannot be built or started.
pub fn become_optimized() -> Result<Infallible, Failure> {
    run(&mut cargo("build --release --package xtask --quiet"))?;
    let optimized = target().join("release/xtask");
    let failed = Command::new(&optimized).args(env::args_os().skip(1)).exec();
    Err(format!("{} cannot be started: {failed}", optimized.display()).into())
}

/// Checks licences, sources and duplicates of the dependencies by deny.toml; needs no network but to install itself.
pub fn deny() -> Result<(), Failure> {
    run(Command::new(DENY.ensure()?).args(["--workspace", "check", "bans", "licenses", "sources"]).current_dir(root()))
}

/// Checks the dependencies against the RustSec database, which is fetched.
///
/// # Errors
/// For every advisory that deny.toml does not answer, and when the database is absent: unknown is not good.
pub fn advisories() -> Result<(), Failure> {
    let checked = run(Command::new(DENY.ensure()?).args(["--workspace", "check", "advisories"]).current_dir(root()));
    checked.map_err(|failure| {
        format!("{failure}: an advisory is open, or the database cannot be fetched from here (see above)").into()
    })
}

/// Compares the contract with the one of a commit.
pub fn breaking(against: &str) -> Result<(), Failure> {
    let buf = BUF_CLI.ensure()?;
    let against = format!(".git#ref={against},subdir=proto");
    run(Command::new(buf).args(["breaking", "proto", "--against", &against]).current_dir(root()))
}

/// Says what is being done, and how long it took.
struct Steps {
    done: usize,
    of: usize,
}

impl Steps {
    fn run(&mut self, command: &mut Command) -> Result<(), Failure> {
        self.timed(command, run)
    }

    fn timed<T>(&mut self, command: &mut Command, go: fn(&mut Command) -> Result<T, Failure>) -> Result<T, Failure> {
        self.done += 1;
        println!("==> [{}/{}] {}", self.done, self.of, shown(command));
        let begun = Instant::now();
        let result = go(command);
        println!("    {} after {:.1} s", if result.is_ok() { "done" } else { "FAILED" }, begun.elapsed().as_secs_f64());
        result
    }
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

/// Runs the tests, shows what they print, and counts. A program of tests that is silent for too long is ended: it fails, and the
/// others run.
fn counted(tests: &mut Command) -> Result<Count, Failure> {
    counted_within(SILENCE, tests)
}

fn counted_within(silence: Duration, tests: &mut Command) -> Result<Count, Failure> {
    let mut child = tests.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let output = BufReader::new(child.stdout.take().ok_or("the output of the tests is not a pipe")?);
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || output.lines().try_for_each(|line| sender.send(line)));
    let mut count = Count::default();
    loop {
        match lines.recv_timeout(silence) {
            Ok(line) => {
                let line = line?;
                println!("{line}");
                count.add(&line);
            }
            Err(RecvTimeoutError::Timeout) => {
                println!("No test has ended in {silence:?}: what runs is ended.");
                run(Command::new("pkill").args(["-KILL", "-P", &child.id().to_string()]))?;
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
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
    fn a_program_of_tests_that_waits_for_ever_is_ended_and_the_next_one_counts() {
        let result = "test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s";
        let script = format!("sleep 3600 || echo '{result}'; exit 1");
        let count = counted_within(Duration::from_millis(100), Command::new("sh").args(["-c", &script])).expect("a count");
        assert_eq!(count, Count { passed: 1, ..Count::default() });
    }

    #[test]
    fn tests_that_did_not_finish_are_no_success() {
        let mut count = Count::default();
        count.add("test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s");
        assert!(count.verdict().is_err());
    }
}
