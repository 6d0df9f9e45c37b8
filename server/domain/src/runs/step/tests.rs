//! The life of runs, as tables and as properties over any sequence of events.

use proptest::prelude::*;

use super::*;
use crate::runs::WaitingReason;
use crate::{
    access::{Grant, Role},
    approvals::{Demand, Requirement, Standings},
    deployments::Deployment,
    environments::{Environment, EnvironmentKind},
    lifetimes::TtlPolicy,
    resource::{Described, Meta},
    runs::{NewRun, PlanBinding},
    time::Uid,
};

fn now(second: i64) -> Timestamp {
    Timestamp::from_micros(second * 1_000_000)
}

fn uid(number: u128) -> Uid {
    Uid(uuid::Uuid::from_u128(number))
}

fn principal(name: &str) -> Principal {
    format!("tenants/acme/users/{name}").parse().expect("valid")
}

fn runner() -> RunnerName {
    "runnerPools/default/runners/r1".parse().expect("valid")
}

/// So many approvals by anybody else.
fn demand(approvals: u32) -> Demand {
    Demand { require: Requirement { approvals, ..Requirement::default() }, ..Demand::default() }
}

/// Somebody who may approve everywhere.
fn approver() -> Standing {
    let role = Role::find("roles/approver").expect("it exists");
    Standing { grants: vec![Grant { role, resource: "tenants/acme".to_owned(), expire_time: None }] }
}

/// Ada and Bob may approve.
fn people() -> Standings {
    ["ada", "bob"].map(|name| (principal(name), approver())).into()
}

fn run(kind: RunKind, approval_required: bool, auto_apply: bool) -> Run {
    let name = format!("tenants/acme/projects/shop/environments/dev/deployments/web/runs/{}", uid(1));
    Run::new(
        NewRun {
            name: name.parse().expect("valid"),
            kind,
            deployment: uid(2),
            pool: "runnerPools/default".parse().expect("valid"),
            blueprint_version: "tenants/acme/blueprints/greeting/versions/1.0.0".parse().expect("valid"),
            blueprint_version_uid: uid(3),
            inputs: serde_json::Map::new(),
            engine: "native".to_owned(),
            target_revision: 0,
            generation: 1,
            auto_apply,
            demand: demand(u32::from(approval_required)),
            creator: principal("ada"),
            message: String::new(),
            dependencies: Vec::new(),
            resolved: false,
        },
        now(0),
    )
}

fn plan(create: i32) -> PlanFacts {
    PlanFacts {
        digest: "sha256:one".to_owned(),
        base_serial: 0,
        create,
        update: 0,
        replace: 0,
        delete: 0,
        unchanged: 0,
        drifted: 0,
        outputs_change: false,
        reversibility: Default::default(),
        binding: PlanBinding::Exact,
        reviewed: Default::default(),
        create_time: now(0),
    }
}

fn planned(create: i32) -> RunEvent {
    let change =
        PlannedChange { action: ChangeAction::Create, kind: "file".to_owned(), reversibility: Reversibility::Reversible };
    RunEvent::Planned(plan(create), BTreeMap::from([("file.a".to_owned(), change)]))
}

fn decision(by: &str, digest: &str) -> Decision {
    Decision {
        by: principal(by),
        plan_digest: digest.to_owned(),
        review_digest: None,
        comment: String::new(),
        channel: "certificate".to_owned(),
        standing: Some(approver()),
    }
}

fn ask() -> Ask {
    Ask { uid: uid(9), incarnation: uid(10) }
}

fn claimed() -> RunEvent {
    RunEvent::Claimed { runner: runner(), ask: ask() }
}

/// What a runner offers of an apply that it has lost.
fn late(epoch: i64, runner: &RunnerName, digest: &str) -> LateResult {
    LateResult {
        epoch,
        runner: runner.clone(),
        digest: digest.to_owned(),
        size_bytes: 1,
        changed: true,
        cancelled: false,
        error: None,
        unrecorded: Vec::new(),
        unrecorded_count: 0,
        unknown: Vec::new(),
        create_time: now(9),
    }
}

