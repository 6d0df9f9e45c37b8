//! What is said of runs, whatever is true around them.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::{
    approvals::{Demand, Requirement},
    queue::{Class, Share},
    quotas::Dimension,
    resource::{Described, Meta},
    runs::NewRun,
    tenants::TenantState,
    time::Uid,
};

fn uid(number: u128) -> Uid {
    Uid(uuid::Uuid::from_u128(number))
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_micros((1_000_000 + second) * 1_000_000)
}

fn runner(number: usize, engine: &str, draining: bool, silent: bool) -> Runner {
    Runner {
        engine_versions: Default::default(),
        labels: Default::default(),
        platform: Default::default(),
        sandbox: String::new(),
        name: format!("runnerPools/default/runners/r{number}").parse().expect("valid"),
        version: "1".to_owned(),
        engines: vec![engine.to_owned()],
        capacity: 2,
        running: 0,
        draining,
        last_seen_time: at(if silent { -100 } else { 0 }),
        create_time: at(-200),
    }
}

/// A run that waits, alone, with a free runner.
fn facts(kind: RunKind, phase: RunPhase) -> Facts {
    let name = format!("tenants/acme/projects/shop/environments/dev/deployments/web/runs/{}", uid(1));
    let new = NewRun {
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
        auto_apply: true,
        demand: Demand { require: Requirement::default(), ..Demand::default() },
        creator: "tenants/acme/users/ada".parse().expect("valid"),
        message: String::new(),
        dependencies: Vec::new(),
        resolved: false,
    };
    let mut run = Run::new(new, at(-10));
    run.phase = phase;
    run.steps = BTreeMap::new();
    let described = || Meta::new(uid(2), Described::default(), "platform/admin", at(-20));
    let (name, version) = (run.name.deployment_name(), run.blueprint_version.clone());
    let deployment = Deployment::new(name, described(), version, serde_json::Map::new());
    let admin = "platform/admin".parse().expect("valid");
    let tenant = Tenant::new(run.name.tenant_name(), Described::default(), uid(9), &admin, at(-30));
    let waiting = Class::of(&run).map(|class| Waiting {
        tenant: tenant.scope(),
        run: run.uid(),
        class,
        place: class.place(run.create_time),
        share: Share::new(1),
    });
    Facts {
        tenant,
        deployment,
        lock_holder: None,
        dependency: None,
        slots: None,
        runners: vec![runner(1, "native", false, false)],
        jobs: Vec::new(),
        queue: (waiting.into_iter().collect(), 0),
        queue_goes_on: false,
        job_time: None,
        deciders: Vec::new(),
        lease: None,
        now: at(0),
        run,
    }
}

fn slots(limit: i64, reserved: i64) -> (Quota, Vec<String>) {
    let quota = Quota {
        dimension: Dimension::ConcurrentRuns,
        limit: Some(limit),
        used: 0,
        reserved,
        version: 1,
        window: None,
        update_time: at(0),
    };
    (quota, vec!["a run".to_owned()])
}

