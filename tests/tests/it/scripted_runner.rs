//! A runner that does what a story says.

use std::time::Duration;

use freehold::{
    Client,
    raw::{
        RawChannel,
        proto::deployments::v1 as runs,
        proto::runners::v1 as pb,
        tonic::{Code, Request, Status},
    },
};
use freehold_tests::World;
use pb::{complete_job_request::Result as End, runner_service_client::RunnerServiceClient};
use uuid::Uuid;

/// The runner `runner` of the pool `default`.
pub struct Runner(pub RunnerServiceClient<RawChannel>);

impl Runner {
    pub async fn new(world: &World) -> Self {
        Self::with(world, "runner").await
    }

    /// Another one of the pool `default`, with a certificate of its own.
    pub async fn named(world: &World, id: &str) -> Self {
        world.installation.pki.issue(id, &format!("runnerPools/default/runners/{id}"));
        Self::with(world, id).await
    }

    async fn with(world: &World, certificate: &str) -> Self {
        let credentials = world.installation.pki.credentials(certificate);
        let client = world.installation.client(&[world.replica.runner], credentials, "acme").await;
        Self(RunnerServiceClient::new(client.raw().expect("a channel")))
    }

    /// Says that it lives, has this engine, and can do so many jobs at once.
    pub async fn beat(&mut self, engine: &str, capacity: i32) {
        let beat =
            pb::HeartbeatRequest { version: "1".to_owned(), engines: vec![engine.to_owned()], capacity, ..Default::default() };
        self.0.heartbeat(beat).await.expect("it is known now");
    }

    /// Asks for work for a moment.
    pub async fn ask(&mut self) -> Option<pb::Job> {
        self.ask_for(Duration::from_millis(1200)).await
    }

    /// Asks for work for so long.
    pub async fn ask_for(&mut self, time: Duration) -> Option<pb::Job> {
        let ask = asks(Uuid::now_v7(), "native");
        loop {
            let mut request = Request::new(ask.clone());
            request.set_timeout(time);
            match self.0.acquire_job(request).await {
                Ok(answer) => return answer.into_inner().job,
                // A loaded server may have given a job to an ask whose time was over: the same ask learns of it.
                Err(status) if status.code() == Code::DeadlineExceeded => {}
                Err(status) => panic!("{status:?}"),
            }
        }
    }

    pub async fn complete(&mut self, job: &pb::Job, result: End) {
        self.try_complete(job, result).await.expect("a report is taken, whatever becomes of the tenant");
    }

    pub async fn try_complete(&mut self, job: &pb::Job, result: End) -> Result<(), Status> {
        let request =
            pb::CompleteJobRequest { run: job.run.clone(), epoch: job.epoch, result: Some(result), ..Default::default() };
        self.0.complete_job(request).await.map(drop)
    }

    /// Takes a plan, makes it create so many resources of the state with this serial, and takes its apply.
    pub async fn begin_apply(&mut self, create: i32, base_serial: i64) -> pb::Job {
        let job = self.ask().await.expect("a plan to make");
        self.complete(&job, planned(create, base_serial)).await;
        self.ask().await.expect("a plan to apply")
    }

    /// Reports steps and, unless it is empty, a state.
    pub async fn report(&mut self, job: &pb::Job, sequence: i64, entries: Vec<pb::JournalEntry>, state: &str) {
        let report = pb::ReportJobProgressRequest {
            run: job.run.clone(),
            epoch: job.epoch,
            sequence,
            entries,
            state: if state.is_empty() { Vec::new() } else { bytes(state) },
            ..Default::default()
        };
        self.0.report_job_progress(report).await.expect("a report is taken");
    }
}

/// An ask for work of a runner that never was started anew.
pub fn asks(id: Uuid, engine: &str) -> pb::AcquireJobRequest {
    pb::AcquireJobRequest {
        request_id: id.to_string(),
        engines: vec![engine.to_owned()],
        incarnation_id: Uuid::max().to_string(),
    }
}

/// Creates a deployment of the sample and plans it, to be applied without an approval; answers the name of the run.
pub async fn plan(client: &Client, deployment: &str) -> String {
    client.deployments().create(deployment, "greeting@1.0.0").input("name", "world").send().await.expect("a deployment");
    client.runs().plan(deployment).auto_apply().send().await.expect("a run").into_run().name
}

/// The same with these bytes.
pub fn planned_as(bytes: &str, create: i32, base_serial: i64) -> End {
    let End::Plan(plan) = planned(create, base_serial) else { unreachable!("a plan") };
    End::Plan(pb::PlanResult { plan: bytes.into(), ..plan })
}

/// A plan of the state with this serial that creates so many resources.
pub fn planned(create: i32, base_serial: i64) -> End {
    let change = runs::ResourceChange {
        address: "random_pet.pet".to_owned(),
        action: runs::ChangeAction::Create.into(),
        ..Default::default()
    };
    let summary = runs::RunPlan {
        base_serial,
        summary: Some(runs::PlanSummary { create, ..Default::default() }),
        changes: vec![change; usize::from(create > 0)],
        ..Default::default()
    };
    End::Plan(pb::PlanResult { plan: b"the plan".into(), summary: Some(summary) })
}

/// A step that is about to begin.
pub fn intended(address: &str) -> pb::JournalEntry {
    step(address, "intended")
}

/// A step in this state.
pub fn step(address: &str, state: &str) -> pb::JournalEntry {
    let (address, state) = (address.to_owned(), state.to_owned());
    pb::JournalEntry { address, step_id: "1".to_owned(), state, ..Default::default() }
}

/// The end of an apply that changed something and left this state.
pub fn applied(state: &str) -> End {
    let addresses = vec!["random_pet.pet".to_owned()];
    End::Apply(pb::ApplyResult { changed: true, state: bytes(state), addresses, outputs: b"{}".into(), ..Default::default() })
}

/// A state as JSON, which engines write.
fn bytes(state: &str) -> Vec<u8> {
    serde_json::json!({ "state": state }).to_string().into_bytes()
}