/// Takes the events one after the other; all of them must be allowed.
fn follow(run: Run, events: impl IntoIterator<Item = RunEvent>) -> (Run, Vec<Effect>) {
    let mut all = Vec::new();
    let mut run = run;
    for (second, event) in events.into_iter().enumerate() {
        let said = format!("{event:?} in {:?}", run.phase);
        let (next, effects) = run.step(event, now(second as i64 + 1)).unwrap_or_else(|error| panic!("{said}: {error}"));
        run = next;
        all.extend(effects);
    }
    (run, all)
}

#[test]
fn an_approved_apply_goes_the_whole_way_and_leaves_nothing_held() {
    let steps = [claimed(), RunEvent::Prepared, planned(1), RunEvent::Approved(decision("bob", "sha256:one")), claimed()];
    let (run, effects) = follow(run(RunKind::Apply, true, false), steps);
    assert_eq!(run.phase, RunPhase::Applying);
    assert_eq!(effects, [Effect::LeaveQueue, Effect::TakeSlot, Effect::FreeSlot, Effect::Lock, Effect::TakeSlot]);

    let (run, effects) = follow(run, [RunEvent::Applied(ApplyEnd { changed: true, remaining: 1, ..ApplyEnd::default() })]);
    assert_eq!(run.outcome, Some(RunOutcome::Succeeded));
    assert_eq!(
        effects,
        [Effect::DeploymentIs(DeploymentState::Active), Effect::CommitRevision, Effect::FreeSlot, Effect::Unlock]
    );
}

#[test]
fn only_another_person_can_approve_and_only_the_current_plan() {
    let (waiting, _) = follow(run(RunKind::Apply, true, true), [claimed(), planned(1)]);
    assert_eq!(waiting.phase, RunPhase::AwaitingApproval, "auto-apply does not pass a demanded approval");
    let refused = |by, digest| {
        let event = RunEvent::Approved(decision(by, digest));
        waiting.clone().step(event, now(9)).expect_err("refused").reason()
    };
    assert_eq!(refused("ada", "sha256:one"), Reason::PermissionMissing);
    assert_eq!(refused("bob", "sha256:two"), Reason::PlanStale);
    let (approved, _) = follow(waiting, [RunEvent::Approved(decision("bob", "sha256:one"))]);
    assert_eq!(approved.phase, RunPhase::ApplyQueued);
}

#[test]
fn what_a_plan_leads_to_depends_on_the_kind_of_run() {
    let table = [
        (RunKind::Plan, 1, RunPhase::Done, Some(RunOutcome::Succeeded)),
        (RunKind::Drift, 0, RunPhase::Done, Some(RunOutcome::Succeeded)),
        (RunKind::Apply, 0, RunPhase::Done, Some(RunOutcome::NoChanges)),
        (RunKind::Destroy, 0, RunPhase::Done, Some(RunOutcome::NoChanges)),
        (RunKind::Apply, 1, RunPhase::ApplyQueued, None),
        (RunKind::Rollback, 1, RunPhase::ApplyQueued, None),
        (RunKind::Repair, 0, RunPhase::ApplyQueued, None),
    ];
    for (kind, create, phase, outcome) in table {
        let (run, _) = follow(run(kind, false, true), [claimed(), planned(create)]);
        assert_eq!((run.phase, run.outcome), (phase, outcome), "{kind:?} with {create}");
    }
}

#[test]
fn a_repair_waits_for_an_approval_of_whatever_plan_and_leaves_nothing_held() {
    let (waiting, _) = follow(run(RunKind::Repair, true, true), [claimed(), planned(0)]);
    assert_eq!((waiting.phase, waiting.steps.len()), (RunPhase::AwaitingApproval, 0));
    assert!(waiting.clone().step(RunEvent::Restored, now(9)).is_err(), "nobody has approved it");
    let (done, effects) = follow(waiting, [RunEvent::Approved(decision("bob", "sha256:one")), RunEvent::Restored]);
    assert_eq!((done.outcome, done.changed), (Some(RunOutcome::Succeeded), false));
    assert_eq!(effects, [Effect::DeploymentIs(DeploymentState::Partial)]);
    let (apply, _) = follow(run(RunKind::Apply, false, true), [claimed(), planned(1)]);
    assert!(apply.step(RunEvent::Restored, now(9)).is_err(), "only a repair is done with that");
}

