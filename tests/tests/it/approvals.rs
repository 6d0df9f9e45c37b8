//! Approvals: whose count, what they are bound to, and that no apply begins without them.

use std::time::Duration;

use freehold::{ApprovalPolicies, ApprovalRule, Client, Run, RunOutcome, RunPhase, Timestamp};
use freehold_tests::{
    Database::{self, Sqlite},
    Installation, World, armed, until,
};

use crate::scripted_runner::{Runner, applied, planned, planned_as};

/// Two approvers, an administrator who is none, and an author; a policy on `shop/dev` that asks for two approvers.
struct Stage {
    world: World,
    runner: Runner,
    author: Client,
    ada: Client,
    bob: Client,
    boss: Client,
}

impl Stage {
    async fn new(database: Database) -> Self {
        Self::of(World::new(database).await).await
    }

    async fn of(world: World) -> Self {
        let world = world.with_sample().await;
        let author = world.person("acme", "author", &["developer", "approver"]).await;
        let ada = world.person("acme", "ada", &["approver"]).await;
        let bob = world.person("acme", "bob", &["approver"]).await;
        let boss = world.person("acme", "boss", &["tenant-admin"]).await;
        let rule = two();
        world.admin.approval_policies().create("careful").rule(rule).send().await.expect("a policy");
        world.admin.environments().update("shop/dev").approval_policy("careful").send().await.expect("named");
        let wish = author.deployments().create("shop/dev/web", "greeting@1.0.0").input("name", "world");
        wish.send().await.expect("a deployment");
        let runner = Runner::new(&world).await;
        Self { world, runner, author, ada, bob, boss }
    }

    fn policies(&self) -> ApprovalPolicies {
        self.world.admin.approval_policies()
    }

    async fn ask_for(&self, rule: ApprovalRule) {
        self.policies().update("careful").rules([rule]).send().await.expect("other rules");
    }

    /// A run whose plan, of these bytes, waits.
    async fn planned(&mut self, bytes: &str) -> Run {
        let run = self.author.runs().plan("shop/dev/web").auto_apply().send().await.expect("a run").into_run();
        let job = self.runner.ask().await.expect("a plan to make");
        assert_eq!(job.run, run.name);
        self.runner.complete(&job, planned_as(bytes, 1, 0)).await;
        let run = self.read(&run).await;
        assert_eq!(run.phase, RunPhase::AwaitingApproval, "{run:?}");
        run
    }

    /// The same, approved by Ada and Bob, so that it waits for a runner only.
    async fn approved(&mut self) -> Run {
        let run = self.planned("the plan").await;
        self.ada.runs().approve(&run).send().await.expect("one");
        self.bob.runs().approve(self.read(&run).await).send().await.expect("two");
        let run = self.read(&run).await;
        assert_eq!(run.phase, RunPhase::ApplyQueued, "{run:?}");
        run
    }

    async fn read(&self, run: &Run) -> Run {
        self.world.admin.runs().get(&run.name).send().await.expect("a run").into_run()
    }

    /// Nothing is applied; the run says why it waits again.
    async fn sent_back(&mut self, run: &Run, why: &str) -> Result<Run, String> {
        if let Some(job) = self.runner.ask().await {
            return Err(format!("{} is applied although {why}", job.run));
        }
        let run = self.read(run).await;
        let detail = run.waiting_on.as_ref().map(|on| on.detail.clone()).unwrap_or_default();
        if run.phase != RunPhase::AwaitingApproval || !detail.contains(why) {
            return Err(format!("`{why}` is missing: {run:?}"));
        }
        Ok(run)
    }

    /// Takes the role of an approver away from somebody.
    async fn remove(&self, who: &str) {
        let bindings = self.world.admin.access().list_bindings().collect_up_to(100).await.expect("bindings");
        let of = |it: &&freehold::RoleBinding| it.member.ends_with(who) && it.role == "roles/approver";
        let binding = bindings.iter().find(of).expect("a binding");
        self.world.admin.access().unbind(&binding.name).send().await.expect("taken away");
    }
}

/// Two of the role of approvers.
fn two() -> ApprovalRule {
    ApprovalRule::new("two", "plan.create > 0", 2).from("roles/approver")
}

