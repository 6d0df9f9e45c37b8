//! Carries out plans: steps side by side where nothing stands between them, each after its intent is recorded.

use std::collections::{BTreeMap, BTreeSet};

use freehold_domain::{
    blueprints::{Document, Partial},
    fault,
};
use futures::{
    StreamExt,
    future::{BoxFuture, FutureExt},
    stream::FuturesUnordered,
};
use tokio::sync::Mutex;

use super::{
    NativeEngine,
    evaluation::{self, Evaluation, check, normal},
    ledger::{Ledger, Restored, Status, present, restore},
    limited,
    narrator::Narrator,
    planner::PARALLEL,
    provider::{Intent, Made, Owner, Provider, Recovered},
    schema::Problem,
};
use crate::{
    Action, JournalEntry, JournalState, Level, Mode, Outcome, OutputValue, Sink, SinkError, StepError,
    native::{Attributes, Change, Operation, Plan, Planned, Resource, State, Step},
};

/// Carries out a plan, or the rest of one.
///
/// # Errors
/// What keeps it from beginning.
pub(super) async fn apply(
    engine: &NativeEngine,
    plan: Plan,
    journal: Vec<JournalEntry>,
    sink: &dyn Sink,
) -> Result<Outcome, StepError> {
    let narrator = Narrator::new(sink);
    let document = match plan.mode {
        Mode::Apply => Some(evaluation::parse(&plan.files)?),
        Mode::Destroy => None,
        Mode::Drift => {
            return Err(StepError::new("plan-invalid", "a report on drift cannot be applied").hint("make a plan"));
        }
    };
    let Restored { ledger, statuses, failed, unknown } = restore(&plan, &journal, sink)?;
    let work = Work { engine, plan: &plan, document: document.as_ref(), sink, narrator, ledger: Mutex::new(ledger) };
    work.learn_secrets().await;
    let mut run = Run { statuses, failed, unknown, stopped: None };
    work.run(&mut run).await;
    Ok(work.finish(run).await)
}

/// What all steps share.
struct Work<'a> {
    engine: &'a NativeEngine,
    plan: &'a Plan,
    document: Option<&'a Document>,
    sink: &'a dyn Sink,
    narrator: Narrator<'a>,
    /// Locked while something is recorded, so that states arrive in the order of their serials.
    ledger: Mutex<Ledger<'a>>,
}

/// Something that ends by itself: a step by its place, or a record without one.
type UnderWay<'w> = BoxFuture<'w, (Option<usize>, Result<End, SinkError>)>;

/// How far a run is.
struct Run {
    statuses: Vec<Status>,
    failed: Vec<StepError>,
    unknown: Vec<StepError>,
    /// Nothing can be recorded any more.
    stopped: Option<SinkError>,
}

/// How a step ended.
enum End {
    Done,
    Failed(StepError),
    Unknown(StepError),
}

impl<'a> Work<'a> {
    async fn run(&self, run: &mut Run) {
        let mut under_way: FuturesUnordered<UnderWay<'_>> = FuturesUnordered::new();
        for place in 0..run.statuses.len() {
            if matches!(run.statuses[place], Status::Failed | Status::Unknown | Status::Skipped) {
                under_way.extend(self.skip_after(place, &mut run.statuses));
            }
        }
        loop {
            while under_way.len() < PARALLEL
                && run.stopped.is_none()
                && let Some(place) = self.next(&run.statuses)
            {
                let intent = match std::mem::replace(&mut run.statuses[place], Status::Running) {
                    Status::Intended(intent) => Some(*intent),
                    _ => None,
                };
                under_way.push(async move { (Some(place), self.step(&self.plan.steps[place], intent).await) }.boxed());
            }
            let Some((place, end)) = under_way.next().await else { break };
            let status = match end {
                Ok(End::Done) => Status::Done,
                Ok(End::Failed(error)) => {
                    run.failed.push(error);
                    Status::Failed
                }
                Ok(End::Unknown(error)) => {
                    run.unknown.push(error);
                    Status::Unknown
                }
                Err(SinkError::LeaseLost) => {
                    // Another runner has the run: what is under way is dropped where it stands, before it does any more.
                    run.stopped = Some(SinkError::LeaseLost);
                    break;
                }
                Err(error) => {
                    run.stopped = Some(error);
                    continue;
                }
            };
            let Some(place) = place else { continue };
            let lost = !matches!(status, Status::Done);
            run.statuses[place] = status;
            if lost && run.stopped.is_none() {
                under_way.extend(self.skip_after(place, &mut run.statuses));
            }
        }
    }

