//! A runner in miniature: an engine on a folder, and a journal that survives the engine.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
};

use freehold_domain::{
    blueprints::{File, Files},
    time::{Clock, Random, Timestamp, Uid},
};
use freehold_engines::{
    ApplyRequest, DeploymentIdentity, Engine, JournalEntry, JournalState, Level, Mode, NativeEngine, NativeSettings, Outcome,
    PlanRequest, Sink, SinkError, Snapshot, StepError,
    native::{Plan, State},
};
use futures::future::{BoxFuture, FutureExt};
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::{Map, Value};
use tokio::sync::Notify;

/// A clock that stands still until it is moved. It begins near the real time, which TLS peers would check.
#[derive(Default)]
pub struct TestClock(AtomicI64);

impl TestClock {
    pub fn advance_hours(&self, hours: i64) {
        self.0.fetch_add(hours * 3_600_000_000, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(1_750_000_000_000_000 + self.0.load(Ordering::SeqCst))
    }
}

struct RealRandom(SystemRandom);

impl Random for RealRandom {
    fn uid(&self) -> Uid {
        Uid(uuid::Uuid::now_v7())
    }

    fn fill(&self, bytes: &mut [u8]) {
        self.0.fill(bytes).expect("the system has randomness");
    }
}

/// One deployment and all it was made with.
pub struct World {
    pub engine: NativeEngine,
    pub clock: Arc<TestClock>,
    pub inputs: Map<String, Value>,
    pub state: Option<State>,
    folder: tempfile::TempDir,
    deployment: String,
}

impl World {
    pub fn new() -> Self {
        Self::with(true, &[])
    }

    pub fn with(allow_private: bool, allowed_hosts: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir_all(folder.path().join("root/acme")).expect("a file root");
        let clock = Arc::new(TestClock::default());
        let settings = NativeSettings {
            file_root: folder.path().join("root"),
            allow_private,
            allowed_hosts: allowed_hosts.iter().map(|host| (*host).to_owned()).collect(),
        };
        let random = Arc::new(RealRandom(SystemRandom::new()));
        let engine = NativeEngine::new(settings, Arc::<TestClock>::clone(&clock), random);
        let deployment = uuid::Uuid::now_v7().to_string();
        Self { engine, clock, inputs: Map::new(), state: None, folder, deployment }
    }

    /// The folder of the tenant below the file root of the runner.
    pub fn root(&self) -> PathBuf {
        self.folder.path().join("root/acme")
    }

    /// The folder around it.
    pub fn outside(&self) -> &Path {
        self.folder.path()
    }

    pub fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.root().join(path)).expect("the file is there")
    }

    pub fn marker(&self, address: &str) -> String {
        format!("freehold:{}/{address}", self.deployment)
    }

    pub fn request(&self, body: &str, mode: Mode) -> PlanRequest {
        let id = "tenants/acme/projects/shop/environments/dev/deployments/web";
        PlanRequest {
            run: uuid::Uuid::now_v7().to_string(),
            files: files(body),
            inputs: self.inputs.clone(),
            deployment: DeploymentIdentity {
                uid: self.deployment.clone(),
                name: id.to_owned(),
                tenant: "acme".to_owned(),
                project: "shop".to_owned(),
                environment: "dev".to_owned(),
            },
            state: self.state.as_ref().map(State::to_bytes),
            serial: self.state.as_ref().map_or(0, |state| state.serial),
            mode,
        }
    }

    pub async fn plan(&self, body: &str) -> Plan {
        self.make(self.request(body, Mode::Apply), &TestSink::default()).await.expect("a plan")
    }

    pub async fn plan_destroy(&self, body: &str) -> Plan {
        self.make(self.request(body, Mode::Destroy), &TestSink::default()).await.expect("a plan")
    }

    /// A plan as it arrives at whoever applies it.
    pub async fn make(&self, request: PlanRequest, sink: &TestSink) -> Result<Plan, StepError> {
        Plan::from_bytes(&self.engine.plan(request, sink).await?.bytes)
    }

    pub async fn drift(&self, body: &str) -> Plan {
        self.make(self.request(body, Mode::Drift), &TestSink::default()).await.expect("a report")
    }

    /// Applies a plan.
    pub async fn apply_plan(&mut self, plan: &Plan, sink: &TestSink) -> Outcome {
        let request = ApplyRequest { run: plan.run.clone(), plan: plan.to_bytes(), journal: sink.journal(), state: None };
        let outcome = self.engine.apply(request, sink).await.expect("it can begin");
        self.state = Some(State::from_bytes(&outcome.state.bytes).expect("its own bytes"));
        outcome
    }

    /// Plans and applies, and expects all to go well.
    pub async fn apply(&mut self, body: &str) -> Outcome {
        let plan = self.plan(body).await;
        let sink = TestSink::default();
        let outcome = self.apply_plan(&plan, &sink).await;
        assert!(outcome.failed.is_none(), "{:?}\n{}", outcome.failed, sink.lines().join("\n"));
        outcome
    }

    pub async fn destroy(&mut self, body: &str) -> Outcome {
        let plan = self.plan_destroy(body).await;
        self.apply_plan(&plan, &TestSink::default()).await
    }

    pub fn attribute(&self, address: &str, name: &str) -> Value {
        self.state
            .as_ref()
            .and_then(|state| state.resources.get(address))
            .map_or(Value::Null, |resource| resource.attributes[name].clone())
    }
}

