//! A deployment of a module of Terraform, and what happens to one in its life.

use std::{collections::BTreeMap, time::Duration};

use freehold::{
    BlueprintFile, Client, DeploymentState, DriftItem, DriftItemState, DriftPolicy, DriftRemediation, DriftState, Run, RunHandle,
    RunKind, RunOutcome, RunPhase, StepState,
};
use tokio::time::timeout;

use crate::{World, eventually};

/// How long one run may take; providers of clouds take seconds only to start, and do so for each command.
const PATIENCE: Duration = Duration::from_secs(180);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A deployment of the environment `shop/dev`, in which drift is met with a proposal.
pub struct Site {
    acme: Client,
    name: String,
}

impl Site {
    /// A deployment of `{blueprint}@1.0.0` that nothing was made of yet.
    pub async fn new(world: &World, id: &str, blueprint: &str, inputs: &[(&str, &str)]) -> Self {
        let acme = world.admin.clone();
        let policy = DriftPolicy::every(DAY).remediation(DriftRemediation::Propose);
        acme.environments().update("shop/dev").drift_policy(policy).send().await.expect("a policy");
        let name = format!("shop/dev/{id}");
        let mut deployment = acme.deployments().create(&name, format!("{blueprint}@1.0.0"));
        for (input, value) in inputs {
            deployment = deployment.input(*input, *value);
        }
        deployment.send().await.expect("a deployment");
        Self { acme, name }
    }

    /// Wants something else from now on.
    pub async fn wants(&self, inputs: &[(&str, &str)]) {
        let inputs = inputs.iter().map(|(input, value)| ((*input).to_owned(), (*value).into())).collect();
        self.acme.deployments().update(&self.name).inputs(inputs).send().await.expect("an update");
    }

    /// A plan that waits for an approval.
    pub async fn planned(&self) -> RunHandle {
        self.waiting(self.acme.runs().plan(&self.name).send().await.expect("a run")).await
    }

    /// Waits for its plan.
    async fn waiting(&self, run: RunHandle) -> RunHandle {
        let name = run.run().name.clone();
        let planned = timeout(PATIENCE, run.wait_until(RunPhase::AwaitingApproval)).await.expect("a plan in time");
        match planned {
            Ok(planned) if planned.run().phase == RunPhase::AwaitingApproval => planned,
            _ => panic!("{:?}", self.acme.runs().get(&name).send().await.map(RunHandle::into_run)),
        }
    }

    /// Approves it, and waits until it is real.
    pub async fn approved(&self, run: RunHandle) -> Run {
        run.approve().send().await.expect("an approval");
        self.succeeds(run).await
    }

    /// Waits for its end, which is a good one.
    pub async fn succeeds(&self, run: RunHandle) -> Run {
        let run = self.ended(run).await;
        assert_eq!(run.outcome, Some(RunOutcome::Succeeded), "{run:?}");
        assert!(run.steps.iter().all(|step| step.state == StepState::Done), "{:?}", run.steps);
        run
    }

    /// Waits for its end.
    pub async fn ended(&self, run: RunHandle) -> Run {
        timeout(PATIENCE, run.wait_done()).await.expect("an end in time").expect("it can be followed").into_run()
    }

    /// Looks for drift: the state it is in, and what is not as it was made.
    pub async fn drift(&self) -> (DriftState, Vec<DriftItem>) {
        let look = self.acme.runs().detect_drift(&self.name).send().await.expect("a run");
        let look = self.succeeds(look).await;
        assert!(!look.changed, "a look changes nothing: {look:?}");
        let items = self.acme.drift().items(&self.name).list().collect_up_to(100).await.expect("items");
        let open = |item: &DriftItem| item.state != DriftItemState::Resolved;
        (self.deployment().await.drift_state, items.into_iter().filter(open).collect())
    }

    /// The plan that the server proposes by itself to put it right.
    pub async fn proposed(&self) -> RunHandle {
        let run = eventually("a run that puts it right", || async {
            let runs = self.acme.runs().list(&self.name).collect_up_to(100).await.expect("runs");
            let ours = |run: &Run| run.kind == RunKind::Apply && run.create_principal == "server" && run.outcome.is_none();
            runs.into_iter().find(ours).ok_or("none yet")
        })
        .await;
        self.waiting(self.acme.runs().get(&run.name).send().await.expect("it is there")).await
    }

    /// Goes back to a revision.
    pub async fn rolled_back(&self, revision: i64) -> Run {
        let run = self.acme.runs().rollback(&self.name, revision).send().await.expect("a run");
        let run = self.waiting(run).await;
        self.approved(run).await
    }

    /// Removes everything.
    pub async fn destroyed(&self) -> Run {
        let run = self.acme.runs().destroy(&self.name).send().await.expect("a run");
        let run = self.waiting(run).await;
        let run = self.approved(run).await;
        assert_eq!((self.deployment().await.state, self.held().await.len()), (DeploymentState::Destroyed, 0));
        run
    }

    /// The deployment.
    pub async fn deployment(&self) -> freehold::Deployment {
        self.acme.deployments().get(&self.name).send().await.expect("it is there")
    }

    /// Addresses in the newest state.
    pub async fn held(&self) -> Vec<String> {
        let versions = self.acme.state().list_versions(&self.name).collect_up_to(100).await.expect("versions");
        versions.into_iter().max_by_key(|version| version.serial).map(|newest| newest.addresses).unwrap_or_default()
    }

    /// Its outputs.
    pub async fn outputs(&self) -> BTreeMap<String, serde_json::Value> {
        let outputs = self.acme.state().outputs(&self.name).send().await.expect("outputs");
        outputs.into_iter().filter_map(|output| Some((output.name, output.value?))).collect()
    }
}

/// The files of a blueprint whose module is this text; its inputs are the variables of the same names, all of them texts.
pub fn module(text: &str, inputs: &[&str]) -> Vec<BlueprintFile> {
    let properties: String = inputs.iter().map(|input| format!("    {input}: {{ type: string }}\n")).collect();
    let inputs = if inputs.is_empty() { String::new() } else { format!("inputs:\n  properties:\n{properties}") };
    let document = format!("apiVersion: freehold.dev/v1\nengine: terraform\nmodule: .\n{inputs}");
    vec![BlueprintFile::new("blueprint.yaml", document), BlueprintFile::new("main.tf", text)]
}
