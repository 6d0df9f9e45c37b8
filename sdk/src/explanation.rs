//! Why a run waits.

use freehold_proto::deployments::v1 as pb;
use jiff::Timestamp;

use crate::{
    RunHandle, RunOutcome, RunPhase, Runs, WaitingOn,
    call::{Call, request},
    names::Kind,
    wire::{resource, values},
};

resource! {
    /// Why a run waits, at the moment of the call, and what comes then.
    RunExplanation = pb::RunExplanation {
        /// The run, by its resource name.
        name: String,
        /// Where it is.
        phase: RunPhase,
        /// How it ended; absent before.
        outcome: Option<RunOutcome>,
        /// What it waits for; absent while a runner works on it, and after its end. When it waits for several things, the
        /// first of them.
        waiting_on: Option<WaitingOn>,
        /// Who or what can end the wait. Of those that stand for one thing, such as several approvers, one is enough; of
        /// different things, each has to end.
        blockers: Vec<Blocker>,
        /// How many runs are taken until it is its turn, itself included, if no other run comes; absent when that cannot be
        /// known, and `prediction` says why.
        queue_position: Option<i32>,
        /// When it will probably start; absent when that cannot be known.
        predicted_start_time: Option<Timestamp>,
        /// On what the prediction rests, or why there is none.
        prediction: Option<String>,
        /// When the present phase ends by itself.
        deadline: Option<Timestamp>,
        /// What happens then.
        at_deadline: Option<String>,
        /// What comes next.
        next: String,
        /// When all this was so.
        explain_time: Option<Timestamp>,
    }
}

resource! {
    /// Something or somebody that can end a wait.
    Blocker = pb::Blocker {
        /// What it is.
        kind: BlockerKind,
        /// Its resource name.
        resource: String,
        /// What it has to do with the wait, and who can do something about it.
        detail: String,
        /// The command that ends it, or what else does.
        action: String,
    }
}

values! {
    /// What a wait is ended by.
    BlockerKind {
        /// The tenant of the run.
        Tenant = 1 "TENANT",
        /// A quota.
        Quota = 2 "QUOTA",
        /// Another run.
        Run = 3 "RUN",
        /// The deployment.
        Deployment = 4 "DEPLOYMENT",
        /// The runner pool, which lacks something.
        RunnerPool = 5 "RUNNER_POOL",
        /// A runner.
        Runner = 6 "RUNNER",
        /// A person or a program.
        Principal = 7 "PRINCIPAL",
    }
}

impl Runs {
    /// Says why a run waits: on what, since when, who or what can end that, when it will probably start, and what comes then.
    /// Runs of every phase have an answer.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found).
    ///
    /// # Example
    /// ```no_run
    /// # async fn example(freehold: freehold::Client) -> freehold::Result<()> {
    /// let why = freehold.runs().explain("shop/dev/web/0199f3d2-7b1c-7000-8000-000000000001").send().await?;
    /// for blocker in &why.blockers {
    ///     println!("{}: {}; {}", blocker.resource, blocker.detail, blocker.action);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn explain(&self, name: impl AsRef<str>) -> ExplainRun {
        let call = Call::new(&self.core, pb::ExplainRunRequest::default());
        ExplainRun { call: call.name(Kind::Run, name.as_ref(), |request, name| request.name = name) }
    }
}

impl RunHandle {
    /// Says why the run waits; see [`Runs::explain`].
    pub fn explain(&self) -> ExplainRun {
        self.runs().explain(&self.run().name)
    }
}

request! {
    /// A run to explain; see [`Runs::explain`].
    ExplainRun(pb::ExplainRunRequest) -> RunExplanation =
        "/freehold.deployments.v1.RunService/ExplainRun", pb::ExplainRunResponse { run_explanation }
}
