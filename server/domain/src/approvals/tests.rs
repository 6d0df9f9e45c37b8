//! Rules of policies as tables, and the promise of approvals over any history.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{
    access::Grant,
    deployments::Deployment,
    environments::{Environment, EnvironmentKind},
    lifetimes::TtlPolicy,
    resource::Described,
    runs::{
        Ask, ChangeAction, Decision, NewRun, PlanBinding, PlanFacts, PlannedChange, Reversibility, ReversibilityCounts, Run,
        RunEvent, RunKind, RunOutcome, RunPhase,
    },
    time::{Timestamp, Uid},
};

fn now(second: i64) -> Timestamp {
    Timestamp::from_micros(second * 1_000_000)
}

fn principal(name: &str) -> Principal {
    format!("tenants/acme/users/{name}").parse().expect("valid")
}

fn meta(labels: &[(&str, &str)]) -> Meta {
    let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Meta::new(Uid(uuid::Uuid::from_u128(1)), Described { display_name: String::new(), labels }, principal("ada"), now(0))
}

fn environment(kind: EnvironmentKind) -> Environment {
    Environment {
        drift_policy: None,
        name: "tenants/acme/projects/shop/environments/live".parse().expect("valid"),
        meta: meta(&[("tier", "gold")]),
        kind,
        runner_pool: "runnerPools/default".parse().expect("valid"),
        allow_self_approval: false,
        require_approval: false,
        approval_policy: None,
        require_undrifted_dependencies: false,
        ttl: TtlPolicy::default(),
    }
}

fn rule(name: &str, when: &str, approvals: u32) -> Rule {
    let require = Requirement { approvals, ..Requirement::default() };
    Rule { name: name.parse().expect("valid"), when: when.to_owned(), require }
}

fn policy(rules: Vec<Rule>) -> ApprovalPolicy {
    let name = "tenants/acme/approvalPolicies/careful".parse().expect("valid");
    ApprovalPolicy { name, meta: meta(&[]), description: String::new(), rules }
}

fn plan(changes: &BTreeMap<String, PlannedChange>) -> PlanFacts {
    let count = |action| changes.values().filter(|change| change.action == action).count() as i32;
    PlanFacts {
        digest: "sha256:one".to_owned(),
        base_serial: 0,
        create: count(ChangeAction::Create),
        update: count(ChangeAction::Update),
        replace: count(ChangeAction::Replace),
        delete: count(ChangeAction::Delete),
        unchanged: 0,
        drifted: 0,
        outputs_change: false,
        reversibility: changes.values().map(|change| change.reversibility).collect::<ReversibilityCounts>(),
        binding: PlanBinding::Exact,
        reviewed: Reviewed { blueprint_digest: "sha256:b".to_owned(), inputs_digest: "hmac-sha256:i".to_owned() },
        create_time: now(0),
    }
}

/// A file is changed, and a database is removed.
fn changes() -> BTreeMap<String, PlannedChange> {
    let change = |kind: &str, action, reversibility| PlannedChange { action, kind: kind.to_owned(), reversibility };
    BTreeMap::from([
        ("file.motd".to_owned(), change("file", ChangeAction::Update, Reversibility::Reversible)),
        ("postgres_database.main".to_owned(), change("postgres_database", ChangeAction::Delete, Reversibility::Irreversible)),
    ])
}

/// What the rules ask for of that plan in production.
fn demand(rules: Vec<Rule>) -> Demand {
    let environment = environment(EnvironmentKind::Prod);
    let name = "tenants/acme/projects/shop/environments/live/deployments/web".parse().expect("valid");
    let version = "tenants/acme/blueprints/web/versions/1.2.0".parse().expect("valid");
    let deployment = Deployment::new(name, meta(&[("owner", "web")]), version, serde_json::Map::new());
    let (author, changes) = (principal("ada"), changes());
    let facts = facts(Planned {
        environment: &environment,
        deployment: &deployment,
        version: &deployment.blueprint_version,
        kind: RunKind::Apply,
        author: &author,
        plan: &plan(&changes),
        changes: &changes,
    });
    assert!(
        SUBJECTS.iter().all(|(subject, fields)| facts[*subject].keys().eq(fields.iter())),
        "what conditions may read is what there is"
    );
    Demand::by(Some(&policy(rules)), &environment, &facts)
}