async fn reason(refused: impl Future<Output = freehold::Result<freehold::RunHandle>>) -> String {
    refused.await.map(|run| format!("{:?}", run.run().phase)).expect_err("refused").reason().unwrap_or_default().to_owned()
}

both_databases!(several_people_approve_one_plan_and_each_counts_once);

async fn several_people_approve_one_plan_and_each_counts_once(database: Database) {
    let mut stage = Stage::new(database).await;
    let run = stage.planned("the plan").await;
    let demand = run.approval_demand.clone().expect("a demand");
    assert_eq!((demand.rule.as_deref(), demand.approvals, demand.satisfied), (Some("two"), 2, 0));
    assert_eq!(demand.approval_policy.as_deref(), Some("tenants/acme/approvalPolicies/careful"));
    let reserved = stage.world.admin.quotas().get("concurrent_runs").send().await.expect("a quota").reserved;
    let busy = stage.world.admin.deployments().get("shop/dev/web").send().await.expect("a deployment").active_run;
    assert_eq!((reserved, busy), (0, None), "who waits for people holds no place and no lock");

    assert_eq!(reason(stage.author.runs().approve(&run).send()).await, "PERMISSION_MISSING", "its author");
    assert_eq!(reason(stage.boss.runs().approve(&run).send()).await, "PERMISSION_MISSING", "may approve, and is no approver");
    assert_eq!(reason(stage.author.runs().apply(&run).send()).await, "APPROVAL_REQUIRED");
    let mut other = run.clone();
    other.plan_digest = Some("sha256:0".to_owned());
    assert_eq!(reason(stage.ada.runs().approve(&other).send()).await, "PLAN_STALE");
    let mut other = run.clone();
    other.review_digest = Some("sha256:0".to_owned());
    assert_eq!(reason(stage.ada.runs().approve(&other).send()).await, "PLAN_STALE", "other inputs");

    let one = stage.ada.runs().approve(&run).comment("looks right").send().await.expect("approved").into_run();
    let again = stage.ada.runs().approve(&one).send().await.expect("the same once more").into_run();
    assert_eq!((again.phase, again.etag.as_str()), (RunPhase::AwaitingApproval, one.etag.as_str()), "she counts once");
    let demand = again.approval_demand.clone().expect("a demand");
    assert_eq!((demand.satisfied, again.approvals.len()), (1, 1));
    let waits = again.waiting_on.clone().expect("it waits");
    assert!(waits.detail.starts_with("an approval by somebody else than its author of roles/approver"), "{waits:?}");
    assert!(stage.runner.ask().await.is_none());
    assert_eq!(reason(stage.author.runs().apply(&again).send()).await, "APPROVAL_REQUIRED", "one is not two");

    let run = stage.bob.runs().approve(&again).send().await.expect("approved").into_run();
    assert_eq!(run.phase, RunPhase::ApplyQueued);
    let job = stage.runner.ask().await.expect("work");
    let late = reason(stage.ada.runs().withdraw_approval(&run.name).send()).await;
    assert_eq!(late, "STATE_NOT_ALLOWED", "it has begun");
    stage.runner.complete(&job, applied("a state")).await;
    let run = stage.read(&run).await;
    let who: Vec<_> =
        run.approvals.iter().map(|it| (it.principal.rsplit('/').next(), it.comment.as_deref(), it.counts())).collect();
    assert_eq!(run.outcome, Some(RunOutcome::Succeeded));
    assert_eq!(who, [(Some("ada"), Some("looks right"), true), (Some("bob"), None, true)]);
    assert_eq!(run.approvals[0].channel.as_deref(), Some("certificate"));
    let events = stage.world.admin.events().list().kind("run.approved").events().collect_up_to(10).await.expect("events");
    let told: Vec<_> = events.iter().map(|event| event.principal.rsplit('/').next().unwrap_or_default()).collect();
    assert_eq!(told, ["ada", "bob"], "each approval is announced once, the last one and the others");
}

both_databases!(what_was_approved_of_one_plan_applies_no_other);

