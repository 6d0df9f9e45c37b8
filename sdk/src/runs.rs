//! Runs: one change of a deployment, or one look at it, from plan to end.

use freehold_proto::deployments::v1 as pb;
use jiff::Timestamp;

use crate::{
    PlanSummary, RunDependency, RunStep, Violation,
    approvals::{Approval, ApprovalDemand},
    call::{Call, options, present, request, service},
    channel::new_id,
    drift::DriftCheck,
    late_results::LateResult,
    list::{List, list},
    names::Kind,
    plans::RunPlan,
    run_handle::RunHandle,
    wire::{Lift, resource, values},
};

resource! {
    /// One change of a deployment, or one look at it: planned, checked, approved, applied.
    Run = pb::Run {
        /// Resource name:
        /// `tenants/{tenant}/projects/{project}/environments/{environment}/deployments/{deployment}/runs/{uid}`.
        name: String,
        /// UUIDv7.
        uid: String,
        /// Changes with every step.
        etag: String,
        /// What it is for.
        kind: RunKind,
        /// Where it is.
        phase: RunPhase,
        /// How it ended; absent before.
        outcome: Option<RunOutcome>,
        /// What it waits for; absent while it works and after its end.
        waiting_on: Option<WaitingOn>,
        /// The version it works with.
        blueprint_version: String,
        /// The revision a rollback goes back to.
        target_revision: Option<i64>,
        /// Version of the state that a repair writes again; absent for other kinds.
        target_state_serial: Option<i64>,
        /// Applies without approval where none is needed.
        auto_apply: bool,
        /// Digest of the plan, `sha256:…`; absent before there is one.
        plan_digest: Option<String>,
        /// Numbers of the plan.
        plan_summary: Option<PlanSummary>,
        /// The plan needs an approval.
        approval_required: bool,
        /// Who approved or rejected.
        approval: Option<Approval>,
        /// What went wrong.
        error: Option<RunError>,
        /// Fencing number of its lease; grows with every holder.
        epoch: i64,
        /// The runner that works or worked on it.
        runner: Option<String>,
        /// How often a runner began the present job.
        attempt: i32,
        /// Steps of the apply.
        steps: Vec<RunStep>,
        /// Somebody asked it to stop.
        cancel_requested: bool,
        /// It changed something real.
        changed: bool,
        /// When it was created.
        create_time: Option<Timestamp>,
        /// When it last moved.
        update_time: Option<Timestamp>,
        /// When it ended.
        end_time: Option<Timestamp>,
        /// When the present phase ends by itself.
        deadline: Option<Timestamp>,
        /// Who created it.
        create_principal: String,
        /// Why, in the words of who created it.
        message: Option<String>,
        /// What kept the programs of its engine from the runner's machine, for example
        /// `user,mount,pid,ipc,uts,net,cgroup,pids,memory,cpu`, or `none`; nothing when there were no programs.
        sandbox: Option<String>,
        /// What has to be there before the plan is applied, by the rules as they were last looked at.
        approval_demand: Option<ApprovalDemand>,
        /// Every approval of the plan, oldest first, also those that do not count any more.
        approvals: Vec<Approval>,
        /// Digest of what was reviewed beside the plan: blueprint version and inputs; absent before there is a plan.
        review_digest: Option<String>,
        /// What it takes from other deployments, or took.
        dependencies: Vec<RunDependency>,
        /// What a look for drift came to; absent for another kind of run, and before its end.
        drift_check: Option<DriftCheck>,
        /// What runners that had lost its apply by then offered of it, oldest first.
        late_results: Vec<LateResult>,
    }
}

impl Run {
    /// It has ended; see the outcome.
    pub fn is_done(&self) -> bool {
        self.phase == RunPhase::Done
    }
}

impl AsRef<Run> for Run {
    fn as_ref(&self) -> &Run {
        self
    }
}

values! {
    /// What a run is for.
    RunKind {
        /// A plan to look at; never applied.
        Plan = 1 "PLAN",
        /// Makes the desired state real.
        Apply = 2 "APPLY",
        /// Removes everything.
        Destroy = 3 "DESTROY",
        /// Makes an earlier revision real again.
        Rollback = 4 "ROLLBACK",
        /// Looks whether reality still is as it was made.
        Drift = 5 "DRIFT",
        /// Writes an earlier version of the state again.
        Repair = 6 "REPAIR",
    }
}