#[test]
fn the_first_rule_that_matches_decides_and_the_environment_where_none_does() {
    let holds = [
        "plan.irreversible > 0 && plan.delete == 1 && plan.update == 1 && plan.reversible == 1 && plan.unknown == 0",
        "plan.changes.exists(c, c.type == 'postgres_database' && c.action == 'DELETE' && c.reversibility == 'IRREVERSIBLE')",
        "plan.changes.all(c, c.address.startsWith('file.') || c.address.startsWith('postgres_database.'))",
        "environment.kind == 'PROD' && environment.labels.tier == 'gold' && environment.id == 'live' && environment.project == 'shop'",
        "deployment.labels.owner == 'web' && deployment.blueprint == 'web' && deployment.version.startsWith('1.')",
        "author.principal == 'tenants/acme/users/ada' && author.kind == 'USER' && run.kind == 'APPLY'",
    ];
    for when in holds {
        let found = demand(vec![rule("never", "false", 7), rule("this", when, 3), rule("later", "true", 9)]);
        assert_eq!((found.fault, found.rule.as_str(), found.require.approvals), (None, "this", 3), "{when}");
    }
    let none = demand(vec![rule("never", "plan.create > 0", 0)]);
    assert_eq!((none.rule.as_str(), none.require.approvals), ("", 1), "production asks for one by itself");
    let free = demand(vec![rule("free", "true", 0)]);
    assert!(!free.needs_approval(), "a rule may ask for nothing");
    assert_ne!(free.policy_digest, none.policy_digest);

    let broken = demand(vec![rule("broken", "environment.labels.absent == 'x'", 0), rule("later", "true", 0)]);
    assert!(broken.needs_approval() && broken.fault.is_some_and(|why| why.contains("does not have the key")));
}

#[test]
fn everything_that_is_wrong_with_rules_is_named_at_once() {
    let mut bad = rule("one", "plan.creates > 0 && x", 11);
    bad.require.expiry = Some(Duration::ZERO);
    bad.require.max_plan_age = Some(MAX_TIME * 2);
    let mut few = rule("one", "true", 2);
    few.require.from = vec!["tenants/acme/users/ada".parse().expect("valid")];
    let mut violations = Violations::new();
    check("rules", &[bad, few], &mut violations);
    let error = violations.finish().expect_err("all of that");
    let fields: Vec<&str> = error.violations().iter().map(|violation| violation.field.as_str()).collect();
    let expected = [
        "rules[0].when",
        "rules[0].when",
        "rules[0].require.approvals",
        "rules[0].require.max_plan_age",
        "rules[0].require.expiry",
        "rules[1].name",
        "rules[1].require.from",
    ];
    assert_eq!(fields, expected);
    assert!(error.violations()[0].description.starts_with("line 1, column 6: `plan` has no `creates`; did you mean `create`?"));
    for wrong in ["roles/platform-admin", "roles/nobody", "ada", ""] {
        assert!(wrong.parse::<Approver>().is_err(), "{wrong}");
    }
    let mut violations = Violations::new();
    check("rules", &[], &mut violations);
    assert!(violations.finish().is_err());
}

#[test]
fn a_policy_keeps_its_form_and_its_digest() {
    let mut one = rule("one", "true", 1);
    one.require.from = vec!["roles/approver".parse().expect("valid"), "platform/admin".parse().expect("valid")];
    let policy = policy(vec![one]);
    let read: ApprovalPolicy = serde_json::from_value(serde_json::to_value(&policy).expect("JSON")).expect("the same");
    assert_eq!((&read, read.digest()), (&policy, policy.digest()));
    assert_eq!(json!(policy.rules[0].require.from), json!(["roles/approver", "platform/admin"]));
}