async fn what_was_approved_of_one_plan_applies_no_other(database: Database) {
    let mut stage = Stage::new(database).await;
    let first = stage.approved().await;
    let inputs = serde_json::Map::from_iter([("name".to_owned(), "moon".into())]);
    stage.author.deployments().update("shop/dev/web").inputs(inputs).send().await.expect("other inputs");
    let second = stage.planned("another plan").await;
    assert_eq!(stage.read(&first).await.outcome, Some(RunOutcome::Superseded));
    assert_ne!(first.review_digest, second.review_digest, "other inputs are another review");
    assert!(second.approvals.is_empty() && stage.runner.ask().await.is_none(), "approvals are of one plan");

    // The digests of the first, for the second.
    for (plan, review) in [(&first, &first), (&first, &second), (&second, &first)] {
        let mut mixed = second.clone();
        mixed.plan_digest.clone_from(&plan.plan_digest);
        mixed.review_digest.clone_from(&review.review_digest);
        assert_eq!(reason(stage.ada.runs().approve(&mixed).send()).await, "PLAN_STALE");
    }

    // The same bytes once more, of the same inputs: still somebody has to say so again.
    let third = stage.planned("another plan").await;
    assert_eq!((&third.plan_digest, &third.review_digest), (&second.plan_digest, &second.review_digest));
    assert!(third.approvals.is_empty() && stage.runner.ask().await.is_none());
}

/// SHA-256 of `the plan`, in which scripted plans are written.
const SWAP_DIGEST: &str = "UPDATE runs SET body = \
    replace(body, 'sha256:aab8f06fecd1c041e9a3d5a86114f9e522b546918db8503a045fe4a423b3642a', 'sha256:00')";
const SWAP_PLAN: &str =
    "UPDATE payloads SET bytes = (SELECT bytes FROM payloads WHERE kind = 'inputs' LIMIT 1) WHERE kind = 'plan'";
const SWAP_INPUTS: &str =
    "UPDATE payloads SET bytes = (SELECT bytes FROM payloads WHERE kind = 'plan' LIMIT 1) WHERE kind = 'inputs'";
const SWAP_BLUEPRINT: &str =
    "UPDATE blueprint_versions SET body = replace(body, '\"digest\":\"sha256:', '\"digest\":\"sha256:0')";

both_databases!(bytes_that_were_swapped_after_the_approval_are_not_applied);

async fn bytes_that_were_swapped_after_the_approval_are_not_applied(database: Database) {
    for swap in [SWAP_DIGEST, SWAP_PLAN, SWAP_INPUTS, SWAP_BLUEPRINT] {
        let mut stage = Stage::new(database).await;
        let run = stage.approved().await;
        let before = stage.read(&run).await;
        stage.world.installation.execute(swap).await;
        if swap == SWAP_DIGEST {
            assert_ne!(stage.read(&run).await.plan_digest, before.plan_digest, "the digest was not swapped: mend this test");
        }
        assert!(stage.runner.ask().await.is_none(), "applied after {swap}");
        let run = stage.read(&run).await;
        let error = run.error.clone().map(|error| error.code);
        assert_eq!((run.outcome, error.as_deref()), (Some(RunOutcome::Failed), Some("plan-altered")), "{swap}: {run:?}");
    }
}

both_databases!(an_apply_begins_only_on_approvals_that_count_at_that_moment);

async fn an_apply_begins_only_on_approvals_that_count_at_that_moment(database: Database) {
    let mut stage = Stage::new(database).await;
    let back = |sent: Result<Run, String>| sent.unwrap_or_else(|why| panic!("{why}"));

    // Withdrawn, and given again.
    let run = stage.approved().await;
    let run = stage.bob.runs().withdraw_approval(&run.name).send().await.expect("withdrawn").into_run();
    assert_eq!(run.phase, RunPhase::AwaitingApproval, "it waits again at once");
    let run = back(stage.sent_back(&run, "it was withdrawn at").await);
    assert_eq!(reason(stage.bob.runs().withdraw_approval(&run.name).send()).await, "STATE_NOT_ALLOWED", "there is none any more");
    stage.bob.runs().approve(&run).send().await.expect("once more");

    // The rules ask for more.
    stage.ask_for(ApprovalRule::new("three", "true", 3).from("roles/approver")).await;
    let run = back(stage.sent_back(&run, "rule `three` of tenants/acme/approvalPolicies/careful asks for 3").await);
    assert_eq!(run.approval_demand.as_ref().map(|demand| demand.satisfied), Some(2));
    stage.ask_for(two()).await;
    stage.bob.runs().approve(&run).send().await.expect("who approved already has it looked at again");
    assert_eq!(stage.read(&run).await.phase, RunPhase::ApplyQueued);

    // A member of the group leaves it, and somebody else joins.
    stage.remove("users/bob").await;
    let run = back(stage.sent_back(&run, "tenants/acme/users/bob does not have `deployments.runs.approve` here").await);
    stage.world.admin.access().bind("approver", "users/boss").send().await.expect("a role");
    stage.boss.runs().approve(&run).send().await.expect("approved");
    stage.world.admin.users().deactivate("boss").send().await.expect("gone");
    let run = back(stage.sent_back(&run, "tenants/acme/users/boss may not sign in any more").await);

    // Without the policy, the environment decides: somebody else than the author, in production.
    stage.world.admin.environments().update("shop/dev").no_approval_policy().send().await.expect("no policy");
    stage.world.admin.environments().update("shop/dev").kind(freehold::EnvironmentKind::Prod).send().await.expect("production");
    stage.ada.runs().approve(&run).send().await.expect("one is enough");
    let job = stage.runner.ask().await.expect("work");
    stage.runner.complete(&job, applied("a state")).await;
    assert_eq!(stage.read(&run).await.outcome, Some(RunOutcome::Succeeded));
}

