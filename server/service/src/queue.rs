//! Looks at the queue of a runner pool, and takes from it whose turn it is.

use freehold_domain::{
    Reason, Result,
    names::RunnerName,
    queue::{Waiting, next},
    runs::{Ask, Run},
};
use freehold_store::{Tx, queue};

use crate::{
    app::{App, Place},
    claims::{Claim, claim},
};

/// How often one look begins anew because other runners were faster; the next one comes soon.
const ROUNDS: usize = 16;
/// Engines that a runner can ask for, at most.
const ENGINES: usize = 16;

/// Gives the runner the run that is next, if there is one that it can take.
pub(crate) async fn take(
    app: &App,
    pool: &str,
    runner: &RunnerName,
    engines: &[String],
    ask: Ask,
) -> Result<Option<(Place, Run)>> {
    for _ in 0..ROUNDS {
        let mut db = app.store.read().await?;
        let (mut heads, mut clock) = (Vec::new(), 0);
        for engine in engines.iter().take(ENGINES) {
            let (waiting, time) = queue::heads(&mut db, pool, engine).await?;
            clock = time.max(clock);
            heads.extend(waiting.into_iter().map(|waiting| (waiting, engine.as_str())));
        }
        drop(db);
        match first(app, pool, heads, clock, runner, ask).await? {
            Look::Took(place, run) => return Ok(Some((place, *run))),
            Look::Nothing => return Ok(None),
            Look::Late => {}
        }
    }
    Ok(None)
}

enum Look {
    Took(Place, Box<Run>),
    Nothing,
    /// Others have taken what was seen, so there may be more behind it.
    Late,
}

/// Tries one after the other, in the order of the queue.
async fn first(
    app: &App,
    pool: &str,
    mut heads: Vec<(Waiting, &str)>,
    clock: i64,
    runner: &RunnerName,
    ask: Ask,
) -> Result<Look> {
    let (now, mut late) = (app.now(), false);
    loop {
        let waiting: Vec<Waiting> = heads.iter().map(|(waiting, _)| *waiting).collect();
        let Some(index) = next(&waiting, clock, now) else { break };
        let (head, engine) = heads.swap_remove(index);
        let place = app.place_by_scope(&mut app.store.read().await?, head.tenant).await?;
        let after = match claim(app, &place, &head, clock, runner, ask).await {
            Ok(Claim::Taken(run)) => return Ok(Look::Took(place, run)),
            Ok(Claim::Gone) => {
                late = true;
                false
            }
            Ok(Claim::Waits) => true,
            Ok(Claim::TenantWaits) => false,
            Err(error) => match error.reason() {
                Reason::EtagMismatch | Reason::OperationInProgress => {
                    late = true;
                    false
                }
                // The last place of the tenant was taken meanwhile.
                Reason::QuotaExceeded => false,
                // One that cannot be read must not keep the others waiting.
                Reason::Internal => {
                    tracing::error!(run = %head.run, error = error.chain(), "a run cannot be given to a runner");
                    true
                }
                _ => return Err(error),
            },
        };
        if after && let Some(next) = queue::after(&mut app.store.read().await?, pool, engine, &head).await? {
            heads.push((next, engine));
        }
    }
    Ok(if late { Look::Late } else { Look::Nothing })
}

/// Writes down that the tenant of this run was given a job.
pub(crate) async fn charge(tx: &mut Tx, waiting: &Waiting, clock: i64, pool: &str) -> Result<()> {
    let after = waiting.share.after(waiting.class, clock);
    queue::charge(tx, pool, waiting.tenant, waiting.share, after).await
}
