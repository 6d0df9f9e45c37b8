//! Carries out plans, and finds out what became of one that was cut off.

use std::{
    collections::BTreeMap,
    sync::PoisonError,
    time::{Duration, SystemTime},
};

use freehold_domain::fault;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{
    TerraformEngine,
    bundle::{Bundle, Bytes},
    events::{Event, Moved},
    follower::Follower,
    leftover::Kept,
    planner::parse,
    session::{Material, Session, give_up, module_of},
    state::{learn_secrets, outputs, read, snapshot},
    workspace::Workspace,
};
use crate::{
    Access, Action, ApplyRequest, Confinement, Exit, Hold, JournalEntry, JournalState, Level, Mode, Outcome, Process, Sink,
    SinkError, Snapshot, StepError,
};

/// Between two states that are recorded while the program works.
const PACE: Duration = Duration::from_secs(1);
/// The step that stands for the program as a whole, and its record.
pub(super) const PROGRAM: &str = "program";
/// Says how far the output of the program is in the log.
const LOGGED: &str = "logged";

/// What is known of the program before it is started: on whose disk it is.
#[derive(Serialize, Deserialize)]
struct Begun {
    instance: String,
}

/// Carries out a plan, or goes on where an earlier attempt stopped.
pub(super) async fn apply(engine: &TerraformEngine, request: ApplyRequest, sink: &dyn Sink) -> Result<Outcome, StepError> {
    let bundle = Bundle::from_bytes(&request.plan)?;
    expect_applicable(engine, &bundle)?;
    let files = freehold_domain::blueprints::Files::new(
        bundle
            .files
            .iter()
            .map(|(path, content)| freehold_domain::blueprints::File { path: path.clone(), content: content.0.clone() })
            .collect(),
    )
    .map_err(|_| StepError::new("plan-invalid", "the files in the plan are invalid").hint("make a new plan"))?;
    let document = parse(&files)?;
    let module = module_of(&document)?.path.clone();
    let workspace = Workspace::new(&engine.settings.folder, &request.run, "apply", &module);
    let session = Session::new(engine, workspace, sink, &bundle.secrets);
    for state in [Some(&bundle.state.0), request.state.as_ref()].into_iter().flatten().filter(|state| !state.is_empty()) {
        learn(&session, state);
    }
    let work = Work { session, bundle, module };
    let begun = request.journal.iter().find(|entry| entry.step_id == PROGRAM);
    let ours = |entry: &JournalEntry| {
        serde_json::from_slice::<Begun>(&entry.data).is_ok_and(|begun| begun.instance == engine.settings.instance)
    };
    match begun {
        None => work.begin().await,
        Some(entry) if ours(entry) && !fault::mutant("reapply") => {
            match engine.launcher.adopt(work.session.workspace.record(PROGRAM)).await {
                Some(process) => {
                    work.session.log(Level::Warn, "the runner was gone for a while; the program went on without it");
                    work.follow(process).await
                }
                // Its start was recorded, and nothing was started.
                None => work.begin().await,
            }
        }
        Some(_) if fault::mutant("reapply") => work.begin().await,
        Some(_) => work.recover(request.state.unwrap_or_default(), Progress::of(&request.journal), End::default()).await,
    }
}

fn expect_applicable(engine: &TerraformEngine, bundle: &Bundle) -> Result<(), StepError> {
    let (made, ours) = (&bundle.program, &engine.settings.program.version);
    if bundle.mode == Mode::Drift {
        return Err(StepError::new("plan-invalid", "a report on drift cannot be applied").hint("make a plan"));
    }
    if made != ours {
        let message = format!("the plan was made by {made}; this runner has {ours}, which may do something else with it");
        return Err(StepError::new("plan-invalid", message).hint("make a new plan, or give the pool runners of one version"));
    }
    Ok(())
}