#[test]
fn a_run_that_is_limited_applies_by_itself_only_within_its_limits() {
    let table = [
        ("file.a", ChangeAction::Create, Reversibility::Unknown, true),
        ("file.a", ChangeAction::Update, Reversibility::ReversibleWithDataLoss, true),
        ("file.a", ChangeAction::Update, Reversibility::Irreversible, false),
        ("file.a", ChangeAction::Replace, Reversibility::Reversible, false),
        ("file.a", ChangeAction::Delete, Reversibility::Reversible, false),
        ("file.b", ChangeAction::Update, Reversibility::Reversible, false),
    ];
    for (only, action, reversibility, by_itself) in table {
        let limited = Run { limited_to: Some([only.to_owned()].into()), ..run(RunKind::Apply, false, true) };
        let change = PlannedChange { action, kind: "file".to_owned(), reversibility };
        let changes = BTreeMap::from([("file.a".to_owned(), change)]);
        let (planned, _) = follow(limited, [claimed(), RunEvent::Planned(plan(1), changes)]);
        let phase = if by_itself { RunPhase::ApplyQueued } else { RunPhase::AwaitingApproval };
        assert_eq!((planned.phase, planned.is_approved()), (phase, by_itself), "{only} {action:?} {reversibility:?}");
    }
}

#[test]
fn a_lost_runner_before_the_apply_means_again_and_in_the_apply_means_recovery() {
    let (planning, _) = follow(run(RunKind::Apply, false, true), [claimed(), RunEvent::LeaseExpired]);
    assert_eq!((planning.phase, planning.epoch), (RunPhase::Queued, 2));

    let (applying, _) = follow(run(RunKind::Apply, false, true), [claimed(), planned(1), claimed()]);
    let (recovering, effects) = follow(applying, [RunEvent::LeaseExpired]);
    assert_eq!(recovering.phase, RunPhase::Recovering);
    assert_eq!(effects, [Effect::FreeSlot], "the deployment stays locked: nobody knows what is there");

    let (lost, effects) = follow(recovering, [claimed(), RunEvent::LeaseExpired, claimed(), RunEvent::LeaseExpired]);
    assert_eq!(lost.outcome, Some(RunOutcome::Lost), "three runners in a row");
    assert!(effects.ends_with(&[Effect::DeploymentIs(DeploymentState::Partial), Effect::FreeSlot, Effect::Unlock]));
}

#[test]
fn what_outlives_its_runner_is_held_for_it() {
    let begun = [claimed(), RunEvent::Prepared, planned(1), claimed(), RunEvent::Outlives(900)];
    let (applying, _) = follow(run(RunKind::Apply, false, true), begun);
    let (lost, _) = applying.clone().step(RunEvent::LeaseExpired, now(100)).expect("it is leased");
    let other: RunnerName = "runnerPools/default/runners/r2".parse().expect("valid");
    assert_eq!(lost.waiting_on.as_ref().map(|on| on.reason), Some(WaitingReason::Lease));
    assert!(lost.hold(&runner(), now(101)).is_none() && lost.hold(&other, now(1000)).is_none());
    assert!(lost.hold(&other, now(999)).is_some_and(|why| why.contains("r1")));
    let taken = |run: &Run, by: &RunnerName, second| {
        run.clone().step(RunEvent::Claimed { runner: by.clone(), ask: ask() }, now(second)).map(|(run, _)| run.epoch)
    };
    assert!(taken(&lost, &other, 999).is_err());
    assert_eq!(
        (taken(&lost, &other, 1000).ok(), taken(&lost, &runner(), 101).ok()),
        (Some(lost.epoch + 1), Some(lost.epoch + 1))
    );

    // Who was only silent goes on under a new fence, and only with the one that was taken from it.
    let resumed = |epoch| lost.clone().step(RunEvent::Resumed(runner(), epoch), now(200)).map(|(run, _)| run);
    let again = resumed(applying.epoch).expect("it is its own");
    assert_eq!((again.phase, again.epoch, again.attempt, again.reported), (RunPhase::Applying, lost.epoch + 1, 1, 0));
    assert!(resumed(applying.epoch - 1).is_err() && resumed(lost.epoch).is_err());
    assert!(lost.clone().step(RunEvent::Resumed(other, applying.epoch), now(200)).is_err());

    // However often it is lost, nobody gives up before what it has started must have ended.
    let worn = Run { attempt: ATTEMPTS, ..applying };
    let (worn, _) = worn.step(RunEvent::LeaseExpired, now(100)).expect("it is leased");
    assert_eq!((worn.phase, worn.deadline), (RunPhase::Recovering, Some(now(1000))));
    let (ended, effects) = worn.step(RunEvent::DeadlinePassed, now(1000)).expect("it is time");
    assert_eq!(ended.outcome, Some(RunOutcome::Lost));
    assert!(effects.contains(&Effect::Unlock), "{effects:?}");
}

