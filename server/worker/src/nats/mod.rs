//! Passes events on to a stream of NATS JetStream, by one replica at a time.
//!
//! The log in the database is the truth, and nobody waits for NATS: what it does not take now, it is offered again. Each replica
//! keeps a connection, so that whoever can reach NATS publishes.

mod envelope;
mod settings;
mod stream;

use std::{convert::Infallible, sync::Arc, time::Duration};

use freehold_domain::{Error, fault, time::Uid};
use freehold_service::{
    App,
    events::relay::{Claim, Cursor, Relay},
};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::pause;
use stream::{Away, Refusal, Stream};

pub use settings::{Server, Settings, prefix, stream_name};

/// Its name among those who work through the log.
const NAME: &str = "nats";
/// How long a replica that is silent keeps the others from publishing.
const LEASE: Duration = Duration::from_secs(10);
/// How often the others look whether it is silent.
const STAND_BY: Duration = Duration::from_secs(1);
/// How often it looks after the connection when nothing happens.
const LOOK: Duration = Duration::from_secs(1);
/// Events that are on their way at once.
const WINDOW: u32 = 256;
/// The longest pause between two attempts.
const PAUSE: Duration = Duration::from_secs(15);
/// How often the order may be mended before it is said that somebody else writes.
const MENDS: u32 = 5;

/// Publishes until it is told to stop.
pub(crate) async fn publish(app: &Arc<App>, settings: Settings, stop: &CancellationToken) {
    let lease = fault::time("nats-lease", LEASE);
    let trust_domain = app.trust_domain().to_owned();
    let relay = Relay::new(app, NAME, lease);
    Publisher { relay, lease, settings, trust_domain, epoch: None, state: State::Unknown, failures: 0 }.run(stop).await;
}

/// What was said last of NATS.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Unknown,
    Unreachable,
    Refusing,
    Well,
}

/// Why a replica does not publish any longer.
enum Ended {
    Away(Away),
    Database(Error),
    /// Another one does.
    Lost,
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        Self::Database(error)
    }
}

impl From<Away> for Ended {
    fn from(away: Away) -> Self {
        Self::Away(away)
    }
}

struct Publisher {
    relay: Relay,
    lease: Duration,
    settings: Settings,
    trust_domain: String,
    /// Number of the claim while it has one.
    epoch: Option<i64>,
    state: State,
    /// Attempts that failed since one went well.
    failures: u32,
}