pub(super) fn learn(session: &Session<'_>, state: &[u8]) {
    if let Ok(state) = read(state) {
        learn_secrets(&state, &mut session.redactor.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// One apply.
struct Work<'a> {
    session: Session<'a>,
    bundle: Bundle,
    module: String,
}

impl Work<'_> {
    fn material<'m>(&'m self, state: &'m [u8]) -> Material<'m> {
        Material { files: self.bundle.module_files(), variables: &self.bundle.variables, lock: &self.bundle.lock.0, state }
    }

    /// Has the plan carried out.
    async fn begin(self) -> Result<Outcome, StepError> {
        let session = &self.session;
        session.prepare(&self.material(&self.bundle.state.0)).await?;
        let plan = session.workspace.own().join("plan");
        session.workspace.write(&plan, &self.bundle.plan.0)?;
        let (module, secrets) = (self.module.clone(), self.bundle.secrets.clone());
        Kept { module, secrets, state: Bytes(self.bundle.state.0.clone()) }.write(&session.workspace)?;
        let begun = Begun { instance: session.engine.settings.instance.clone() };
        let entry = JournalEntry {
            address: String::new(),
            step_id: PROGRAM.to_owned(),
            state: JournalState::Intended,
            data: serde_json::to_vec(&begun).expect("a text always has a JSON form"),
            error: String::new(),
        };
        let (entries, plan) = ([entry], plan.display().to_string());
        let arguments = ["apply", "-json", "-input=false", "-lock=false", "-backup=-", &plan];
        let prepared = session.ready(PROGRAM, &arguments, Access::Write);
        let (recorded, prepared) = tokio::join!(session.sink.record(&entries, None), prepared);
        if let Err(error) = recorded {
            // Nothing has begun, and whoever has the run now may begin it.
            give_up(prepared).await;
            return Err(stopped(&error));
        }
        fault::point("terraform.recorded");
        let process = session.start(prepared?).await?;
        fault::point("terraform.launched");
        self.follow(process).await
    }

    /// Follows the program to its end and records what it does.
    async fn follow(self, process: Box<dyn Process>) -> Result<Outcome, StepError> {
        let session = &self.session;
        session.sink.confined(process.confinement());
        let mut follower = taken_up(session, process)?;
        let mut progress = Progress::default();
        let mut state = Watched::new(self.bundle.state.0.clone());
        let mut lost = false;
        let mut offsets = [0; 3];
        while let Some(events) = follower.next().await {
            let entries = progress.take(&events);
            let snapshot = state.next(session);
            if lost || (entries.is_empty() && snapshot.is_none()) {
                continue;
            }
            if let Err(error) = session.sink.record(&entries, snapshot.as_ref()).await {
                session.log(Level::Warn, &format!("it goes on although nothing can be recorded: {}", stopped(&error).message));
                lost = true;
            }
            fault::point("terraform.progress");
            // Lines are sent a little later than they are read; those of the last moments are said again by who comes back.
            offsets = [follower.offset(), offsets[0], offsets[1]];
            session.workspace.write(&session.workspace.record(LOGGED), offsets[2].to_string().as_bytes())?;
        }
        if follower.was_left() {
            return Err(stopped(&SinkError::LeaseLost));
        }
        fault::point("terraform.ended");
        let left = ended(session, &follower, &progress, &self.bundle.state.0)?;
        match follower.exit() {
            // What is there is for whoever has the run now to look at.
            _ if lost || session.sink.hold() == Hold::Lost => left.outcome(),
            Exit::Unknown => self.recover(left.state, progress, End::default()).await,
            // It had no time to write down what it made.
            Exit::Signal(_) | Exit::Limit(_) if !progress.forgotten(&left.state)?.is_empty() => {
                self.recover(left.state, progress, left.end).await
            }
            _ => left.outcome(),
        }
    }

    /// Looks at what a program left that was cut off, whose end is this as far as it is known: makes a plan of the same module against
    /// the newest state. Changes nothing but the state, into which comes what was made.
    async fn recover(self, mut state: Vec<u8>, progress: Progress, end: End) -> Result<Outcome, StepError> {
        let Self { session, bundle, module } = self;
        session.log(Level::Warn, "the program was cut off; looking at what it left");
        // What the next look shows is worth nothing if this is lost.
        record(&session, &state).await?;
        let Session { engine, sink, redactor, .. } = session;
        let workspace = Workspace::new(&engine.settings.folder, &bundle.run, "recover", &module);
        let sink = Persistent(sink);
        let work = Work { session: Session { engine, workspace, sink: &sink, redactor }, bundle, module };
        work.session.prepare(&work.material(&state)).await?;
        let mut in_flight = progress.started();
        let forgotten = progress.forgotten(&state)?;
        for (number, (address, id)) in forgotten.iter().enumerate() {
            match work.session.import(number, address, id).await {
                Ok(()) => {
                    work.session.log(Level::Warn, &format!("{address} was made and not in the state; it was taken in by its id"))
                }
                Err(error) => {
                    work.session.log(Level::Error, &format!("{address} was made and not in the state: {}", error.message));
                    in_flight.push(address.clone());
                }
            }
        }
        if !forgotten.is_empty() {
            state = work.session.workspace.read(&work.session.workspace.state())?.unwrap_or_default();
            record(&work.session, &state).await?;
        }
        let found = work.session.plan(work.bundle.mode).await;
        work.session.workspace.remove();
        let summary = {
            let redactor = work.session.redactor.lock().unwrap_or_else(PoisonError::into_inner);
            found?.shown.summary(work.bundle.base_serial, work.bundle.mode, &redactor)
        };
        let left = summary.changes.iter().filter(|change| change.action != Action::Noop).count();
        let changed = state != work.bundle.state.0;
        if left == 0 {
            work.session.log(Level::Info, "everything that was planned is there");
            return Left { state, changed, unknown: Vec::new(), end: End::default() }.outcome();
        }
        let failed = end.failed.unwrap_or_else(|| {
            let message = format!("the program was cut off before its end; {left} changes are still to be made");
            let hint = match in_flight.as_slice() {
                [] => "plan again: nothing was under way when it was cut off".to_owned(),
                some => format!("look at {} by hand before you plan again: it may exist without being known", some.join(", ")),
            };
            StepError::new("apply-cut-off", message).hint(hint).retryable()
        });
        Left { state, changed, unknown: in_flight, end: End { failed: Some(failed), ..end } }.outcome()
    }
}

/// Follows a program of this session, of whose output a part may be in the log already.
pub(super) fn taken_up<'s>(session: &'s Session<'_>, process: Box<dyn Process>) -> Result<Follower<'s>, StepError> {
    let workspace = &session.workspace;
    let logged = workspace.read(&workspace.record(LOGGED))?.and_then(|text| String::from_utf8(text).ok()?.parse().ok());
    Ok(Follower::new(process, &workspace.record(PROGRAM), session.sink, &session.redactor, logged.unwrap_or(0)))
}

/// What a program left that has ended, and had begun with this state.
pub(super) fn ended(session: &Session<'_>, follower: &Follower<'_>, progress: &Progress, base: &[u8]) -> Result<Left, StepError> {
    let exit = follower.exit();
    let state = last_state(session)?.unwrap_or_else(|| base.to_vec());
    let failed = (exit != Exit::Code(0)).then(|| session.failure(follower, &exit, "apply-failed"));
    // A program that came to its own end has said of each resource what became of it.
    let unknown = match exit {
        Exit::Code(_) => Vec::new(),
        _ => {
            let forgotten = progress.forgotten(&state)?.into_iter().map(|(address, _)| address);
            progress.started().into_iter().chain(forgotten).collect()
        }
    };
    let end = End { cancelled: follower.was_interrupted() && failed.is_some(), failed };
    Ok(Left { changed: progress.changed || state != base, state, unknown, end })
}

/// The state that the program left; the newer of the two when it could not write one of them to its place.
fn last_state(session: &Session<'_>) -> Result<Option<Vec<u8>>, StepError> {
    let workspace = &session.workspace;
    let (state, errored) = (workspace.read(&workspace.state()), workspace.read(&workspace.errored_state())?);
    let Some(errored) = errored.filter(|_| !fault::mutant("errored")) else { return state };
    // What kept the program from writing to that place may keep others from reading it.
    let state = state.unwrap_or_default();
    session.log(Level::Error, "the program could not write its state; what it wrote instead is kept");
    let serial = |bytes: &[u8]| read(bytes).map(|state| state.serial).ok();
    let newer = serial(&errored) >= state.as_deref().and_then(serial);
    Ok(if newer && serial(&errored).is_some() { Some(errored) } else { state })
}

/// What a program left.
pub(super) struct Left {
    state: Vec<u8>,
    changed: bool,
    /// Resources whose fate is not known.
    unknown: Vec<String>,
    end: End,
}

impl Left {
    pub fn outcome(self) -> Result<Outcome, StepError> {
        let Self { state, changed, unknown, end: End { failed, cancelled } } = self;
        let failed = failed.filter(|_| !cancelled);
        if state.is_empty() {
            let state = Snapshot { bytes: state, resources: Vec::new() };
            return Ok(Outcome { changed, state, outputs: BTreeMap::new(), failed, unknown, cancelled });
        }
        let outputs = outputs(read(&state)?);
        Ok(Outcome { changed, state: snapshot(state)?, outputs, failed, unknown, cancelled })
    }
}

/// Why a program did not reach its end.
#[derive(Default)]
struct End {
    failed: Option<StepError>,
    /// Somebody had asked it to stop.
    cancelled: bool,
}

/// Reports of a look at what was left, which comes to its end also when somebody has asked the run to stop.
struct Persistent<'a>(&'a dyn Sink);