#[test]
fn a_start_is_told_with_what_it_rests_on() {
    let mut alone = facts(RunKind::Apply, RunPhase::Queued);
    let told = Explanation::of(&alone);
    assert_eq!((told.queue_position, told.predicted_start_time), (Some(1), Some(at(0))));

    // Both places of the runner are taken since different times, and one of another tenant is before it.
    let other = Waiting { tenant: crate::access::TenantScope(uid(5)), run: uid(6), place: at(-100), ..alone.queue.0[0] };
    alone.queue.0.push(other);
    let name = alone.runners[0].name.clone();
    alone.jobs = vec![(name.clone(), at(-50)), (name, at(-20))];
    let told = Explanation::of(&alone);
    assert_eq!((told.queue_position, told.predicted_start_time), (Some(2), None), "nobody knows how long jobs take");
    assert_eq!(told.waiting_on.map(|on| on.reason), Some(WaitingReason::RunnersBusy));
    alone.job_time = Some(Duration::from_secs(60));
    let told = Explanation::of(&alone);
    assert_eq!(told.predicted_start_time, Some(at(40)), "when the second of both is free");
    assert!(told.prediction.contains("60s"), "{}", told.prediction);

    alone.queue.0.clear();
    alone.queue_goes_on = true;
    let told = Explanation::of(&alone);
    assert_eq!((told.queue_position, told.predicted_start_time), (None, None));
    assert!(told.prediction.contains("too far behind"), "{}", told.prediction);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whoever waits is told for what, and what can end it; what is foretold is never what cannot be known.
    #[test]
    fn no_wait_is_without_a_reason_and_no_reason_without_a_way_out(
        kind in prop_oneof![Just(RunKind::Plan), Just(RunKind::Apply), Just(RunKind::Destroy), Just(RunKind::Drift)],
        phase in prop_oneof![
            Just(RunPhase::Queued), Just(RunPhase::AwaitingApproval), Just(RunPhase::ApplyQueued), Just(RunPhase::Recovering),
            Just(RunPhase::Planning), Just(RunPhase::Applying),
        ],
        suspended in any::<bool>(), full in any::<bool>(), locked in any::<bool>(), protected in any::<bool>(),
        depends in any::<bool>(),
        runners in prop::collection::vec((any::<bool>(), any::<bool>(), any::<bool>()), 0..4), decided in any::<bool>(),
    ) {
        let mut facts = facts(kind, phase);
        if suspended {
            facts.tenant.state = TenantState::Suspended;
        }
        facts.slots = Some(slots(1, i64::from(full)));
        facts.deployment.active_run = locked.then(|| uid(77));
        facts.deployment.deletion_protection = protected;
        let depends = depends && matches!(phase, RunPhase::Queued | RunPhase::ApplyQueued);
        facts.dependency = depends.then(|| Wait { resource: "upstream".to_owned(), detail: "an upstream".to_owned() });
        facts.deciders = vec!["tenants/acme/users/bob".to_owned(); usize::from(decided)];
        facts.runners = runners.iter().enumerate().map(|(number, (native, draining, silent))| {
            runner(number, if *native { "native" } else { "other" }, *draining, *silent)
        }).collect();
        let can_take = runners.iter().any(|(native, draining, silent)| *native && !draining && !silent);
        let stopped = suspended && phase != RunPhase::Recovering;
        let applies = phase == RunPhase::ApplyQueued;
        let hindered = stopped || full || depends || applies && (locked || protected && kind == RunKind::Destroy);

        let told = Explanation::of(&facts);
        prop_assert!(!told.next.is_empty() && !told.at_deadline.is_empty());
        if phase.is_leased() {
            prop_assert_eq!(told.waiting_on, None);
            return Ok(());
        }
        let on = told.waiting_on.expect("a reason");
        prop_assert!(!on.detail.is_empty() && !on.resource.is_empty() && !told.prediction.is_empty());
        let free = !hindered && can_take && phase.is_claimable();
        prop_assert_eq!(told.blockers.is_empty(), free, "{:?}", on);
        prop_assert_eq!(told.predicted_start_time.is_some(), free, "{:?}", on);
        prop_assert_eq!(told.queue_position.is_some(), free, "{:?}", on);
        prop_assert!(told.blockers.iter().all(|one| !one.resource.is_empty() && !one.detail.is_empty() && !one.action.is_empty()));
        let expected = match phase {
            RunPhase::AwaitingApproval => WaitingReason::Approval,
            _ if stopped => WaitingReason::TenantSuspended,
            _ if full => WaitingReason::Quota,
            RunPhase::ApplyQueued if locked => WaitingReason::Lock,
            RunPhase::ApplyQueued if protected && kind == RunKind::Destroy => WaitingReason::Protection,
            _ if depends => WaitingReason::Dependency,
            _ if !can_take && runners.iter().all(|(_, _, silent)| *silent) => WaitingReason::RunnersAbsent,
            _ if !can_take && !runners.iter().any(|(native, _, silent)| *native && !silent) => WaitingReason::EngineMissing,
            _ if !can_take => WaitingReason::RunnersDraining,
            RunPhase::Recovering => WaitingReason::Recovery,
            _ => WaitingReason::Runner,
        };
        prop_assert_eq!(on.reason, expected);
    }
}