#[test]
fn a_destroy_that_leaves_something_is_no_destroy() {
    let events = [claimed(), planned(1), claimed()];
    let (applying, _) = follow(run(RunKind::Destroy, false, true), events);
    let (run, effects) = follow(applying, [RunEvent::Applied(ApplyEnd { changed: true, remaining: 1, ..ApplyEnd::default() })]);
    assert_eq!(run.outcome, Some(RunOutcome::Failed));
    assert!(effects.contains(&Effect::DeploymentIs(DeploymentState::Partial)));
}

#[test]
fn a_report_that_was_overtaken_changes_nothing() {
    let report = |number, state| {
        let step = Progress { state, error: String::new() };
        RunEvent::Progressed(number, vec![("file.a".to_owned(), step)])
    };
    let begun = [claimed(), planned(1), claimed(), report(1, StepState::Started), report(2, StepState::Done)];
    let (done, _) = follow(run(RunKind::Apply, false, true), begun);
    let (after, _) = follow(done.clone(), [report(1, StepState::Started), report(2, StepState::Failed)]);
    assert_eq!(after, done);

    let (recovered, _) = follow(after, [RunEvent::LeaseExpired, claimed(), report(1, StepState::Failed)]);
    assert_eq!(recovered.steps["file.a"].state, StepState::Failed, "the next holder counts from the beginning");
}

#[test]
fn a_job_that_fails_as_a_whole_after_a_step_had_begun_leaves_a_partial_deployment() {
    let step = Progress { state: StepState::Started, error: String::new() };
    let begun = [claimed(), planned(1), claimed(), RunEvent::Progressed(1, vec![("file.a".to_owned(), step)])];
    let (applying, _) = follow(run(RunKind::Apply, false, true), begun);
    let failure = RunEvent::Failed(RunError::new("journal-invalid", "unreadable", "", false));
    let (failed, effects) = follow(applying, [failure]);
    assert_eq!(failed.steps["file.a"].state, StepState::Unknown);
    assert!(effects.contains(&Effect::DeploymentIs(DeploymentState::Partial)));
}