impl Sink for Persistent<'_> {
    fn record<'a>(&'a self, entries: &'a [JournalEntry], state: Option<&'a Snapshot>) -> BoxFuture<'a, Result<(), SinkError>> {
        self.0.record(entries, state)
    }

    fn log(&self, level: Level, address: &str, text: &str) {
        self.0.log(level, address, text);
    }

    fn cancelled(&self) -> bool {
        false
    }

    fn hold(&self) -> Hold {
        self.0.hold()
    }

    fn confined(&self, confinement: Confinement) {
        self.0.confined(confinement);
    }
}

/// Has the server keep a state.
async fn record(session: &Session<'_>, state: &[u8]) -> Result<(), StepError> {
    if state.is_empty() {
        return Ok(());
    }
    session.sink.record(&[], Some(&snapshot(state.to_vec())?)).await.map_err(|error| stopped(&error))
}

pub(super) fn stopped(error: &SinkError) -> StepError {
    match error {
        SinkError::LeaseLost => StepError::new("lease-lost", "another runner has taken over this run").hint("look at the run"),
        SinkError::Unavailable(why) => StepError::new("journal-unavailable", format!("steps cannot be recorded: {why}"))
            .hint("look at the connection between runner and server")
            .retryable(),
    }
}

/// How far each resource is.
#[derive(Default)]
pub(super) struct Progress {
    resources: BTreeMap<String, JournalState>,
    /// What providers call those that were made.
    made: BTreeMap<String, String>,
    changed: bool,
}

