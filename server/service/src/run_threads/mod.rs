//! Runs shown in other systems: brought up to date whenever something has happened to them, whatever that was.

mod github;
pub(crate) mod slack;

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    sync::Arc,
};

use freehold_domain::{
    Error, Reason, Result,
    access::TenantScope,
    commands::Place as Where,
    connections::Connection,
    events::{Event, Logged},
    fault,
    run_threads::View,
    runs::Run,
    time::Uid,
};
use freehold_store::{
    INSTALLATION, Session, Tx, run_threads as rows,
    run_threads::{Claim, Next},
    runs,
};
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use crate::{
    app::App,
    chat::{BUSY, LEASE, Line, passes},
    duty::{CLAIMED, carry_out},
};

/// Finds out which of these events are of runs that are shown somewhere.
pub(crate) async fn followed(db: &mut Session, read: &[Logged]) -> Result<Vec<(TenantScope, Uid)>> {
    let of_run = |logged: &&Logged| logged.announced.event.kind.starts_with("run.");
    let mut tenants: HashMap<TenantScope, HashSet<Uid>> = HashMap::new();
    for logged in read.iter().filter(of_run) {
        tenants.entry(TenantScope(logged.tenant)).or_default().insert(logged.announced.event.uid);
    }
    let mut followed = Vec::new();
    for (tenant, runs) in tenants {
        // Most tenants show nothing.
        if !rows::is_followed(db, tenant, None).await? {
            continue;
        }
        for run in runs {
            if rows::is_followed(db, tenant, Some(run)).await? {
                followed.push((tenant, run));
            }
        }
    }
    Ok(followed)
}

/// A run that begins, and where it is shown without being asked for.
pub(crate) struct Begun {
    tenant: TenantScope,
    connection: Uid,
    run: Run,
    place: Where,
}

/// Finds out which of these events begin runs that some connection shows, whoever has begun them.
pub(crate) async fn begun(db: &mut Session, read: &[Logged]) -> Result<Vec<Begun>> {
    let mut connections: HashMap<TenantScope, Vec<Connection>> = HashMap::new();
    let mut begun = Vec::new();
    for logged in read.iter().filter(|logged| logged.announced.event.kind == "run.created") {
        let tenant = TenantScope(logged.tenant);
        let connections = match connections.entry(tenant) {
            Entry::Occupied(read) => read.into_mut(),
            Entry::Vacant(unread) => unread.insert(freehold_store::connections::all(db, tenant).await?),
        };
        // Most tenants have none.
        if connections.is_empty() {
            continue;
        }
        let Some(run) = runs::get(db, tenant, logged.announced.event.uid).await? else { continue };
        for connection in connections.iter() {
            if let Some(place) = connection.shows(&run) {
                begun.push(Begun { tenant, connection: connection.meta.uid, run: run.clone(), place });
            }
        }
    }
    Ok(begun)
}

/// Begins to show these runs. Whoever commits it wakes the duty, by [`touched`].
pub(crate) async fn follow(tx: &mut Tx, begun: &[Begun]) -> Result<()> {
    for one in begun {
        rows::follow(tx, one.tenant, one.connection, &one.run, &one.place).await?;
    }
    Ok(())
}

/// Notes that something has happened to these runs. Whoever commits it wakes the duty, by [`touched`].
pub(crate) async fn touch(tx: &mut Tx, followed: &[(TenantScope, Uid)]) -> Result<()> {
    for (tenant, run) in followed {
        rows::touch(tx, *tenant, *run).await?;
    }
    Ok(())
}

/// Wakes the duty of this replica.
pub(crate) fn touched(app: &App) {
    app.chat.touched.notify_one();
}

/// Takes what is due and shows it, each in a task of its own; answers how many were taken.
pub async fn show(app: &Arc<App>) -> Result<usize> {
    let mut tx = app.store.begin_as("server", INSTALLATION).await?;
    let claims = rows::claim(&mut tx, fault::time("run_threads.lease", LEASE), CLAIMED).await?;
    if claims.is_empty() {
        return Ok(0);
    }
    tx.commit(&()).await?;
    let attempt = |app: Arc<App>, claim| async move { attempt(&app, claim).await };
    Ok(carry_out(app, claims, |claim| claim.run.to_string(), attempt))
}

