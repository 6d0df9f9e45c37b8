//! Operations of providers with an end: a service that falls silent keeps no run, nor its lease and lock, for ever.

use std::time::Duration;

use tokio::time::timeout;

use super::provider::Recovered;
use crate::StepError;

/// How long one operation may take. Providers set closer limits themselves, a few minutes in all (half a minute for each of
/// three tries of a request, a minute for a statement); this one is for what they do not see, such as a host that vanishes
/// after it took a statement.
const LIMIT: Duration = Duration::from_secs(15 * 60);

/// An effect. When it does not end it may have happened all the same.
pub(super) async fn effect<T>(operation: impl Future<Output = Result<T, StepError>>) -> Result<T, StepError> {
    timeout(LIMIT, operation).await.unwrap_or_else(|_| Err(silent().uncertain()))
}

/// A look at what is there.
pub(super) async fn look<T>(operation: impl Future<Output = Result<T, StepError>>) -> Result<T, StepError> {
    timeout(LIMIT, operation).await.unwrap_or_else(|_| Err(silent()))
}

/// A look for what became of an effect. When it does not end nobody can tell.
pub(super) async fn recovery(operation: impl Future<Output = Recovered>) -> Recovered {
    timeout(LIMIT, operation).await.unwrap_or_else(|_| Recovered::Unknown(silent().message))
}