#[test]
fn the_rules_on_approvals_are_those_of_the_present() {
    let environment = |kind, allow_self_approval| Environment {
        name: run(RunKind::Apply, false, true).name.deployment_name().environment_name(),
        meta: Meta::new(uid(4), Described::default(), principal("ada"), now(0)),
        kind,
        require_approval: false,
        drift_policy: None,
        allow_self_approval,
        runner_pool: "runnerPools/default".parse().expect("valid"),
        require_undrifted_dependencies: false,
        ttl: TtlPolicy::default(),
        approval_policy: None,
    };
    let under = |run: Run, environment: &Environment| run.under(Demand::of(environment), &people(), now(9));
    let (dev, prod) = (environment(EnvironmentKind::Dev, false), environment(EnvironmentKind::Prod, false));
    let (auto, _) = follow(run(RunKind::Apply, false, true), [claimed(), planned(1)]);
    let applied_by = |who| {
        let (waiting, _) = follow(run(RunKind::Apply, false, false), [claimed(), planned(1)]);
        follow(waiting, [RunEvent::Confirmed(decision(who, "sha256:one"))]).0
    };
    let table = [
        ("auto-apply", auto, true, false, false),
        ("the author", applied_by("ada"), true, false, true),
        ("another", applied_by("bob"), true, true, true),
    ];
    for (who, queued, in_dev, in_prod, in_lenient_prod) in table {
        assert_eq!(queued.phase, RunPhase::ApplyQueued);
        assert_eq!(under(queued.clone(), &dev).is_approved(), in_dev, "{who}");
        assert_eq!(under(queued.clone(), &prod).is_approved(), in_prod, "{who}");
        let lenient = environment(EnvironmentKind::Prod, true);
        assert_eq!(under(queued.clone(), &lenient).is_approved(), in_lenient_prod, "{who}");
        let (voided, _) = follow(under(queued, &prod), [RunEvent::ApprovalVoided]);
        assert_eq!(voided.phase, RunPhase::AwaitingApproval);
        let counts = voided.approval.as_ref().is_some_and(|approval| approval.approved);
        assert_eq!(counts, in_prod, "what counts is kept");
        let refused = voided.step(RunEvent::Confirmed(decision("cleo", "sha256:one")), now(9));
        if in_prod {
            refused.expect("it was approved already");
            continue;
        }
        assert_eq!(refused.expect_err("not without an approval").reason(), Reason::ApprovalRequired);
    }
}

#[test]
fn a_plan_of_a_state_that_moved_on_is_outdated() {
    let name = run(RunKind::Apply, false, true).name.deployment_name();
    let meta = Meta::new(uid(2), Described::default(), principal("ada"), now(0));
    let version = "tenants/acme/blueprints/greeting/versions/1.0.0".parse().expect("valid");
    let new = Deployment::new(name, meta, version, serde_json::Map::new());
    let deployment = |state_serial, active_run| Deployment { active_run, state_serial, ..new.clone() };
    let other = Some(uid(8));
    let table = [
        // Kind, resources to create, serial of the deployment, who changes it, outdated.
        (RunKind::Plan, 0, 1, other, false),
        (RunKind::Drift, 0, 0, None, false),
        (RunKind::Drift, 0, 1, None, true),
        (RunKind::Drift, 0, 0, other, true),
        (RunKind::Destroy, 0, 0, other, true),
        (RunKind::Apply, 0, 0, other, true),
        (RunKind::Apply, 1, 0, other, false),
        (RunKind::Apply, 1, 1, None, true),
        (RunKind::Rollback, 0, 0, None, false),
    ];
    for (kind, create, serial, holder, outdated) in table {
        let said = run(kind, false, true).is_outdated(&plan(create), &deployment(serial, holder));
        assert_eq!(said, outdated, "{kind:?} that creates {create} at serial {serial}, changed by {holder:?}");
    }
}