values! {
    /// Where a run is, in the order it passes through; recovering is an exception that leads back.
    RunPhase {
        /// Waits for its turn.
        Pending = 1 "PENDING",
        /// Waits for a runner.
        Queued = 2 "QUEUED",
        /// A runner reads blueprint and state.
        Preparing = 3 "PREPARING",
        /// The engine compares desired and real.
        Planning = 4 "PLANNING",
        /// The server checks quota and rules.
        Checking = 5 "CHECKING",
        /// Waits for an approval of this very plan.
        AwaitingApproval = 6 "AWAITING_APPROVAL",
        /// Waits for a runner and for the lock of the deployment.
        ApplyQueued = 7 "APPLY_QUEUED",
        /// The engine makes changes.
        Applying = 8 "APPLYING",
        /// Results are checked.
        Verifying = 9 "VERIFYING",
        /// Its runner was lost; another one will find out what happened.
        Recovering = 10 "RECOVERING",
        /// Ended; see the outcome.
        Done = 11 "DONE",
    }
}

impl RunPhase {
    /// A run in this phase has come to the other one, or past it. One that recovers has not: it is led back.
    /// One that this version has no word for has, so that nobody waits for what will never be seen.
    pub fn has_reached(self, phase: Self) -> bool {
        match self {
            Self::Unknown(_) => true,
            Self::Recovering => phase == Self::Recovering,
            known => known.number() >= phase.number(),
        }
    }
}

values! {
    /// How a run ended.
    RunOutcome {
        /// As wanted.
        Succeeded = 1 "SUCCEEDED",
        /// There was nothing to do.
        NoChanges = 2 "NO_CHANGES",
        /// An approver said no.
        Rejected = 3 "REJECTED",
        /// A quota did not allow it; nothing was changed.
        QuotaBlocked = 4 "QUOTA_BLOCKED",
        /// It waited too long; nothing was changed.
        Expired = 5 "EXPIRED",
        /// Somebody stopped it.
        Cancelled = 6 "CANCELLED",
        /// A newer run took its place.
        Superseded = 7 "SUPERSEDED",
        /// The state moved after the plan; nothing was changed.
        Stale = 8 "STALE",
        /// The engine failed; the error says where.
        Failed = 9 "FAILED",
        /// Its runner was lost and some effects are unknown; the steps say which.
        Lost = 10 "LOST",
    }
}

impl RunOutcome {
    /// What was wanted is so.
    pub fn is_good(self) -> bool {
        matches!(self, Self::Succeeded | Self::NoChanges)
    }
}

resource! {
    /// What a run waits for.
    WaitingOn = pb::WaitingOn {
        /// Kind of wait.
        reason: WaitingReason,
        /// In words, with who or what can end it.
        detail: String,
        /// The resource it waits for, if one.
        resource: Option<String>,
        /// Since when.
        since: Option<Timestamp>,
    }
}

values! {
    /// What a run waits for.
    WaitingReason {
        /// A free runner of the pool; there is one, or it has not been looked which are there.
        Runner = 1 "RUNNER",
        /// An approval.
        Approval = 2 "APPROVAL",
        /// Another run on the same deployment.
        Lock = 3 "LOCK",
        /// A free place among concurrent runs.
        Quota = 4 "QUOTA",
        /// The end of the lease of a lost runner.
        Lease = 5 "LEASE",
        /// A runner of the pool: none is there.
        RunnersAbsent = 6 "RUNNERS_ABSENT",
        /// A free place on a runner of the pool: others are before it.
        RunnersBusy = 7 "RUNNERS_BUSY",
        /// A runner that takes work: all that could take it were told to drain.
        RunnersDraining = 8 "RUNNERS_DRAINING",
        /// A runner with its engine: those that are there have others.
        EngineMissing = 9 "ENGINE_MISSING",
        /// That its tenant is active again.
        TenantSuspended = 10 "TENANT_SUSPENDED",
        /// That the deletion protection of its deployment is switched off.
        Protection = 11 "PROTECTION",
        /// A runner to find out what a lost one has left behind.
        Recovery = 12 "RECOVERY",
        /// A deployment that it depends on, or that depends on it.
        Dependency = 20 "DEPENDENCY",
    }
}

resource! {
    /// What went wrong in a run.
    RunError = pb::RunError {
        /// Stable name, for example `provider-failed`.
        code: String,
        /// What happened, without secrets.
        message: String,
        /// The resource, if one.
        address: Option<String>,
        /// What to do next.
        hint: Option<String>,
        /// A new run may well succeed.
        retryable: bool,
    }
}

service! {
    /// Runs; see [`Client::runs`](crate::Client::runs).
    Runs
}