both_databases!(approvals_and_plans_grow_old);

async fn approvals_and_plans_grow_old(database: Database) {
    let mut stage = Stage::new(database).await;
    let after = async |time: Option<Timestamp>| {
        let time = time.expect("it ends");
        until("the time to be over", || async { Timestamp::now() > time }).await;
    };
    let one = || ApprovalRule::new("one", "true", 1).comment_required();
    stage.ask_for(one().expiry(Duration::from_secs(2))).await;
    let run = stage.planned("the plan").await;
    let silent = stage.ada.runs().approve(&run).send().await.expect_err("without a word");
    assert_eq!(silent.violations()[0].field, "comment");
    let run = stage.ada.runs().approve(&run).comment("now").send().await.expect("approved").into_run();
    assert_eq!(run.phase, RunPhase::ApplyQueued);
    after(run.approvals[0].expire_time).await;
    let run = stage.sent_back(&run, "it expired at").await.unwrap_or_else(|why| panic!("{why}"));
    assert!(run.approvals[0].void_reason.is_some());
    stage.ask_for(one().expiry(Duration::from_secs(600))).await;
    stage.ada.runs().approve(&run).comment("again").send().await.expect("looked at again");
    let job = stage.runner.ask().await.expect("work");
    stage.runner.complete(&job, applied("a state")).await;

    stage.ask_for(one().max_plan_age(Duration::from_secs(2))).await;
    let run = stage.author.runs().plan("shop/dev/web").send().await.expect("a run").into_run();
    let job = stage.runner.ask().await.expect("a plan to make");
    stage.runner.complete(&job, planned(1, 1)).await;
    let run = stage.read(&run).await;
    let run = stage.ada.runs().approve(&run).comment("in time").send().await.expect("approved").into_run();
    after(run.approval_demand.as_ref().and_then(|demand| demand.plan_expire_time)).await;
    assert!(stage.runner.ask().await.is_none(), "an old plan is applied");
    let run = stage.read(&run).await;
    let error = run.error.map(|error| error.code);
    assert_eq!((run.outcome, error.as_deref()), (Some(RunOutcome::Expired), Some("plan-too-old")));
}

/// Whether an apply waits for an approver to be replaced who has left since.
async fn holds_to_present_members(world: World) -> Result<(), String> {
    let mut stage = Stage::of(world).await;
    let run = stage.approved().await;
    stage.remove("users/bob").await;
    stage.sent_back(&run, "does not have `deployments.runs.approve`").await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_ask_again_before_it_applies_is_noticed() {
    let installation = Installation::new(Sqlite).await;
    let replica = installation.start(armed(&installation.serve(&[]), &[("FREEHOLD_MUTANT", "approval")])).await;
    let admin = installation.client(&[replica.api], installation.pki.credentials("admin"), "acme").await;
    admin.tenants().create("acme").send().await.expect("a tenant");
    let noticed = holds_to_present_members(World { installation, replica, admin }).await.expect_err("it is applied all the same");
    assert!(noticed.contains("is applied although"), "{noticed}");
    holds_to_present_members(World::new(Sqlite).await).await.expect("a server that asks again does not");
}
