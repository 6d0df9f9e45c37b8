//! Kill -9 and freeze of server and runner at every point that an apply passes.

use std::time::Duration;

use freehold_tests::{
    Database::{self, Postgres, Sqlite},
    Process, Replica, eventually,
};
use futures::{StreamExt as _, stream};
use tokio::time::timeout;

use super::book::{STEADY, Stage, Violation, What};
use crate::faults::{Faulty as _, PLACES};

/// Trials side by side; each mostly waits for leases and for what it makes.
const TOGETHER: usize = 6;
/// How long it may take to come to a point.
const REACHED: Duration = Duration::from_secs(55);
/// Twice the lease.
const FROZEN: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Server,
    Runner,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Killed, and started again.
    Dies,
    /// Stopped beyond its lease, and let go on.
    Freezes,
}

#[derive(Clone, Copy, Debug)]
struct Trial {
    database: Database,
    victim: Victim,
    point: &'static str,
    count: u32,
    fate: Fate,
}

/// Every point, and how often every plan and apply of the chain passes it, at least.
const POINTS: [(Victim, &str, u32); 17] = [
    // A plan and an apply.
    (Victim::Server, "claim.begun", 2),
    (Victim::Server, "claim.written", 2),
    (Victim::Server, "claim.committed", 2),
    // A plan is prepared, a program is to be started, and it says what it does.
    (Victim::Server, "progress.begun", 4),
    (Victim::Server, "progress.written", 4),
    (Victim::Server, "progress.committed", 4),
    (Victim::Server, "complete.begun", 2),
    (Victim::Server, "complete.written", 2),
    (Victim::Server, "complete.committed", 2),
    (Victim::Runner, "runner.acquired", 2),
    (Victim::Runner, "terraform.recorded", 1),
    (Victim::Runner, "terraform.launched", 1),
    (Victim::Runner, "terraform.progress", 1),
    (Victim::Runner, "terraform.progress", 2),
    (Victim::Runner, "terraform.ended", 1),
    (Victim::Runner, "runner.completing", 2),
    (Victim::Runner, "runner.completed", 2),
];

#[tokio::test(flavor = "multi_thread")]
async fn an_apply_by_terraform_is_made_once_and_known_wherever_server_or_runner_stop() {
    let all = POINTS.iter().flat_map(|&(victim, point, times)| {
        (1..=times)
            .flat_map(move |count| [Fate::Dies, Fate::Freezes].map(|fate| Trial { database: Sqlite, victim, point, count, fate }))
    });
    // A server that is frozen in one of its writes is as good as in the next: nobody else can write meanwhile.
    let once = |trial: &Trial| trial.victim == Victim::Runner || trial.fate == Fate::Dies || trial.point.ends_with(".committed");
    // On the other database the second half of everything: the applies.
    let again = POINTS.iter().filter(|(victim, ..)| *victim == Victim::Server).map(|&(victim, point, count)| Trial {
        database: Postgres,
        victim,
        point,
        count,
        fate: Fate::Dies,
    });
    let trials: Vec<Trial> = all.filter(once).chain(again).collect();
    let count = trials.len();
    let violations: Vec<(Trial, Violation)> = stream::iter(trials)
        .map(|trial| async move {
            let _place = PLACES.acquire().await;
            trial.run().await.map_err(|violation| (trial, violation))
        })
        .buffer_unordered(TOGETHER)
        .filter_map(|ended| async move { ended.err() })
        .collect()
        .await;
    let of = |what| violations.iter().filter(|(_, violation)| violation.what == what).count();
    println!("{count} trials: doubled {}, lost {}, stuck {}", of(What::Doubled), of(What::Lost), of(What::Stuck));
    let told: Vec<String> = violations.iter().map(|(trial, violation)| format!("{trial:?}: {violation}")).collect();
    assert!(told.is_empty(), "{} of {count} trials:\n{}", told.len(), told.join("\n"));
}

impl Trial {
    async fn run(self) -> Result<(), Violation> {
        let fault = format!("{}:{}{}", self.point, self.count, if self.fate == Fate::Freezes { ":freeze" } else { "" });
        let fault = [("FREEHOLD_FAULT", fault.as_str())];
        let (on_server, on_runner) = match self.victim {
            Victim::Server => (&fault[..], &[][..]),
            Victim::Runner => (&[][..], &fault[..]),
        };
        let mut stage = Stage::new(self.database, STEADY, on_server).await;
        let mut runner = stage.runner("runner", stage.replica.runner, on_runner);
        let run = stage.apply().await;
        let victim = if self.victim == Victim::Server { &mut stage.replica.process } else { &mut runner };
        let missed = |why: &str| What::Missed.of(why.to_owned());
        if self.fate == Fate::Freezes {
            timeout(REACHED, frozen(victim)).await.map_err(|_| missed("it never came to this point"))?;
            tokio::time::sleep(FROZEN).await;
            victim.signal("CONT");
        } else {
            let status = timeout(REACHED, victim.wait()).await.map_err(|_| missed("it never came to this point"))?;
            if status.code().is_some() {
                return Err(missed(&victim.said()));
            }
            match self.victim {
                Victim::Server => stage.replica = again(&stage).await,
                Victim::Runner => runner = stage.runner("runner", stage.replica.runner, &[]),
            }
        }
        let ended = stage.succeeds(run).await.map(drop);
        drop(runner);
        ended
    }
}

async fn again(stage: &Stage) -> Replica {
    stage.installation.again(&stage.replica, &[]).await
}

/// Waits until the process was stopped.
async fn frozen(process: &Process) {
    let status = format!("/proc/{}/stat", process.id());
    eventually("the point to freeze at", || async {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        // The state follows the name, which is in brackets.
        if text.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T')) { Ok(()) } else { Err(text) }
    })
    .await;
}