impl Runs {
    /// Starts a run that makes the desired state of a deployment real: it plans, and then waits for an approval unless
    /// [`auto_apply`](PlanDeployment::auto_apply) is set and the environment needs none.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found), [`is_failed_precondition`](crate::Error::is_failed_precondition).
    ///
    /// # Example
    /// ```no_run
    /// # async fn example(freehold: freehold::Client) -> freehold::Result<()> {
    /// use freehold::RunPhase;
    ///
    /// let run = freehold.runs().plan("shop/dev/web").send().await?.wait_until(RunPhase::AwaitingApproval).await?;
    /// println!("{}", run.plan().await?.summary());
    /// let run = run.approve().comment("reviewed").send().await?;
    /// run.wait_done().await?.into_result()?;
    /// # Ok(()) }
    /// ```
    pub fn plan(&self, deployment: impl AsRef<str>) -> PlanDeployment {
        let request = pb::PlanDeploymentRequest { request_id: new_id(), ..Default::default() };
        let call = Call::new(&self.core, request);
        PlanDeployment { call: call.name(Kind::Deployment, deployment.as_ref(), |request, name| request.name = name) }
    }

    /// Starts a run that removes everything a deployment has made.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found), [`is_failed_precondition`](crate::Error::is_failed_precondition) while
    /// the deployment is protected.
    pub fn destroy(&self, deployment: impl AsRef<str>) -> DestroyDeployment {
        let request = pb::DestroyDeploymentRequest { request_id: new_id(), ..Default::default() };
        let call = Call::new(&self.core, request);
        DestroyDeployment { call: call.name(Kind::Deployment, deployment.as_ref(), |request, name| request.name = name) }
    }

    /// Starts a run that makes an earlier revision real again, with its own plan and approval.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found), [`is_failed_precondition`](crate::Error::is_failed_precondition).
    pub fn rollback(&self, deployment: impl AsRef<str>, revision: i64) -> RollbackDeployment {
        let request = pb::RollbackDeploymentRequest { revision, request_id: new_id(), ..Default::default() };
        let call = Call::new(&self.core, request);
        RollbackDeployment { call: call.name(Kind::Deployment, deployment.as_ref(), |request, name| request.name = name) }
    }

    /// Starts a run that writes an earlier version of the state again, with a plan that says what an apply would do with it, and its own
    /// approval. Nothing that is real is changed.
    ///
    /// # Errors
    /// [`is_invalid_argument`](crate::Error::is_invalid_argument) when there is no such version, or it is the newest one,
    /// [`is_failed_precondition`](crate::Error::is_failed_precondition) when its content is not kept.
    pub fn restore_state(&self, deployment: impl AsRef<str>, serial: i64) -> RestoreState {
        let request = pb::RestoreStateRequest { serial, request_id: new_id(), ..Default::default() };
        let call = Call::new(&self.core, request);
        RestoreState { call: call.name(Kind::Deployment, deployment.as_ref(), |request, name| request.parent = name) }
    }

    /// Starts a run that looks whether reality still is as it was made; it changes nothing.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found), [`is_failed_precondition`](crate::Error::is_failed_precondition).
    pub fn detect_drift(&self, deployment: impl AsRef<str>) -> DetectDrift {
        let request = pb::DetectDriftRequest { request_id: new_id(), ..Default::default() };
        let call = Call::new(&self.core, request);
        DetectDrift { call: call.name(Kind::Deployment, deployment.as_ref(), |request, name| request.name = name) }
    }

    /// Reads one run, to look at it or to go on with it.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found).
    pub fn get(&self, name: impl AsRef<str>) -> GetRun {
        let call = Call::new(&self.core, pb::GetRunRequest::default());
        GetRun { call: call.name(Kind::Run, name.as_ref(), |request, name| request.name = name) }
    }

    /// Lists the runs of a deployment, oldest first.
    pub fn list(&self, deployment: impl AsRef<str>) -> List<Run> {
        let call = Call::new(&self.core, pb::ListRunsRequest::default()).name(
            Kind::Deployment,
            deployment.as_ref(),
            |request, parent| request.parent = parent,
        );
        list!(call, "/freehold.deployments.v1.RunService/ListRuns", pb::ListRunsResponse { runs }, newest_first: newest_first)
    }

