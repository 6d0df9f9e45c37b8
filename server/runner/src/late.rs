//! What an apply came to that this runner had lost by then: offered to the server as evidence, by the life of the runner that did it
//! or by a later one.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use freehold::raw::{
    proto::{
        deployments::v1::LogLine,
        runners::v1::{ApplyResult, OfferLateResultRequest},
    },
    tonic::{Code, Status},
};
use freehold_domain::fault;
use freehold_engines::{Engine, Engines, Hold, JournalEntry, Level, Sink, SinkError, Snapshot};
use futures::future::BoxFuture;

use crate::{
    Folder, Server,
    folder::Apply,
    job::{result, uid},
    sink::{line, retried},
    turns::{Turn, Turns},
};

/// Lines of log in one offer, at most.
const LINES: usize = 1000;
/// Bytes of these lines, at most: there has to be room for the state beside them.
const BYTES: usize = 1 << 20;
/// Between two looks whether the run is still this runner's.
const PAUSE: Duration = Duration::from_secs(5);

/// Offers what an apply came to. When the run has ended, nothing of it is kept here any longer; otherwise it may come back to this
/// runner, which must then find what its program did.
pub(crate) async fn offer(
    server: &Server,
    folder: &Folder,
    engine: &dyn Engine,
    held: &Apply,
    apply: ApplyResult,
    lines: Vec<LogLine>,
) {
    let (run, epoch) = (held.run.clone(), held.epoch);
    let offered = ask(server, OfferLateResultRequest { run, epoch, apply: Some(apply), lines: last(lines) }).await;
    match offered {
        Ok(run_done) => {
            fault::point("runner.offered");
            tracing::info!(run = held.run, "what it came to after the loss of its lease is kept with the run");
            if run_done || fault::mutant("forget") {
                engine.forget(&uid(&held.run));
                folder.forget_apply(&held.run);
            }
        }
        Err(status) => {
            let (code, message) = (status.code(), status.message());
            tracing::warn!(run = held.run, ?code, message, "what it came to after the loss of its lease stays on this disk only");
        }
    }
}

/// Sends an offer until it is answered for good; answers whether the run has ended.
async fn ask(server: &Server, offer: OfferLateResultRequest) -> Result<bool, Status> {
    let answer = retried(|| {
        let (mut server, offer) = (server.clone(), offer.clone());
        async move { server.offer_late_result(offer).await }
    });
    Ok(answer.await?.into_inner().run_done)
}

/// The last lines, as many as an offer may have.
fn last(lines: Vec<LogLine>) -> Vec<LogLine> {
    let mut bytes = 0;
    let fits = |line: &&LogLine| {
        bytes += line.text.len() + line.address.len();
        bytes <= BYTES
    };
    let count = lines.iter().rev().take(LINES).take_while(fits).count();
    lines.into_iter().rev().take(count).rev().collect()
}

/// Sees to an apply that an earlier life of this runner began: as long as the run is this runner's, it is left to who takes it up
/// again; once it is not, its program is ended and what it came to is offered.
pub(crate) async fn leftover(server: Server, engines: Engines, turns: Turns, folder: Folder, run: String) {
    loop {
        let turn = turns.of(&run);
        let work = turn.begin().await;
        // A job of this life may have seen it through.
        let Some(held) = folder.apply(&run) else { return };
        let Some(engine) = engines.get(&held.engine) else { return };
        let question = OfferLateResultRequest { run: held.run.clone(), epoch: held.epoch, ..Default::default() };
        match ask(&server, question).await {
            Ok(_) => return lost(&server, &folder, engine.as_ref(), &held, &turn).await,
            Err(status) if status.code() == Code::FailedPrecondition => {}
            Err(status) => {
                let (code, message) = (status.code(), status.message());
                tracing::warn!(run, ?code, message, "the server knows nothing of what an earlier life of this runner did");
                return;
            }
        }
        drop(work);
        tokio::time::sleep(PAUSE).await;
    }
}

/// Offers what an apply came to by what its program left here; asks it to end if it still runs.
pub(crate) async fn lost(server: &Server, folder: &Folder, engine: &dyn Engine, held: &Apply, turn: &Arc<Turn>) {
    let sink = LateSink { lines: Mutex::default(), turn: Arc::clone(turn) };
    match engine.leftover(&uid(&held.run), &sink).await {
        Ok(Some(outcome)) => {
            let lines = sink.lines.into_inner().unwrap_or_else(PoisonError::into_inner);
            offer(server, folder, engine, held, result(outcome), lines.into()).await;
        }
        Ok(None) => folder.forget_apply(&held.run),
        Err(error) => tracing::warn!(run = held.run, error = error.message, "what is left of a lost apply cannot be read yet"),
    }
}

/// What an engine says of an apply that nobody records any more.
struct LateSink {
    lines: Mutex<VecDeque<LogLine>>,
    turn: Arc<Turn>,
}

impl Sink for LateSink {
    fn record<'a>(&'a self, _: &'a [JournalEntry], _: Option<&'a Snapshot>) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(std::future::ready(Err(SinkError::LeaseLost)))
    }

    fn log(&self, level: Level, address: &str, text: &str) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.push_back(line(level, address, text));
        if lines.len() > LINES {
            lines.pop_front();
        }
    }

    fn cancelled(&self) -> bool {
        true
    }

    fn hold(&self) -> Hold {
        if self.turn.is_waited_for() { Hold::Left } else { Hold::Lost }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_has_the_last_lines_and_has_room_for_them() {
        let short: Vec<_> = (0..3000).map(|number| line(Level::Info, "", &number.to_string())).collect();
        let kept = last(short);
        assert_eq!((kept.len(), kept[0].text.as_str(), kept[999].text.as_str()), (1000, "2000", "2999"));
        let long = vec![line(Level::Info, "", &"x".repeat(300 << 10)); 5];
        assert_eq!(last(long).len(), 3);
        assert!(last(Vec::new()).is_empty());
    }
}
