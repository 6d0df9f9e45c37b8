//! `freehold run`

use std::path::PathBuf;

use clap::Subcommand;
use freehold::{Client, Code, Error, Run, RunHandle, RunPhase};
use futures::TryStreamExt as _;

use super::{Listing, Patience, set, state::hand_over};
use crate::{
    approvals::{Approvals, approvals, subject},
    explanation::explanation,
    failure::Failure,
    follow::{apply, approve, attend, changed, late_text, log_line, note_late, phase_line, text},
    plan::plan,
    screen::Screen,
};

/// What can be done with runs.
#[derive(Subcommand, Clone, Debug)]
pub enum RunCommand {
    /// Shows one run
    Get {
        /// Its name: shop/dev/web/RUN
        name: String,
    },
    /// Says why a run waits, who or what can end that, and when it will probably start
    Explain {
        /// Its name
        name: String,
    },
    /// Lists the runs of a deployment, newest first
    List {
        /// The deployment: shop/dev/web
        deployment: String,
        /// Oldest first
        #[arg(long)]
        oldest_first: bool,
        #[command(flatten)]
        listing: Listing,
    },
    /// Shows every change of a run until it ends; exit code 8 if it ends badly
    Watch {
        /// Its name
        name: String,
        #[command(flatten)]
        patience: Patience,
    },
    /// Shows the plan, asks, approves it, and follows the run to its end
    Approve {
        /// Its name
        name: String,
        /// Why
        #[arg(long, value_name = "TEXT")]
        comment: Option<String>,
        /// Does not ask
        #[arg(long, short)]
        yes: bool,
        #[command(flatten)]
        patience: Patience,
    },
    /// Applies the plan where no approval is needed, and follows the run to its end
    Apply {
        /// Its name
        name: String,
        /// Does not ask
        #[arg(long, short)]
        yes: bool,
        #[command(flatten)]
        patience: Patience,
    },
    /// Shows who has approved the plan, and what it still needs
    Approvals {
        /// Its name
        name: String,
    },
    /// Takes your own approval back, before the apply begins
    Withdraw {
        /// Its name
        name: String,
    },
    /// Rejects the plan; the run ends
    Reject {
        /// Its name
        name: String,
        /// Why
        #[arg(long, value_name = "TEXT")]
        comment: Option<String>,
    },
    /// Asks a run to stop
    Cancel {
        /// Its name
        name: String,
    },
    /// Shows the plan
    Plan {
        /// Its name
        name: String,
    },
    /// Shows the log
    Logs {
        /// Its name
        name: String,
        /// Goes on until the run ends
        #[arg(long, short)]
        follow: bool,
    },
    /// Downloads the state that a runner offered after it had lost the run, with the secrets in it; this is audited
    LateResult {
        /// Its name
        name: String,
        /// The fence that it was offered under; the newest if not given
        #[arg(long, value_name = "N")]
        epoch: Option<i64>,
        /// The file to write, which nobody else may read; standard output if not given
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
    },
}

impl RunCommand {
    pub(crate) async fn run(self, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
        let runs = client.runs();
        match self {
            Self::Get { name } => {
                let run = runs.get(name).send().await?;
                screen.item(run.run())?;
                note_late(run.run(), screen);
                Ok(())
            }
            Self::Explain { name } => {
                let why = runs.explain(name).send().await?;
                screen.text(&why, || explanation(&why))
            }
            Self::List { deployment, oldest_first, listing } => {
                let list = runs.list(deployment);
                listing.show(if oldest_first { list } else { list.newest_first() }, screen).await
            }
            Self::Watch { name, patience } => {
                let run = runs.get(name).send().await?;
                attend(&run.run().name.clone(), patience.until(), watch(run, screen)).await
            }
            Self::Approve { name, comment, yes, patience } => {
                let run = reviewed(client, &name, yes, "Do you approve this?", screen).await?;
                approve(run, comment, patience.until(), screen).await
            }
            Self::Apply { name, yes, patience } => {
                let run = reviewed(client, &name, yes, "Do you want to do this?", screen).await?;
                apply(run, patience.until(), screen).await
            }
            Self::Approvals { name } => {
                let run = runs.get(name).send().await?.into_run();
                screen.text(&Approvals { demand: &run.approval_demand, approvals: &run.approvals }, || approvals(&run))
            }
            Self::Withdraw { name } => screen.item(runs.withdraw_approval(name).send().await?.run()),
            Self::Reject { name, comment } => {
                let run = runs.get(name).send().await?;
                let mut request = run.reject();
                set!(request.comment(comment));
                screen.item(request.send().await?.run())
            }
            Self::Cancel { name } => screen.item(runs.cancel(name).send().await?.run()),
            Self::Plan { name } => {
                let run = runs.get(name).send().await?;
                let read = run.plan().await?;
                screen.text(&read, || text(run.run(), &read))
            }
            Self::Logs { name, follow } => {
                let run = runs.get(name).send().await?;
                let mut lines = if follow { run.logs() } else { run.logs_so_far() };
                while let Some(line) = lines.try_next().await? {
                    screen.event(&line, || log_line(&line))?;
                }
                Ok(())
            }
            Self::LateResult { name, epoch, to } => {
                let mut request = runs.late_result(&name);
                set!(request.epoch(epoch));
                let nothing = || Failure::Found(format!("no runner has offered anything of {name} after it had lost it"));
                let late = request.send().await?.ok_or_else(nothing)?;
                screen.note(&late_text(&late.late_result));
                for line in &late.lines {
                    screen.note(&log_line(line));
                }
                hand_over(&late.state, to.as_deref(), screen)
            }
        }
    }
}

/// A run that waits for a decision, whose plan somebody has seen and said yes to.
async fn reviewed(client: &Client, name: &str, yes: bool, question: &str, screen: &mut Screen) -> Result<RunHandle, Failure> {
    let run = client.runs().get(name).send().await?;
    if run.run().phase != RunPhase::AwaitingApproval {
        let message = format!("the run is {} and awaits no approval", run.run().phase);
        return Err(Error::new(Code::FailedPrecondition, message).into());
    }
    screen.aside(&(plan(&run.plan().await?) + &subject(run.run())), !yes)?;
    screen.confirm(yes, question).await?;
    Ok(run)
}

/// Shows every change of a run to its end.
async fn watch(run: RunHandle, screen: &mut Screen) -> Result<(), Failure> {
    let mut states = run.watch();
    let mut last: Option<Run> = None;
    while let Some(now) = states.try_next().await? {
        // People want to see where it is; programs get every state.
        if !screen.is_for_people() || last.as_ref().is_none_or(|last| changed(last, &now)) {
            screen.event(&now, || phase_line(&now))?;
        }
        last = Some(now);
    }
    let run = run.refresh().await?;
    note_late(run.run(), screen);
    run.into_result()?;
    Ok(())
}
