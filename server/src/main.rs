//! `freehold`: server, runner and client in one program.

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
use freehold_cli::Command as ClientCommand;
use freehold_runner::sandbox::Stage;
use freehold_server::{
    Failure, Mistake, admin,
    args::{Command, Program},
    dev, init_telemetry, runner, serve,
};

fn main() -> ExitCode {
    // Before there is a second thread: namespaces are made by processes that have one. Before anything else, too: every program
    // that a runner starts waits for three of these.
    if let Some(stage) = Stage::of(std::env::args_os()) {
        return ended(stage.run().map_err(Failure::from));
    }
    let program = Program::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return ended(Err(error.into())),
    };
    runtime.block_on(async {
        match program.command {
            Command::Dev(args) => {
                init_telemetry(args.log);
                ended(dev::run(*args).await)
            }
            Command::Serve(args) => {
                init_telemetry(args.log);
                ended(serve::run(*args).await)
            }
            Command::Runner(args) => {
                init_telemetry(args.log);
                ended(runner::run(&program.global, args).await)
            }
            Command::Migrate(args) => told(admin::migrate(args).await),
            Command::Admin(command) => told(admin::run(command)),
            Command::Client(ClientCommand::Completions { shell }) => {
                freehold_cli::completions(shell, &mut Program::command());
                ExitCode::SUCCESS
            }
            Command::Client(command) => freehold_cli::run(program.global, command).await,
        }
    })
}

/// How a process that stays ends: its last line names the program, among those of others.
fn ended(result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("freehold: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// How a command for a person ends: as those of the client do.
fn told(result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            if failure.is::<Mistake>() { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}