impl Progress {
    /// As a journal has it.
    fn of(journal: &[JournalEntry]) -> Self {
        let mut progress = Self::default();
        for entry in journal.iter().filter(|entry| !entry.address.is_empty()) {
            progress.saw(&entry.address, entry.state, &String::from_utf8_lossy(&entry.data));
        }
        progress
    }

    fn saw(&mut self, address: &str, state: JournalState, id: &str) {
        self.changed |= state == JournalState::Done;
        self.resources.insert(address.to_owned(), state);
        if id.is_empty() {
            self.made.remove(address);
        } else {
            self.made.insert(address.to_owned(), id.to_owned());
        }
    }

    /// Resources that were made and are not in this state, with their ids: OpenTofu writes its state every twenty seconds.
    fn forgotten(&self, state: &[u8]) -> Result<Vec<(String, String)>, StepError> {
        let known = if state.is_empty() { Vec::new() } else { read(state)?.managed() };
        let known = |address: &str| known.iter().any(|resource| resource.address == address);
        let made = self.made.iter().filter(|(address, _)| !known(address));
        Ok(made.map(|(address, id)| (address.clone(), id.clone())).collect())
    }

    /// What these events say of resources.
    pub fn take(&mut self, events: &[Event]) -> Vec<JournalEntry> {
        let mut entries = Vec::new();
        for event in events {
            let Some(moved) = event.moved() else { continue };
            let state = match moved {
                Moved::Started => JournalState::Intended,
                Moved::Done => JournalState::Done,
                Moved::Failed => JournalState::Failed,
            };
            let made = if fault::mutant("watch") { "" } else { event.made() };
            self.saw(event.address(), state, made);
            entries.push(JournalEntry {
                address: event.address().to_owned(),
                step_id: event.address().to_owned(),
                state,
                data: made.as_bytes().to_vec(),
                error: if state == JournalState::Failed { "see the error of the run".to_owned() } else { String::new() },
            });
        }
        // Of one resource only the last word counts.
        let last: BTreeMap<String, usize> = entries.iter().enumerate().map(|(at, entry)| (entry.address.clone(), at)).collect();
        let mut at = 0;
        entries.retain(|entry| {
            at += 1;
            last[&entry.address] == at - 1
        });
        entries
    }

    fn started(&self) -> Vec<String> {
        let open = self.resources.iter().filter(|(_, state)| **state == JournalState::Intended);
        open.map(|(address, _)| address.clone()).collect()
    }
}

/// The state in the folder, as it changes.
pub(super) struct Watched {
    newest: Vec<u8>,
    modified: Option<SystemTime>,
    recorded: Option<Instant>,
}

impl Watched {
    pub fn new(base: Vec<u8>) -> Self {
        Self { newest: base, modified: None, recorded: None }
    }

    /// A state that was not recorded yet, at a moderate pace; its secrets are known from then on.
    pub fn next(&mut self, session: &Session<'_>) -> Option<Snapshot> {
        if self.recorded.is_some_and(|recorded| recorded.elapsed() < PACE) || fault::mutant("watch") {
            return None;
        }
        let path = session.workspace.state();
        let modified = std::fs::symlink_metadata(&path).and_then(|meta| meta.modified()).ok()?;
        if self.modified == Some(modified) {
            return None;
        }
        let bytes = session.workspace.read(&path).ok()??;
        // The program writes in place: half a state is read once more at the next look.
        let snapshot = snapshot(bytes).ok()?;
        self.modified = Some(modified);
        if snapshot.bytes == self.newest {
            return None;
        }
        learn(session, &snapshot.bytes);
        self.newest.clone_from(&snapshot.bytes);
        self.recorded = Some(Instant::now());
        Some(snapshot)
    }
}