fn silent() -> StepError {
    StepError::new("operation-timeout", format!("there was no end to it within {} minutes", LIMIT.as_secs() / 60))
        .hint("look at the service and at the network")
        .retryable()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, future::pending};

    use freehold_domain::{
        blueprints::{File, Files},
        runs::Reversibility,
    };
    use futures::future::{BoxFuture, FutureExt, ready};
    use serde_json::Map;

    use super::*;
    use crate::{
        Action, ApplyRequest, DeploymentIdentity, Engine, JournalEntry, JournalState, Level, MadePlan, Mode, NativeEngine,
        Outcome, PlanRequest, Sink, SinkError, Snapshot,
        native::{
            Attributes, Operation, Plan, Resource, State,
            provider::{Intent, Made, Owner, Provider},
            schema::{Attribute, Kind, Schema},
        },
    };

    /// A service that takes everything and says nothing any more.
    struct Silent {
        schema: Schema,
        /// It says at least what is not there.
        tells: bool,
    }

    impl Provider for Silent {
        fn schema(&self) -> &Schema {
            &self.schema
        }

        fn reversibility(&self, _action: Action) -> Reversibility {
            Reversibility::Unknown
        }

        fn observe<'a>(&'a self, _: &'a Resource, _: &'a Owner) -> BoxFuture<'a, Result<Option<Attributes>, StepError>> {
            pending().boxed()
        }

        fn create<'a>(&'a self, _: &'a Intent) -> BoxFuture<'a, Result<Made, StepError>> {
            pending().boxed()
        }

        fn update<'a>(&'a self, _: &'a Intent) -> BoxFuture<'a, Result<Made, StepError>> {
            pending().boxed()
        }

        fn delete<'a>(&'a self, _: &'a Intent) -> BoxFuture<'a, Result<(), StepError>> {
            pending().boxed()
        }

        fn recover<'a>(&'a self, intent: &'a Intent) -> BoxFuture<'a, Recovered> {
            assert_eq!(intent.operation, Operation::Create);
            if self.tells { ready(Recovered::NotDone).boxed() } else { pending().boxed() }
        }
    }

    struct NoSink;

    impl Sink for NoSink {
        fn record<'a>(&'a self, _: &'a [JournalEntry], _: Option<&'a Snapshot>) -> BoxFuture<'a, Result<(), SinkError>> {
            ready(Ok(())).boxed()
        }

        fn log(&self, _: Level, _: &str, _: &str) {}

        fn cancelled(&self) -> bool {
            false
        }
    }

    fn engine(tells: bool) -> NativeEngine {
        let attributes = vec![Attribute::new("name", Kind::text(10))];
        let provider: Box<dyn Provider> = Box::new(Silent { schema: Schema { kind: "silent", attributes }, tells });
        NativeEngine { providers: [("silent", provider)].into() }
    }

    fn request(state: Option<State>) -> PlanRequest {
        let content = b"apiVersion: freehold.dev/v1\nengine: native\nresources: {it: {type: silent, name: x}}\n".to_vec();
        PlanRequest {
            run: "r".to_owned(),
            files: Files::new(vec![File { path: "blueprint.yaml".to_owned(), content }]).expect("good files"),
            inputs: Map::new(),
            deployment: DeploymentIdentity {
                uid: "d".to_owned(),
                name: "tenants/a/projects/b/environments/c/deployments/d".to_owned(),
                tenant: "a".to_owned(),
                project: "b".to_owned(),
                environment: "c".to_owned(),
            },
            state: state.map(|state| state.to_bytes()),
            serial: 0,
            mode: Mode::Apply,
        }
    }

    async fn carry_out(engine: &NativeEngine, plan: MadePlan, journal: Vec<JournalEntry>) -> Outcome {
        let request = ApplyRequest { run: "r".to_owned(), plan: plan.bytes, journal, state: None };
        engine.apply(request, &NoSink).await.expect("it begins")
    }

    async fn apply(tells: bool) -> Outcome {
        let engine = engine(tells);
        let plan = engine.plan(request(None), &NoSink).await.expect("nothing to look at yet");
        carry_out(&engine, plan, Vec::new()).await
    }

    #[tokio::test(start_paused = true)]
    async fn an_effect_without_an_end_is_uncertain() {
        let outcome = apply(false).await;
        let error = outcome.failed.expect("it failed");
        assert_eq!((error.code.as_str(), outcome.unknown), ("effect-unknown", vec!["silent.it".to_owned()]), "{error}");

        // Who can still tell is asked before anything is said.
        let outcome = apply(true).await;
        let error = outcome.failed.expect("it failed");
        assert_eq!((error.code.as_str(), error.uncertain, error.retryable), ("operation-timeout", true, true), "{error}");
        assert_eq!(outcome.unknown, [""; 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_recovery_without_an_end_leaves_the_step_unknown() {
        let engine = engine(false);
        let plan = engine.plan(request(None), &NoSink).await.expect("nothing to look at yet");
        let change = Plan::from_bytes(&plan.bytes).expect("its own bytes").changes["silent.it"].clone();
        let intent = serde_json::json!({
            "kind": "intended", "serial": 0,
            "intent": {
                "operation": "create", "key": change.step_id, "desired": {"name": "x"}, "prior": null, "drawn": {},
                "owner": {"tenant": "a", "deployment": "d", "address": "silent.it"},
            },
        });
        let entry = JournalEntry {
            address: "silent.it".to_owned(),
            step_id: change.step_id.clone(),
            state: JournalState::Intended,
            data: intent.to_string().into_bytes(),
            error: String::new(),
        };

        let outcome = carry_out(&engine, plan, vec![entry]).await;

        assert_eq!(outcome.unknown, ["silent.it"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_without_an_end_fails_the_plan() {
        let resource = Resource {
            address: "silent.it".to_owned(),
            kind: "silent".to_owned(),
            name: "it".to_owned(),
            id: "1".to_owned(),
            attributes: BTreeMap::new(),
            sensitive: Vec::new(),
            depends_on: Vec::new(),
        };
        let state = State { resources: [(resource.address.clone(), resource)].into(), ..State::empty("d") };

        for mode in [Mode::Apply, Mode::Drift] {
            let request = PlanRequest { mode, ..request(Some(state.clone())) };
            let error = engine(true).plan(request, &NoSink).await.err().expect("nobody answers");
            assert_eq!((error.code.as_str(), error.address.as_str()), ("operation-timeout", "silent.it"));
            assert!(error.retryable && !error.uncertain, "{error:?}");
        }
    }
}
