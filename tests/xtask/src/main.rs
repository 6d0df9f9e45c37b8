//! `cargo xtask`: what developers and the continuous integration run.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod checks;
mod load;
mod tools;
mod web;
mod workspace;

/// What went wrong, in words for the person who typed the command.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Commands for developers.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Program {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Installs what the tests need, then runs every check and every test
    Test,
    /// Says which tools are here, and how to get the others; installs nothing
    Doctor,
    /// Makes a network, a machine and a bucket with the provider of AWS against moto, from plan to destroy
    Aws,
    /// Builds the server, and opens its console in a browser: everything that a person does there
    Web,
    /// Checks licences, sources and duplicates of the dependencies with cargo-deny
    Deny,
    /// Checks the dependencies against the database of advisories, which is fetched
    Advisories,
    /// Checks that the contract breaks nobody who speaks the one of another commit
    Breaking {
        /// The commit to compare with
        #[arg(long, value_name = "REF", default_value = "HEAD")]
        against: String,
    },
    /// Calls one method of a gRPC server again and again, and says how fast it answers
    Load(Box<load::Options>),
    /// Measures the server beside a bare one, and runs beside Terraform by hand, on the same machine: calls, runs, events,
    /// start-up; all without a name; --json FILE, --seconds S
    Bench {
        /// What to measure, and options
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        options: Vec<String>,
    },
}

fn main() -> ExitCode {
    let ended = match Program::parse().command {
        Command::Test => checks::test(),
        Command::Aws => checks::aws(),
        Command::Web => web::test_in_browser(),
        Command::Doctor => tools::doctor(),
        Command::Deny => checks::deny(),
        Command::Breaking { against } => checks::breaking(&against),
        Command::Advisories => checks::advisories(),
        Command::Bench { options } => checks::bench(&options),
        Command::Load(options) if cfg!(debug_assertions) && !options.unoptimized => {
            checks::become_optimized().map(|never| match never {})
        }
        Command::Load(options) => match load::run(&options) {
            Ok(report) if report.rejected.is_some() => return ExitCode::from(load::REJECTED),
            Ok(_) => Ok(()),
            Err(failure) => Err(failure),
        },
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtask: {failure}");
            ExitCode::FAILURE
        }
    }
}