impl Publisher {
    async fn run(mut self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            let ended = stop.run_until_cancelled(self.session()).await;
            self.relay.figures.connected.set(0);
            if let Some(epoch) = self.epoch.take()
                && let Err(error) = self.relay.release(epoch).await
            {
                tracing::debug!(error = error.chain(), "the other replicas wait for the end of a lease");
            }
            if let Some(Err((state, away))) = ended {
                self.tell(state, Some(away));
                pause(self.patience(), stop).await;
                self.failures += 1;
            }
        }
    }

    /// Longer after each failure, and never the same for two replicas.
    fn patience(&self) -> Duration {
        let longest = (Duration::from_millis(100) * 2_u32.pow(self.failures.min(10))).min(PAUSE);
        longest.mul_f64(0.5 + f64::from(self.relay.draw()) / 512.0)
    }

    /// Says what has changed, once.
    fn tell(&mut self, state: State, away: Option<Away>) {
        if state == State::Well {
            self.failures = 0;
        }
        if self.state == state {
            return;
        }
        self.state = state;
        let reason = away.map(|away| away.to_string()).unwrap_or_default();
        match state {
            State::Unknown => {}
            State::Unreachable => tracing::warn!(reason, "NATS cannot be reached; events wait in the log"),
            State::Refusing => tracing::warn!(reason, "NATS does not take events; they wait in the log"),
            State::Well => tracing::info!(stream = self.settings.stream, "NATS takes events"),
        }
    }

    /// Publishes by one connection, whenever it is this replica's turn.
    async fn session(&mut self) -> Result<Infallible, (State, Away)> {
        let (settings, trust_domain) = (self.settings.clone(), self.trust_domain.clone());
        let connected = Stream::connect(&settings, &trust_domain).await;
        let mut stream = connected.map_err(|away| (State::Unreachable, away))?;
        self.relay.figures.connected.set(1);
        loop {
            let begun = Instant::now();
            match self.relay.claim().await {
                Ok(Some(claim)) => {
                    self.epoch = Some(claim.epoch);
                    tracing::debug!(epoch = claim.epoch, "it is this replica's turn to publish events");
                    match self.hold(&mut stream, claim, begun + self.lease).await {
                        Ended::Away(away) if stream.is_connected() => return Err((State::Refusing, away)),
                        Ended::Away(away) => return Err((State::Unreachable, away)),
                        Ended::Database(error) => tracing::debug!(error = error.chain(), "events cannot be published now"),
                        Ended::Lost => {
                            self.epoch = None;
                            tracing::info!("another replica publishes events now");
                        }
                    }
                }
                Ok(None) if self.state == State::Unreachable => {
                    self.state = State::Unknown;
                    tracing::info!("NATS can be reached again; another replica publishes events");
                }
                Ok(None) => {}
                Err(error) => tracing::debug!(error = error.chain(), "it cannot be asked who publishes events"),
            }
            if !stream.is_connected() {
                return Err((State::Unreachable, Away::new("the connection", "it has ended")));
            }
            sleep(STAND_BY).await;
        }
    }

    /// Publishes what happens from a claim on, for as long as it holds: it is reported before this time, or given up.
    async fn hold(&mut self, stream: &mut Stream<'_>, claim: Claim, mut until: Instant) -> Ended {
        let publishing = async {
            let mut at = self.settle(stream, claim).await?;
            let mut reported = Instant::now();
            let mut mends = 0;
            loop {
                let events = timeout_at(until, self.relay.after(at, WINDOW)).await.map_err(|_| Ended::Lost)??;
                let mut refused = None;
                if events.is_empty() {
                    if !stream.is_connected() {
                        return Err(Ended::Away(Away::new("the connection", "it has ended")));
                    }
                    self.tell(State::Well, None);
                    let _ = timeout(LOOK.min(self.lease / 4), self.relay.more()).await;
                    if reported.elapsed() < self.lease / 3 {
                        continue;
                    }
                } else {
                    let taken = timeout_at(until, stream.publish(&events)).await.map_err(|_| Ended::Lost)?;
                    fault::point("nats.taken");
                    if let Some(last) = taken.count.checked_sub(1).and_then(|last| events.get(last)) {
                        at = Cursor { position: last.position, uid: last.uid.0 };
                        self.relay.figures.published.inc_by(taken.count as u64);
                        mends = 0;
                    }
                    refused = taken.refused;
                }
                reported = Instant::now();
                if !timeout_at(until, self.relay.report(claim.epoch, at)).await.map_err(|_| Ended::Lost)?? {
                    return Err(Ended::Lost);
                }
                until = reported + self.lease;
                match refused {
                    Some(Refusal::Away(away)) => return Err(Ended::Away(away)),
                    // Some were taken, so the next ones are asked to follow those.
                    Some(Refusal::Order) if mends == 0 => mends = 1,
                    Some(Refusal::Order) if mends < MENDS => {
                        mends += 1;
                        at = self.settle(stream, Claim { at, epoch: claim.epoch }).await?;
                    }
                    Some(Refusal::Order) => {
                        return Err(Ended::Away(Away::new("the stream", "somebody else writes to it, which must not be")));
                    }
                    None => {
                        mends = 0;
                        self.tell(State::Well, None);
                    }
                }
            }
        };
        let ended: Result<Infallible, Ended> = publishing.await;
        match ended {
            Err(ended) => ended,
        }
    }

    /// Where to go on, by what the stream has: after its last message, when that is what was published last or comes later. Without
    /// that the stream has lost something, and is offered everything that is kept.
    async fn settle(&mut self, stream: &mut Stream<'_>, claim: Claim) -> Result<Cursor, Ended> {
        let (at, end) = (claim.at, stream.end().await?);
        let oldest = self.relay.oldest().await?;
        if at.position < oldest.position {
            let events = oldest.position - at.position;
            tracing::warn!(events, "these were forgotten before NATS took them; subscribers must list resources again");
        }
        let here = at.uid.is_nil() || end == Some(Uid(at.uid));
        if here || fault::mutant("ack") {
            return Ok(at);
        }
        let later = match end {
            Some(end) => self.relay.place_of(end).await?.filter(|place| place.position > at.position),
            None => None,
        };
        let to = later.unwrap_or(oldest);
        if later.is_none() {
            let stream = &self.settings.stream;
            tracing::warn!(stream, "the stream does not end with what was published last; all that is kept is published again");
        }
        // Written down at once: who comes after a death in the middle must not take the first of these for the last.
        if self.relay.report(claim.epoch, to).await? { Ok(to) } else { Err(Ended::Lost) }
    }
}