#[test]
fn a_late_result_is_taken_from_who_lost_the_apply_and_from_nobody_else() {
    let (first, second): (RunnerName, RunnerName) = (runner(), "runnerPools/default/runners/r2".parse().expect("valid"));
    let taken_by = |runner: &RunnerName| RunEvent::Claimed { runner: runner.clone(), ask: ask() };
    let (applying, _) = follow(run(RunKind::Apply, false, true), [claimed(), planned(1), claimed()]);
    let fence = applying.epoch;
    let (recovering, _) = follow(applying.clone(), [RunEvent::LeaseExpired]);
    let (taken, _) = follow(recovering.clone(), [taken_by(&second)]);
    let (resumed, _) = follow(recovering.clone(), [RunEvent::Resumed(first.clone(), fence)]);
    let (again, _) = follow(taken.clone(), [RunEvent::LeaseExpired, taken_by(&first)]);
    let (broken, _) = follow(applying.clone(), [RunEvent::LockBroken(principal("ada"))]);
    let (done, _) = follow(applying.clone(), [RunEvent::Applied(ApplyEnd::default())]);
    let (done_by_second, _) = follow(taken.clone(), [RunEvent::Applied(ApplyEnd::default())]);
    let (missing, own) = (Reason::ResourceNotFound, Reason::StateNotAllowed);
    let table = [
        ("under the lease", &applying, fence, &first, Err(own)),
        ("a fence before the apply", &broken, fence - 1, &first, Err(missing)),
        ("a fence of the future", &broken, fence + 1, &first, Err(missing)),
        ("somebody else", &broken, fence, &second, Err(missing)),
        ("it may take it up again", &recovering, fence, &first, Err(own)),
        ("it took it up again", &resumed, fence, &first, Err(own)),
        ("it was given it anew", &again, fence, &first, Err(own)),
        ("another has it", &taken, fence, &first, Ok(1)),
        ("the other's own", &taken, taken.epoch, &second, Err(own)),
        ("the first one has it again", &again, taken.epoch, &second, Ok(1)),
        ("the lock was broken", &broken, fence, &first, Ok(1)),
        ("it has reported in time", &done, fence, &first, Ok(0)),
        ("another came to the end", &done_by_second, fence, &first, Ok(1)),
    ];
    for (what, run, epoch, who, expected) in table {
        let stepped = run.clone().step(RunEvent::LateResult(late(epoch, who, "one")), now(99));
        let seen = stepped.as_ref().map(|(after, _)| after.late_results.len()).map_err(Error::reason);
        assert_eq!(seen, expected, "{what}");
        let Ok((after, effects)) = stepped else { continue };
        assert_eq!((after.phase, after.outcome, after.epoch, effects), (run.phase, run.outcome, run.epoch, Vec::new()), "{what}");
        let (repeated, _) = follow(after.clone(), [RunEvent::LateResult(late(epoch, who, "one"))]);
        assert_eq!(repeated, after, "{what}, repeated");
        let other = after.clone().step(RunEvent::LateResult(late(epoch, who, "two")), now(99)).map(|(run, _)| run);
        match expected {
            Ok(0) => assert_eq!(other.expect("nothing is late"), after),
            _ => assert_eq!(other.expect_err("one for each fence").reason(), Reason::StateNotAllowed, "{what}"),
        }
    }
}

fn event() -> impl Strategy<Value = RunEvent> {
    let step = |state| Progress { state, error: String::new() };
    let failure = RunError::new("failed", "it failed", "", false);
    let end = (any::<bool>(), any::<bool>(), any::<bool>(), 0..2_usize).prop_map({
        let failure = failure.clone();
        move |(changed, fails, cancelled, unknown)| {
            RunEvent::Applied(ApplyEnd {
                changed,
                unknown: vec!["file.a".to_owned(); unknown],
                remaining: 1,
                error: fails.then(|| failure.clone()),
                cancelled,
            })
        }
    });
    prop_oneof![
        3 => Just(claimed()),
        1 => Just(RunEvent::ApprovalVoided),
        1 => Just(RunEvent::WaitsFor(Wait { resource: "upstream".to_owned(), detail: "an upstream".to_owned() })),
        1 => Just(RunEvent::Refused(failure.clone())),
        1 => Just(RunEvent::StateLost(failure.clone())),
        1 => Just(RunEvent::Prepared),
        3 => (0..2).prop_map(planned),
        1 => Just(RunEvent::QuotaBlocked("no room".to_owned())),
        2 => Just(RunEvent::Approved(decision("bob", "sha256:one"))),
        1 => Just(RunEvent::Approved(decision("ada", "sha256:one"))),
        1 => Just(RunEvent::Confirmed(decision("ada", "sha256:one"))),
        1 => Just(RunEvent::Rejected(decision("bob", "sha256:one"))),
        1 => Just(RunEvent::CancelRequested),
        2 => Just(RunEvent::Progressed(1, vec![("file.a".to_owned(), step(StepState::Started))])),
        2 => end,
        1 => Just(RunEvent::Failed(failure)),
        2 => Just(RunEvent::LeaseExpired),
        1 => Just(RunEvent::Outlives(900)),
        1 => (0..4_i64).prop_map(|epoch| RunEvent::Resumed(runner(), epoch)),
        1 => Just(RunEvent::TakenOver(uid(11))),
        2 => (0..6_i64, any::<bool>()).prop_map(|(epoch, one)| RunEvent::LateResult(late(epoch, &runner(), if one { "one" } else { "two" }))),
        1 => Just(RunEvent::DeadlinePassed),
        1 => Just(RunEvent::Superseded),
        1 => Just(RunEvent::WentStale),
    ]
}