/// Waits until this replica knows of something to show, since the last wait.
pub async fn due(app: &App) {
    app.chat.touched.notified().await;
}

async fn attempt(app: &App, mut claim: Claim) -> Result<()> {
    let Some(_turn) = app.deliveries.turn(claim.connection) else {
        return report(app, &claim, Next::Again(BUSY)).await;
    };
    let shown = async {
        let line = Line::open(app, claim.tenant, claim.connection).await?;
        let run = runs::get(&mut app.store.read().await?, claim.tenant, claim.run).await?;
        let Some(run) = run else { return Ok(true) };
        let mut shown = Shown { app, line: &line, claim: &mut claim, run: &run };
        shown.all().await?;
        Ok::<_, Error>(run.is_done())
    }
    .await;
    let next = match shown {
        Ok(over) => {
            claim.thread.tries = 0;
            if over { Next::Ended } else { Next::Shown }
        }
        Err(error) if error.reason() == Reason::LeaseLost => return Ok(()),
        Err(error) => match claim.thread.failed(error.retry_delay()).filter(|_| passes(&error)) {
            Some(pause) => {
                tracing::info!(run = %claim.run, error = error.chain(), "a run is shown later");
                Next::Again(pause)
            }
            None => {
                claim.thread.given_up = Some(error.message().to_owned());
                Next::Ended
            }
        },
    };
    report(app, &claim, next).await
}

/// Ends a claim; that a run is shown no more although it goes on is told to whoever sees the connection.
async fn report(app: &App, claim: &Claim, next: Next) -> Result<()> {
    let mut tx = app.store.begin_as("server", claim.tenant).await?;
    if !rows::report(&mut tx, claim, next).await? {
        return Ok(());
    }
    if let Some(why) = &claim.thread.given_up
        && let Some((_, connection)) = freehold_store::connections::find(&mut tx, claim.connection).await?
    {
        let run = runs::get(&mut tx, claim.tenant, claim.run).await?;
        let name = run.map_or_else(|| claim.run.to_string(), |run| run.name.to_string());
        let event = Event::new("connection.run_given_up", &connection.name, claim.connection, connection.meta.version);
        tx.announce(event.with(json!({ "run": name, "error": why })));
    }
    tx.commit(&()).await
}

/// A run being shown under a claim.
struct Shown<'a> {
    app: &'a App,
    line: &'a Line,
    claim: &'a mut Claim,
    run: &'a Run,
}

impl Shown<'_> {
    async fn all(&mut self) -> Result<()> {
        if self.line.connection.dry_run {
            // Nothing is there that could be brought up to date.
            return Ok(());
        }
        let view = View::of(self.run, &self.app.console);
        match self.claim.thread.place.clone() {
            Where::Slack { channel } => slack::show(self, &channel, &view).await,
            Where::Github { repo, number } => github::show(self, &repo, number, &view).await,
        }
    }

    async fn call(&self, operation: &str, input: Value) -> Result<Value> {
        self.line.call(self.app, operation, input).await
    }

    /// What the system calls a part, if it has it.
    fn known(&self, part: &str) -> Option<String> {
        self.claim.thread.refs.get(part).cloned()
    }

    /// Writes down what the system calls a part, before anything else is done.
    async fn know(&mut self, part: &str, id: String) -> Result<()> {
        self.claim.thread.refs.insert(part.to_owned(), id);
        self.save().await
    }

    /// Whether a part was shown as it is to be shown now.
    fn is_shown(&self, part: &str, rendered: &Value) -> bool {
        self.claim.thread.shown.get(part) == Some(&fingerprint(rendered))
    }

    /// Writes down how a part was shown.
    async fn was_shown(&mut self, part: &str, rendered: &Value) -> Result<()> {
        self.claim.thread.shown.insert(part.to_owned(), fingerprint(rendered));
        self.save().await
    }

    async fn save(&mut self) -> Result<()> {
        fault::point("run_threads.called");
        let mut tx = self.app.store.begin_as("server", self.claim.tenant).await?;
        if !rows::save(&mut tx, self.claim).await? {
            return Err(Error::new(Reason::LeaseLost, "somebody else shows this run by now"));
        }
        tx.commit(&()).await
    }
}

fn fingerprint(rendered: &Value) -> String {
    let hash = digest(&SHA256, rendered.to_string().as_bytes());
    hash.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}
