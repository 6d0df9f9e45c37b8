//! The life of runs, as tables and as properties over any sequence of events.

use proptest::prelude::*;

use super::*;
use crate::{runs::NewRun, time::Uid};

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
            auto_apply,
            approval_required,
            allow_self_approval: false,
            creator: principal("ada"),
            message: String::new(),
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
    }
}

fn planned(create: i32) -> RunEvent {
    RunEvent::Planned(plan(create), BTreeMap::from([("file.a".to_owned(), ChangeAction::Create)]))
}

fn decision(by: &str, digest: &str) -> Decision {
    Decision { by: principal(by), plan_digest: digest.to_owned(), comment: String::new() }
}

fn claimed() -> RunEvent {
    RunEvent::Claimed { runner: runner(), ask: uid(9) }
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
    assert_eq!(effects, [Effect::TakeSlot, Effect::FreeSlot, Effect::Lock, Effect::TakeSlot]);

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
    ];
    for (kind, create, phase, outcome) in table {
        let (run, _) = follow(run(kind, false, true), [claimed(), planned(create)]);
        assert_eq!((run.phase, run.outcome), (phase, outcome), "{kind:?} with {create}");
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
fn a_destroy_that_leaves_something_is_no_destroy() {
    let events = [claimed(), planned(1), claimed()];
    let (applying, _) = follow(run(RunKind::Destroy, false, true), events);
    let (run, effects) = follow(applying, [RunEvent::Applied(ApplyEnd { changed: true, remaining: 1, ..ApplyEnd::default() })]);
    assert_eq!(run.outcome, Some(RunOutcome::Failed));
    assert!(effects.contains(&Effect::DeploymentIs(DeploymentState::Partial)));
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
        1 => Just(RunEvent::Waits(WaitingReason::Quota, "a place".to_owned())),
        1 => Just(RunEvent::Prepared),
        3 => (0..2).prop_map(planned),
        1 => Just(RunEvent::QuotaBlocked("no room".to_owned())),
        2 => Just(RunEvent::Approved(decision("bob", "sha256:one"))),
        1 => Just(RunEvent::Approved(decision("ada", "sha256:one"))),
        1 => Just(RunEvent::Confirmed(decision("ada", "sha256:one"))),
        1 => Just(RunEvent::Rejected(decision("bob", "sha256:one"))),
        1 => Just(RunEvent::CancelRequested),
        2 => Just(RunEvent::Progressed(vec![("file.a".to_owned(), step(StepState::Started))])),
        2 => end,
        1 => Just(RunEvent::Failed(failure)),
        2 => Just(RunEvent::LeaseExpired),
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
        let (mut slots, mut locked, mut clock) = (0, false, 0);
        for (event, pause) in events {
            clock += pause;
            let before = run.clone();
            let Ok((after, effects)) = run.clone().step(event.clone(), now(clock)) else { continue };
            for effect in effects {
                match effect {
                    Effect::TakeSlot => slots += 1,
                    Effect::FreeSlot => slots -= 1,
                    Effect::Lock => { prop_assert!(!locked, "locked twice"); locked = true; }
                    Effect::Unlock => { prop_assert!(locked, "unlocked without a lock"); locked = false; }
                    Effect::CommitRevision => prop_assert!(locked, "a revision without the lock"),
                    Effect::DeploymentIs(_) | Effect::DriftFound(_) => {}
                }
            }
            prop_assert_eq!(slots, i32::from(after.phase.is_leased()), "a place among concurrent runs is held with the lease and only then");
            prop_assert_eq!(locked, after.phase.holds_lock(), "the deployment is locked from apply to end and only then");
            prop_assert!(after.epoch >= before.epoch, "fences only grow");
            prop_assert_eq!(after.version, before.version + i64::from(after != before), "a change is a new version");
            prop_assert_eq!(after.is_done(), after.outcome.is_some());
            if before.is_done() { prop_assert_eq!(&after, &before, "what has ended stays as it ended: {:?}", event); }
            if !after.is_done() {
                let watched = after.deadline.is_some() || after.cancel_requested;
                prop_assert!(watched, "{:?} has no end in sight", after.phase);
                prop_assert_eq!(after.waiting_on.is_some(), !after.phase.is_leased(), "{:?} must say what it waits for", after.phase);
            }
            if after.phase == RunPhase::Applying && before.phase == RunPhase::ApplyQueued {
                let digest = after.plan.as_ref().map(|plan| plan.digest.clone());
                let approved = after.approval.as_ref().is_some_and(|a| a.approved && Some(&a.plan_digest) == digest.as_ref());
                prop_assert!(approved || (auto && !required), "applied without an approval of this very plan");
                prop_assert!(kind.mutates(), "{:?} never applies", kind);
            }
            run = after;
        }
    }
}