fn kind() -> impl Strategy<Value = RunKind> {
    prop_oneof![Just(RunKind::Plan), Just(RunKind::Apply), Just(RunKind::Destroy), Just(RunKind::Rollback), Just(RunKind::Drift)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// The promises of the run page of ARCHITECTURE.md, over every sequence of events.
    #[test]
    fn any_history_keeps_the_promises(
        kind in kind(), required in any::<bool>(), auto in any::<bool>(), events in prop::collection::vec((event(), 0..500_000_i64), 1..40),
    ) {
        let mut run = run(kind, required, auto);
        let (mut slots, mut locked, mut queued, mut clock) = (0, false, true, 0);
        for (event, pause) in events {
            clock += pause;
            let before = run.clone();
            let Ok((after, effects)) = run.clone().step(event.clone(), now(clock)) else { continue };
            for effect in effects {
                match effect {
                    Effect::TakeSlot => slots += 1,
                    Effect::FreeSlot => slots -= 1,
                    Effect::LeaveQueue => queued = false,
                    Effect::Lock => { prop_assert!(!locked, "locked twice"); locked = true; }
                    Effect::Unlock => { prop_assert!(locked, "unlocked without a lock"); locked = false; }
                    Effect::CommitRevision => prop_assert!(locked, "a revision without the lock"),
                    Effect::ConfirmRevision => prop_assert_eq!(after.outcome, Some(RunOutcome::NoChanges)),
                    Effect::DeploymentIs(_) | Effect::DriftFound(_) => {}
                }
            }
            prop_assert_eq!(slots, i32::from(after.phase.is_leased()), "a place among concurrent runs is held with the lease and only then");
            prop_assert_eq!(queued, after.epoch == 0 && !after.is_done(), "a place among what waits is held to the first job, and no longer");
            prop_assert_eq!(locked, after.phase.holds_lock(), "the deployment is locked from apply to end and only then");
            prop_assert!(after.epoch >= before.epoch, "fences only grow");
            prop_assert_eq!(after.version, before.version + i64::from(after != before), "a change is a new version");
            prop_assert_eq!(after.is_done(), after.outcome.is_some());
            if let RunEvent::LateResult(late) = &event {
                prop_assert!(before.runner.as_ref() != Some(&late.runner) || !before.phase.is_leased(), "who has the run is not late");
                let but_for_it = Run {
                    late_results: before.late_results.clone(),
                    version: before.version,
                    update_time: before.update_time,
                    ..after.clone()
                };
                prop_assert_eq!(&but_for_it, &before, "a late result changes nothing else");
            } else if before.is_done() {
                prop_assert_eq!(&after, &before, "what has ended stays as it ended: {:?}", event);
            }
            prop_assert!(after.late_results.len() <= after.holders.len(), "one for each holder at most");
            if !after.is_done() {
                prop_assert!(after.deadline.is_some(), "{:?} has no end in sight", after.phase);
                prop_assert_eq!(after.waiting_on.is_some(), !after.phase.is_leased(), "{:?} must say what it waits for", after.phase);
            }
            if after.phase == RunPhase::Applying && before.phase == RunPhase::ApplyQueued {
                prop_assert!(after.is_approved(), "applied without an approval of this very plan");
                prop_assert!(kind.mutates(), "{:?} never applies", kind);
            }
            run = after;
        }
    }
}