/// A blueprint from its inputs, resources and outputs.
pub fn files(body: &str) -> Files {
    let content = format!("apiVersion: freehold.dev/v1\nengine: native\n{body}");
    Files::new(vec![File { path: "blueprint.yaml".to_owned(), content: content.into_bytes() }]).expect("good files")
}

/// How a runner dies at one of its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// The record arrives, its answer does not.
    AnswerLost,
    /// The record does not arrive.
    RecordLost,
    /// The record arrives, and the process is gone in the midst of whatever else it does.
    Killed,
}

/// The journal of a server, and the end of a runner at a given record.
#[derive(Default)]
pub struct TestSink {
    journal: Mutex<Vec<JournalEntry>>,
    inherited: Vec<JournalEntry>,
    history: Mutex<Vec<(String, JournalState)>>,
    states: Mutex<Vec<Vec<u8>>>,
    lines: Mutex<Vec<String>>,
    records: AtomicU64,
    death: Option<(u64, Death)>,
    dead: AtomicBool,
    killed: Notify,
    cancel: AtomicBool,
    cancel_at: Option<&'static str>,
}

impl TestSink {
    /// Dies at this record, counted from 0.
    pub fn dying(at: u64, death: Death) -> Self {
        Self { death: Some((at, death)), ..Self::default() }
    }

    /// Asks to stop when a step of this resource is done.
    pub fn cancelling(address: &'static str) -> Self {
        Self { cancel_at: Some(address), ..Self::default() }
    }

    /// Goes on with the journal of a runner that died.
    pub fn after(dead: &Self) -> Self {
        Self { journal: Mutex::new(dead.journal()), inherited: dead.journal(), ..Self::default() }
    }

    pub fn journal(&self) -> Vec<JournalEntry> {
        self.journal.lock().expect("not poisoned").clone()
    }

    /// Something of an intent that the dead runner left, by its JSON pointer.
    pub fn inherited(&self, address: &str, pointer: &str) -> Option<Value> {
        let entry = self.inherited.iter().find(|entry| entry.address == address && entry.state == JournalState::Intended)?;
        let data: Value = serde_json::from_slice(&entry.data).expect("JSON");
        data["intent"].pointer(pointer).cloned()
    }

    pub fn history(&self) -> Vec<(String, JournalState)> {
        self.history.lock().expect("not poisoned").clone()
    }

    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().expect("not poisoned").clone()
    }

    /// Serials of the states of the native engine that were recorded.
    pub fn serials(&self) -> Vec<u64> {
        let states = self.states.lock().expect("not poisoned");
        states.iter().map(|state| State::from_bytes(state).expect("a state").serial).collect()
    }

    /// The newest state.
    pub fn state(&self) -> Option<Vec<u8>> {
        self.states.lock().expect("not poisoned").last().cloned()
    }

    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }

    /// How far each resource is.
    pub fn states(&self) -> BTreeMap<String, JournalState> {
        self.journal().into_iter().map(|entry| (entry.address, entry.state)).collect()
    }

    /// Waits for the process to be killed.
    pub async fn death(&self) {
        self.killed.notified().await;
    }

    fn keep(&self, entries: &[JournalEntry], state: Option<&Snapshot>) {
        let mut journal = self.journal.lock().expect("not poisoned");
        for entry in entries {
            self.history.lock().expect("not poisoned").push((entry.address.clone(), entry.state));
            match journal.iter_mut().find(|kept| kept.step_id == entry.step_id) {
                Some(kept) => *kept = entry.clone(),
                None => journal.push(entry.clone()),
            }
            if entry.state == JournalState::Done && self.cancel_at == Some(entry.address.as_str()) {
                self.cancel.store(true, Ordering::SeqCst);
            }
        }
        self.states.lock().expect("not poisoned").extend(state.map(|state| state.bytes.clone()));
    }
}

impl Sink for TestSink {
    fn record<'a>(&'a self, entries: &'a [JournalEntry], state: Option<&'a Snapshot>) -> BoxFuture<'a, Result<(), SinkError>> {
        async move {
            tokio::task::yield_now().await; // a server takes its time, and others get theirs
            assert!(!self.is_dead(), "nothing is recorded after a lost lease");
            let number = self.records.fetch_add(1, Ordering::SeqCst);
            let Some((_, death)) = self.death.filter(|(at, _)| *at == number) else {
                self.keep(entries, state);
                return Ok(());
            };
            self.dead.store(true, Ordering::SeqCst);
            if death != Death::RecordLost {
                self.keep(entries, state);
            }
            if death == Death::Killed {
                self.killed.notify_one();
                std::future::pending::<()>().await;
            }
            Err(SinkError::LeaseLost)
        }
        .boxed()
    }

    fn log(&self, level: Level, address: &str, text: &str) {
        self.lines.lock().expect("not poisoned").push(format!("{level:?} {address}: {text}"));
    }

    fn cancelled(&self) -> bool {
        self.cancel.load(Ordering::SeqCst)
    }
}

/// Applies with a runner that dies at a record, then with a second one. False when the first one was done before.
pub async fn die_and_resume(world: &mut World, plan: &Plan, at: u64, death: Death) -> (bool, Outcome, TestSink) {
    let first = TestSink::dying(at, death);
    let outcome = tokio::select! {
        biased;
        () = first.death() => None,
        outcome = world.apply_plan(plan, &first) => Some(outcome),
    };
    if let Some(outcome) = outcome.filter(|_| !first.is_dead()) {
        return (false, outcome, first);
    }
    let second = TestSink::after(&first);
    let outcome = world.apply_plan(plan, &second).await;
    (true, outcome, second)
}