    /// The first step that can begin. One begun by an earlier attempt is under way, even when the run is to stop.
    fn next(&self, statuses: &[Status]) -> Option<usize> {
        let ready = |place: &usize| self.plan.steps[*place].after.iter().all(|first| matches!(statuses[*first], Status::Done));
        let begun = (0..statuses.len()).find(|place| matches!(statuses[*place], Status::Intended(_)));
        begun.or_else(|| {
            let pending = |place: &usize| matches!(statuses[*place], Status::Pending);
            (0..statuses.len()).find(|place| pending(place) && ready(place)).filter(|_| !self.sink.cancelled())
        })
    }

    /// Marks everything that needs a step that is not done, and gives what records that: side by side with the steps under
    /// way, because one of them may hold the ledger.
    fn skip_after<'s>(&'s self, place: usize, statuses: &mut [Status]) -> Option<UnderWay<'s>> {
        let cause = &self.plan.steps[place];
        let mut lost = BTreeSet::from([place]);
        let mut skipped: Vec<&Step> = Vec::new();
        for (later, step) in self.plan.steps.iter().enumerate() {
            if matches!(statuses[later], Status::Pending) && step.after.iter().any(|first| lost.contains(first)) {
                statuses[later] = Status::Skipped;
                lost.insert(later);
                // Both halves of a replacement share one entry, which tells of the first one that is not done.
                if step.step_id != cause.step_id && skipped.iter().all(|other| other.step_id != step.step_id) {
                    skipped.push(step);
                }
            }
        }
        if skipped.is_empty() {
            return None;
        }
        let record = async move {
            let why = StepError::new("skipped", format!("left out, because {} is not done", cause.address));
            for step in &skipped {
                self.narrator.log(Level::Warn, &step.address, &why.message);
            }
            let recorded = self.ledger.lock().await.ended(&skipped, JournalState::Skipped, &why).await;
            (None, recorded.map(|()| End::Done))
        };
        Some(record.boxed())
    }

    /// Carries out one step, or finds out what became of it.
    async fn step(&self, step: &Step, begun: Option<Intent>) -> Result<End, SinkError> {
        let change = &self.plan.changes[&step.address];
        let provider = match self.engine.provider(&change.kind) {
            Ok(provider) => provider,
            Err(error) => return self.failed(step, error).await,
        };
        let resumed = begun.is_some();
        let intent = match begun {
            Some(intent) => intent,
            None => match self.intent(step, change, provider).await {
                Ok(Some(intent)) => intent,
                Ok(None) => return self.untouched(step, change).await,
                Err(error) => return self.failed(step, error).await,
            },
        };
        self.learn(change, &intent.desired);
        self.learn(change, &intent.drawn);
        if resumed {
            self.narrator.log(Level::Info, &step.address, "finding out what an earlier attempt did");
            match limited::recovery(provider.recover(&intent)).await {
                Recovered::Done(made) => return self.done(step, change, made).await,
                Recovered::Unknown(why) => return self.unknown(step, &why).await,
                Recovered::NotDone | Recovered::Repeatable => {}
            }
        }
        fault::point("step.intending");
        self.ledger.lock().await.intend(step, &intent).await?;
        fault::point("step.intended");
        self.narrator.log(Level::Info, &step.address, &format!("{} begins", noun(step.operation)));
        let result = match step.operation {
            Operation::Create => limited::effect(provider.create(&intent)).await.map(Some),
            Operation::Update => limited::effect(provider.update(&intent)).await.map(Some),
            Operation::Delete => limited::effect(provider.delete(&intent)).await.map(|()| None),
        };
        fault::point("step.effected");
        match result {
            Ok(made) => self.done(step, change, made).await,
            Err(error) if error.uncertain => self.after_uncertain(step, change, provider, &intent, error).await,
            Err(error) => self.failed(step, error).await,
        }
    }

    /// The effect may be there although it failed.
    async fn after_uncertain(
        &self,
        step: &Step,
        change: &Change,
        provider: &dyn Provider,
        intent: &Intent,
        error: StepError,
    ) -> Result<End, SinkError> {
        match (limited::recovery(provider.recover(intent)).await, step.operation) {
            (Recovered::Done(made), _) => self.done(step, change, made).await,
            // The next plan looks at what the state knows, and repeats what has to be.
            (Recovered::NotDone, _) | (Recovered::Repeatable, Operation::Update | Operation::Delete) => {
                self.failed(step, error).await
            }
            (Recovered::Repeatable, Operation::Create) => self.unknown(step, &error.message).await,
            (Recovered::Unknown(why), _) => self.unknown(step, &format!("{}; {why}", error.message)).await,
        }
    }

    /// Everything an effect needs; nothing when there turns out to be nothing to do.
    async fn intent(&self, step: &Step, change: &Change, provider: &dyn Provider) -> Result<Option<Intent>, StepError> {
        let ledger = self.ledger.lock().await;
        let prior = ledger.state.resources.get(&step.address).cloned();
        let desired = match step.operation {
            Operation::Delete => Attributes::new(),
            Operation::Create | Operation::Update => self.desired(change, provider, &ledger.state)?,
        };
        let unchanged = |prior: &Resource| {
            let given = |attributes: &Attributes| {
                let given = provider.schema().given().filter_map(|attribute| attributes.get_key_value(attribute.name));
                given.map(|(name, value)| (name.clone(), value.clone())).collect::<Attributes>()
            };
            !change.drifted && given(&prior.attributes) == desired
        };
        match (step.operation, &prior) {
            (Operation::Delete | Operation::Update, None) => return Ok(None),
            (Operation::Update, Some(prior)) if unchanged(prior) => return Ok(None),
            _ => {}
        }
        let half = step.operation == Operation::Delete && change.action == Action::Replace;
        let intent = Intent {
            operation: step.operation,
            owner: Owner {
                tenant: self.plan.deployment.tenant.clone(),
                deployment: self.plan.deployment.uid.clone(),
                address: step.address.clone(),
            },
            key: if half { format!("{}-delete", step.step_id) } else { step.step_id.clone() },
            drawn: if step.operation == Operation::Delete { Attributes::new() } else { provider.draw(&desired)? },
            desired,
            prior: prior.filter(|_| step.operation != Operation::Create),
        };
        let more = serde_json::to_vec(&intent.desired).map_or(0, |bytes| bytes.len());
        if step.operation != Operation::Delete && ledger.state.to_bytes().len() + more > State::MAX_BYTES {
            return Err(StepError::new("state-too-large", format!("the state would grow beyond {} bytes", State::MAX_BYTES))
                .hint("split the blueprint, or keep large contents elsewhere"));
        }
        Ok(Some(intent))
    }

    /// Given attributes: as planned where they were known, and as they turn out to be where not.
    fn desired(&self, change: &Change, provider: &dyn Provider, state: &State) -> Result<Attributes, StepError> {
        let schema = provider.schema();
        let mut desired = Attributes::new();
        let mut evaluation = None;
        for attribute in schema.given() {
            let value = match change.after.get(attribute.name) {
                None => continue,
                Some(Planned::Known(value)) => value.clone(),
                Some(Planned::Unknown) => {
                    let evaluation = match &mut evaluation {
                        Some(evaluation) => evaluation,
                        None => evaluation.insert(self.evaluation(state)?),
                    };
                    let template = self
                        .document
                        .and_then(|document| document.resource(&change.name))
                        .and_then(|resource| resource.attribute(attribute.name));
                    let template = template.ok_or_else(|| {
                        StepError::new("plan-invalid", "the plan does not fit its blueprint").hint("make a new plan")
                    })?;
                    match evaluation.value(template).map(|found| found.value) {
                        Ok(Partial::Known(value)) => normal(schema, attribute.name, value),
                        Ok(Partial::Unknown) => return Err(incomplete(attribute.name)),
                        Err(error) => return Err(evaluation::invalid(vec![format!("{}: {error}", attribute.name)])),
                    }
                }
            };
            desired.insert(attribute.name.to_owned(), value);
        }
        let desired = present(desired);
        let mut problems =
            check(provider, &desired.iter().map(|(name, value)| (name.clone(), Planned::Known(value.clone()))).collect());
        problems.extend(
            schema
                .given()
                .filter(|attribute| attribute.required && !desired.contains_key(attribute.name))
                .map(|attribute| Problem::new(attribute.name, "attribute-missing", "has no value")),
        );
        if problems.is_empty() {
            return Ok(desired);
        }
        Err(evaluation::invalid(problems.into_iter().map(|problem| format!("{}: {}", problem.path, problem.message)).collect()))
    }

    /// What expressions can read of a state.
    fn evaluation(&self, state: &State) -> Result<Evaluation<'a>, StepError> {
        let document =
            self.document.ok_or_else(|| StepError::new("plan-invalid", "the plan has no blueprint").hint("make a new plan"))?;
        let mut evaluation = Evaluation::new(document, &self.plan.inputs, &self.plan.deployment);
        for resource in state.resources.values() {
            let stays = self.plan.changes.get(&resource.address).is_some_and(|change| change.action != Action::Delete);
            if stays {
                evaluation.learn_known(&resource.name, &resource.attributes, resource.sensitive.iter().cloned());
            }
        }
        Ok(evaluation)
    }

    async fn done(&self, step: &Step, change: &Change, made: Option<Made>) -> Result<End, SinkError> {
        let resource = made.map(|made| Resource {
            address: step.address.clone(),
            kind: change.kind.clone(),
            name: change.name.clone(),
            id: made.id,
            attributes: present(made.attributes),
            sensitive: change.sensitive.clone(),
            depends_on: change.depends_on.clone(),
        });
        if let Some(resource) = &resource {
            self.learn(change, &resource.attributes);
        }
        let half = step.operation == Operation::Delete && change.action == Action::Replace;
        self.ledger.lock().await.done(step, resource, true, half).await?;
        fault::point("step.recorded");
        self.narrator.log(Level::Info, &step.address, &format!("{} is done", noun(step.operation)));
        Ok(End::Done)
    }

    /// What was planned for a value that was not known yet turns out to be there already.
    async fn untouched(&self, step: &Step, change: &Change) -> Result<End, SinkError> {
        let mut ledger = self.ledger.lock().await;
        let resource = ledger.state.resources.get(&step.address).cloned().map(|resource| Resource {
            sensitive: change.sensitive.clone(),
            depends_on: change.depends_on.clone(),
            ..resource
        });
        let half = step.operation == Operation::Delete && change.action == Action::Replace;
        ledger.done(step, resource, false, half).await?;
        drop(ledger);
        self.narrator.log(Level::Info, &step.address, "there is nothing to do");
        Ok(End::Done)
    }

    async fn failed(&self, step: &Step, error: StepError) -> Result<End, SinkError> {
        let error = self.narrator.clean(error).at(&step.address);
        self.narrator.log(Level::Error, &step.address, &format!("{} failed: {}", noun(step.operation), error.message));
        self.ledger.lock().await.ended(&[step], JournalState::Failed, &error).await?;
        Ok(End::Failed(error))
    }

    async fn unknown(&self, step: &Step, why: &str) -> Result<End, SinkError> {
        let error =
            StepError::new("effect-unknown", format!("nobody can tell whether its {} happened: {why}", noun(step.operation)))
                .hint("look whether it exists, and put it right by hand before the next apply")
                .at(&step.address);
        let error = self.narrator.clean(error);
        self.narrator.log(Level::Error, &step.address, &error.message);
        self.ledger.lock().await.ended(&[step], JournalState::Unknown, &error).await?;
        Ok(End::Unknown(error))
    }

    async fn finish(self, run: Run) -> Outcome {
        let ledger = self.ledger.lock().await;
        let (mut state, changed) = (ledger.state.clone(), ledger.changed);
        drop(ledger);
        let left = run.statuses.iter().any(|status| matches!(status, Status::Pending));
        let cancelled = left && run.stopped.is_none() && self.sink.cancelled();
        let complete = run.statuses.iter().all(|status| matches!(status, Status::Done));
        let outputs = self.outputs(&state, complete);
        if outputs != state.outputs && run.stopped.is_none() {
            state.outputs = outputs;
            state.serial += 1;
        }
        let stopped = run.stopped.map(|error| match error {
            SinkError::LeaseLost => {
                StepError::new("lease-lost", "another runner has taken over this run").hint("look at the run")
            }
            SinkError::Unavailable(why) => StepError::new("journal-unavailable", format!("steps cannot be recorded: {why}"))
                .hint("look at the connection between runner and server")
                .retryable(),
        });
        let mut unknown: Vec<String> = run.unknown.iter().map(|error| error.address.clone()).collect();
        unknown.sort();
        let failed = stopped.or_else(|| run.failed.into_iter().next()).or_else(|| run.unknown.into_iter().next());
        Outcome { changed, state: state.snapshot(), outputs: state.outputs, failed, unknown, cancelled }
    }

    /// Outputs that have a value now; those that cannot be told keep theirs.
    fn outputs(&self, state: &State, complete: bool) -> BTreeMap<String, OutputValue> {
        if self.document.is_none() {
            return if complete { BTreeMap::new() } else { state.outputs.clone() };
        }
        let evaluation = self.evaluation(state).ok();
        let mut outputs = BTreeMap::new();
        for output in self.document.into_iter().flat_map(Document::outputs) {
            let found = evaluation.as_ref().and_then(|evaluation| evaluation.value(&output.value).ok());
            let planned = self.plan.outputs.get(&output.name).is_none_or(|planned| planned.sensitive);
            match found.map(|found| found.value) {
                Some(Partial::Known(value)) => {
                    outputs.insert(output.name.clone(), OutputValue { value, sensitive: planned });
                }
                _ => outputs.extend(state.outputs.get_key_value(&output.name).map(|(name, kept)| (name.clone(), kept.clone()))),
            }
        }
        outputs
    }

    fn learn(&self, change: &Change, attributes: &Attributes) {
        self.narrator.learn_attributes(attributes, change.sensitive.iter().map(String::as_str));
    }

    async fn learn_secrets(&self) {
        for name in self.document.into_iter().flat_map(|document| document.inputs().sensitive_names()) {
            self.plan.inputs.get(&name).into_iter().for_each(|secret| self.narrator.learn(secret));
        }
        for change in self.plan.changes.values() {
            let known = change.after.iter().filter_map(|(name, value)| Some((name.clone(), value.known()?.clone())));
            self.learn(change, &known.collect());
            change.before.iter().for_each(|resource| self.learn(change, &resource.attributes));
        }
        for resource in self.ledger.lock().await.state.resources.values() {
            self.narrator.learn_attributes(&resource.attributes, resource.sensitive.iter().map(String::as_str));
        }
    }
}

fn incomplete(attribute: &str) -> StepError {
    StepError::new("plan-invalid", format!("`{attribute}` is still not known")).hint("make a new plan")
}

fn noun(operation: Operation) -> &'static str {
    match operation {
        Operation::Create => "creation",
        Operation::Update => "change",
        Operation::Delete => "removal",
    }
}