/// What happens in a story about approvals.
#[derive(Clone, Debug)]
enum Happening {
    /// This one approves, with that plan digest.
    Approves(usize, &'static str),
    Confirms(usize),
    Withdraws(usize),
    /// This one is given or loses the role.
    Joins(usize),
    Leaves(usize),
    /// Other rules.
    Asks(u32, bool, Option<i64>, Option<i64>),
    /// A runner asks for it.
    Claims,
}

const PEOPLE: [&str; 4] = ["ada", "bob", "cleo", "dan"];

fn happening() -> impl Strategy<Value = Happening> {
    let who = 0..PEOPLE.len();
    let rules = (0..4_u32, any::<bool>(), proptest::option::of(1..40_i64), proptest::option::of(1..200_i64));
    prop_oneof![
        5 => who.clone().prop_map(|who| Happening::Approves(who, "sha256:one")),
        1 => who.clone().prop_map(|who| Happening::Approves(who, "sha256:two")),
        1 => who.clone().prop_map(Happening::Confirms),
        1 => who.clone().prop_map(Happening::Withdraws),
        1 => who.clone().prop_map(Happening::Joins),
        1 => who.prop_map(Happening::Leaves),
        1 => rules.prop_map(|(n, own, expiry, age)| Happening::Asks(n, own, expiry, age)),
        4 => Just(Happening::Claims),
    ]
}

fn standings(members: [bool; 4]) -> Standings {
    let grant = |role: &str| {
        let role = Role::find(role).expect("exists");
        Grant { role, resource: "tenants/acme/projects/shop".to_owned(), expire_time: None }
    };
    let grants = |member: bool| if member { vec![grant("roles/approver")] } else { vec![grant("roles/tenant-admin")] };
    PEOPLE.iter().zip(members).map(|(name, member)| (principal(name), Standing { grants: grants(member) })).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens, an apply begins only on as many approvals as are asked for at that moment: by different people, none of
    /// them the author unless the rule lets them, all of them of the group that the rule names at that moment, none withdrawn,
    /// none expired, and a plan that is young enough. A model that knows nothing of runs keeps count.
    #[test]
    fn an_apply_never_begins_without_the_approvals_that_are_asked_for(
        auto in any::<bool>(), events in prop::collection::vec((happening(), 0..15_i64), 1..40),
    ) {
        let mut required = Requirement { approvals: 2, from: vec!["roles/approver".parse().expect("valid")], ..Requirement::default() };
        let mut members = [true, true, true, false];
        // Who approved when, as long as nobody took it back.
        let mut given: Vec<(usize, i64)> = Vec::new();
        let by = |require: &Requirement| Demand { require: require.clone(), ..Demand::default() };
        let name = format!("tenants/acme/projects/shop/environments/live/deployments/web/runs/{}", uuid::Uuid::from_u128(2));
        let new = NewRun {
            name: name.parse().expect("valid"),
            kind: RunKind::Apply,
            deployment: Uid(uuid::Uuid::from_u128(3)),
            pool: "runnerPools/default".parse().expect("valid"),
            blueprint_version: "tenants/acme/blueprints/web/versions/1.2.0".parse().expect("valid"),
            blueprint_version_uid: Uid(uuid::Uuid::from_u128(4)),
            inputs: serde_json::Map::new(),
            engine: "native".to_owned(),
            target_revision: 0,
            generation: 1,
            auto_apply: auto,
            demand: by(&required),
            creator: principal("ada"),
            message: String::new(),
            dependencies: Vec::new(),
            resolved: false,
        };
        let claimed = || RunEvent::Claimed {
            runner: "runnerPools/default/runners/r1".parse().expect("valid"),
            ask: Ask { uid: Uid(uuid::Uuid::from_u128(9)), incarnation: Uid(uuid::Uuid::from_u128(10)) },
        };
        let (run, _) = Run::new(new, now(0)).step(claimed(), now(0)).expect("taken");
        let (mut run, _) = run.step(RunEvent::Planned(plan(&changes()), changes()), now(0)).expect("planned");
        let mut clock = 0;
        for (event, pause) in events {
            clock += pause;
            let present = standings(members);
            let decision = |who: usize, digest: &str| Decision {
                by: principal(PEOPLE[who]),
                plan_digest: digest.to_owned(),
                review_digest: None,
                comment: String::new(),
                channel: "certificate".to_owned(),
                standing: present.get(&principal(PEOPLE[who])).cloned(),
            };
            let event = match event {
                Happening::Joins(who) => { members[who] = true; continue }
                Happening::Leaves(who) => { members[who] = false; continue }
                Happening::Asks(approvals, own, expiry, age) => {
                    let seconds = |time: Option<i64>| time.map(|time| Duration::from_secs(time.unsigned_abs()));
                    required = Requirement {
                        approvals,
                        allow_self_approval: own,
                        expiry: seconds(expiry),
                        max_plan_age: seconds(age),
                        ..required
                    };
                    continue
                }
                Happening::Approves(who, digest) => RunEvent::Approved(decision(who, digest)),
                Happening::Confirms(who) => RunEvent::Confirmed(decision(who, "sha256:one")),
                Happening::Withdraws(who) => RunEvent::Withdrawn(principal(PEOPLE[who])),
                Happening::Claims if run.phase == RunPhase::ApplyQueued => {
                    run = run.under(by(&required), &present, now(clock));
                    run.hindrance(now(clock)).unwrap_or_else(claimed)
                }
                Happening::Claims => continue,
            };
            // As the service does before it lets anybody decide.
            let judged = run.clone().under(by(&required), &present, now(clock));
            let Ok((after, effects)) = judged.clone().step(event.clone(), now(clock)) else { continue };
            match event {
                RunEvent::Approved(_) | RunEvent::Confirmed(_) if after.approvals.len() > judged.approvals.len() => {
                    let last = after.approvals.last().expect("one more");
                    let who = PEOPLE.iter().position(|name| principal(name) == last.principal).expect("one of them");
                    prop_assert_eq!(&last.plan_digest, "sha256:one", "an approval of another plan was kept");
                    given.push((who, clock));
                }
                RunEvent::Withdrawn(who) => given.retain(|(giver, at)| {
                    let live = required.expiry.is_none_or(|expiry| clock < at + expiry.as_secs() as i64);
                    principal(PEOPLE[*giver]) != who || !live
                }),
                _ => {}
            }
            if after.phase == RunPhase::Applying {
                let count = (0..PEOPLE.len())
                    .filter(|who| {
                        let asked = required.approvals > 0;
                        let live = |at: i64| required.expiry.is_none_or(|expiry| clock < at + expiry.as_secs() as i64);
                        given.iter().any(|(giver, at)| giver == who && live(*at))
                            && (!asked || members[*who] && (required.allow_self_approval || *who != 0))
                    })
                    .count();
                let enough = if required.approvals == 0 { auto || count > 0 } else { count >= required.approvals as usize };
                prop_assert!(enough, "{count} of {} approvals: {after:?}", required.approvals);
                let young = required.max_plan_age.is_none_or(|age| clock < age.as_secs() as i64);
                prop_assert!(young, "an old plan is applied");
                return Ok(());
            }
            prop_assert!(effects.is_empty() || after.is_done(), "who waits holds nothing: {effects:?}");
            if after.phase == RunPhase::AwaitingApproval {
                prop_assert!(after.waiting_on.is_some() && after.deadline.is_some());
            }
            run = after;
            if run.is_done() {
                prop_assert_eq!(run.outcome, Some(RunOutcome::Expired));
                return Ok(());
            }
        }
    }
}