    /// Approves the plan of a run as it was read: its digests and its etag are filled in.
    ///
    /// # Errors
    /// [`is_failed_precondition`](crate::Error::is_failed_precondition) with the reason `PLAN_STALE` when the plan is another
    /// by now, [`is_permission_denied`](crate::Error::is_permission_denied), also for an author who may not approve.
    pub fn approve(&self, run: impl AsRef<Run>) -> ApproveRun {
        let run = run.as_ref();
        let request = pb::ApproveRunRequest {
            plan_digest: run.plan_digest.clone().unwrap_or_default(),
            review_digest: run.review_digest.clone().unwrap_or_default(),
            etag: run.etag.clone(),
            request_id: new_id(),
            ..Default::default()
        };
        let mut call = Call::new(&self.core, request).name(Kind::Run, &run.name, |request, name| request.name = name);
        call.needs_plan(run);
        ApproveRun { call }
    }

    /// Takes one's own approval of a run back, which is possible until its apply begins.
    ///
    /// # Errors
    /// [`is_failed_precondition`](crate::Error::is_failed_precondition) when there is none that counts, or it is too late.
    pub fn withdraw_approval(&self, name: impl AsRef<str>) -> WithdrawApproval {
        let request = pb::WithdrawApprovalRequest { request_id: new_id(), ..Default::default() };
        WithdrawApproval {
            call: Call::new(&self.core, request).name(Kind::Run, name.as_ref(), |request, name| request.name = name),
        }
    }

    /// Applies the plan of a run as it was read, where the environment needs no approval: digest and etag are filled in.
    ///
    /// # Errors
    /// [`is_failed_precondition`](crate::Error::is_failed_precondition) with the reason `APPROVAL_REQUIRED` where one is needed,
    /// or `PLAN_STALE` when the plan is another by now.
    pub fn apply(&self, run: impl AsRef<Run>) -> ApplyRun {
        let run = run.as_ref();
        let request = pb::ApplyRunRequest {
            plan_digest: run.plan_digest.clone().unwrap_or_default(),
            etag: run.etag.clone(),
            request_id: new_id(),
            ..Default::default()
        };
        let mut call = Call::new(&self.core, request).name(Kind::Run, &run.name, |request, name| request.name = name);
        call.needs_plan(run);
        ApplyRun { call }
    }

    /// Rejects the plan of a run as it was read; the run ends.
    ///
    /// # Errors
    /// As [`approve`](Self::approve).
    pub fn reject(&self, run: impl AsRef<Run>) -> RejectRun {
        let run = run.as_ref();
        let request = pb::RejectRunRequest {
            plan_digest: run.plan_digest.clone().unwrap_or_default(),
            etag: run.etag.clone(),
            request_id: new_id(),
            ..Default::default()
        };
        let mut call = Call::new(&self.core, request).name(Kind::Run, &run.name, |request, name| request.name = name);
        call.needs_plan(run);
        RejectRun { call }
    }

    /// Asks a run to stop. Before the apply it ends at once; in the apply, steps under way are finished and no new one begun.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found). Cancelling a run that has ended changes nothing and is no error.
    pub fn cancel(&self, name: impl AsRef<str>) -> CancelRun {
        let request = pb::CancelRunRequest { request_id: new_id(), ..Default::default() };
        CancelRun { call: Call::new(&self.core, request).name(Kind::Run, name.as_ref(), |request, name| request.name = name) }
    }

    /// Reads the plan of a run; sensitive values are hidden.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found), [`is_failed_precondition`](crate::Error::is_failed_precondition) while there
    /// is no plan.
    pub fn get_plan(&self, run: impl AsRef<str>) -> GetRunPlan {
        let call = Call::new(&self.core, pb::GetRunPlanRequest::default());
        GetRunPlan { call: call.name(Kind::Run, run.as_ref(), |request, name| request.name = name) }
    }
}

impl<R: prost::Message> Call<R> {
    fn needs_plan(&mut self, run: &Run) {
        if run.plan_digest.is_none() {
            let problem =
                format!("the run was {} when it was read and had no plan to decide on; wait until it awaits approval", run.phase);
            self.problem(Violation::new("plan_digest", problem));
        }
    }
}

impl List<Run> {
    /// The other way round: newest first.
    pub fn newest_first(mut self) -> Self {
        self.ask.newest_first = true;
        self
    }
}

/// A builder whose answer is a run to go on with.
macro_rules! run_request {
    ($(#[$doc:meta])* $builder:ident($request:ty) = $path:literal, $answer:ty) => {
        request! { @builder $(#[$doc])* $builder($request) -> RunHandle = $path }

        impl $builder {
            async fn run(self) -> crate::Result<RunHandle> {
                let core = self.call.core.clone();
                let answer: $answer = self.call.send($path).await?;
                Ok(RunHandle::new(core, present(answer.run, "run")?.lift()))
            }
        }
    };
}

/// How a run is started.
macro_rules! start_options {
    ($($builder:ident),*) => {$(
        impl $builder {
            /// Applies at once where the environment needs no approval.
            pub fn auto_apply(mut self) -> Self {
                self.call.request.auto_apply = true;
                self
            }

            /// Leaves older runs of the deployment that wait where they are; without it, this one takes their place.
            pub fn keep_queued(mut self) -> Self {
                self.call.request.keep_queued = true;
                self
            }

            /// Why, at most 500 characters.
            pub fn message(mut self, message: impl Into<String>) -> Self {
                self.call.request.message = message.into();
                self
            }
        }
    )*};
}

run_request! {
    /// A run to start; see [`Runs::plan`].
    PlanDeployment(pb::PlanDeploymentRequest) = "/freehold.deployments.v1.RunService/PlanDeployment", pb::PlanDeploymentResponse
}
options!(PlanDeployment: request_id);

impl PlanDeployment {
    /// Only plans: the run can never be applied.
    pub fn speculative(mut self) -> Self {
        self.call.request.speculative = true;
        self
    }
}

run_request! {
    /// A run to start; see [`Runs::destroy`].
    DestroyDeployment(pb::DestroyDeploymentRequest) =
        "/freehold.deployments.v1.RunService/DestroyDeployment", pb::DestroyDeploymentResponse
}
options!(DestroyDeployment: request_id);

run_request! {
    /// A run to start; see [`Runs::rollback`].
    RollbackDeployment(pb::RollbackDeploymentRequest) =
        "/freehold.deployments.v1.RunService/RollbackDeployment", pb::RollbackDeploymentResponse
}
options!(RollbackDeployment: request_id);

run_request! {
    /// A run to start; see [`Runs::restore_state`].
    RestoreState(pb::RestoreStateRequest) =
        "/freehold.deployments.v1.StateService/RestoreState", pb::RestoreStateResponse
}
options!(RestoreState: request_id);
start_options!(PlanDeployment, DestroyDeployment, RollbackDeployment, RestoreState);

run_request! {
    /// A run to start; see [`Runs::detect_drift`].
    DetectDrift(pb::DetectDriftRequest) = "/freehold.deployments.v1.RunService/DetectDrift", pb::DetectDriftResponse
}
options!(DetectDrift: request_id);

run_request! {
    /// A run to read; see [`Runs::get`].
    GetRun(pb::GetRunRequest) = "/freehold.deployments.v1.RunService/GetRun", pb::GetRunResponse
}

run_request! {
    /// A plan to approve; see [`Runs::approve`].
    ApproveRun(pb::ApproveRunRequest) = "/freehold.deployments.v1.RunService/ApproveRun", pb::ApproveRunResponse
}
options!(ApproveRun: request_id);

run_request! {
    /// An approval to take back; see [`Runs::withdraw_approval`].
    WithdrawApproval(pb::WithdrawApprovalRequest) =
        "/freehold.deployments.v1.RunService/WithdrawApproval", pb::WithdrawApprovalResponse
}
options!(WithdrawApproval: request_id, etag);

run_request! {
    /// A plan to apply; see [`Runs::apply`].
    ApplyRun(pb::ApplyRunRequest) = "/freehold.deployments.v1.RunService/ApplyRun", pb::ApplyRunResponse
}
options!(ApplyRun: request_id);

run_request! {
    /// A plan to reject; see [`Runs::reject`].
    RejectRun(pb::RejectRunRequest) = "/freehold.deployments.v1.RunService/RejectRun", pb::RejectRunResponse
}
options!(RejectRun: request_id);

/// Why something is decided.
macro_rules! comment {
    ($($builder:ident),*) => {$(
        impl $builder {
            /// Why, at most 500 characters.
            pub fn comment(mut self, comment: impl Into<String>) -> Self {
                self.call.request.comment = comment.into();
                self
            }
        }
    )*};
}
comment!(ApproveRun, RejectRun);

run_request! {
    /// A run to stop; see [`Runs::cancel`].
    CancelRun(pb::CancelRunRequest) = "/freehold.deployments.v1.RunService/CancelRun", pb::CancelRunResponse
}
options!(CancelRun: request_id);

request! {
    /// A plan to read; see [`Runs::get_plan`].
    GetRunPlan(pb::GetRunPlanRequest) -> RunPlan =
        "/freehold.deployments.v1.RunService/GetRunPlan", pb::GetRunPlanResponse { run_plan }
}
