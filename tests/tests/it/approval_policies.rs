//! Approval policies: written, named, changed, and what they say of real plans.

use freehold::{ApprovalRule, EnvironmentKind, Reversibility, RunHandle, RunOutcome, RunPhase};
use freehold_tests::{Database, World};

both_databases!(a_policy_is_checked_when_it_is_written_and_stays_while_it_is_named);

async fn a_policy_is_checked_when_it_is_written_and_stays_while_it_is_named(database: Database) {
    let world = World::new(database).await.shop().await;
    let acme = &world.admin;
    let policies = acme.approval_policies();

    let wrong = policies
        .create("careful")
        .rule(ApprovalRule::new("one", "plan.irreversibel > 0 && plan.create >", 1))
        .rule(ApprovalRule::new("two", "inputs.size == 3 || environment.kind == PROD", 11))
        .send()
        .await
        .expect_err("nothing of it is right");
    let fields: Vec<_> = wrong.violations().iter().map(|wrong| wrong.field.as_str()).collect();
    let at = |part: &str| format!("approval_policy.rules{part}");
    assert_eq!(fields, [at("[0].when"), at("[1].when"), at("[1].when"), at("[1].require.approvals")], "{wrong:?}");
    assert!(wrong.violations()[1].description.starts_with("line 1, column 1: there is no `inputs`"), "{wrong:?}");

    let made = policies.create("careful").display_name("Careful").rule(ApprovalRule::new("all", "true", 1)).send().await;
    let made = made.expect("a policy");
    assert_eq!((made.name.as_str(), made.rules.len()), ("tenants/acme/approvalPolicies/careful", 1));
    assert!(
        policies.create("careful").rule(ApprovalRule::new("all", "true", 0)).send().await.is_err_and(|e| e.is_already_exists())
    );
    let listed = policies.list().send().await.expect("a list").items;
    assert_eq!(listed, [policies.get("careful").send().await.expect("a policy")]);

    let nobody = acme.environments().update("shop/dev").approval_policy("absent").send().await.expect_err("there is none");
    assert_eq!(nobody.violations()[0].field, "environment.approval_policy");
    world
        .tenant("other")
        .await
        .approval_policies()
        .create("theirs")
        .rule(ApprovalRule::new("all", "true", 0))
        .send()
        .await
        .expect("a policy");
    let theirs = "tenants/other/approvalPolicies/theirs";
    let foreign = acme.projects().update("shop").approval_policy(theirs).send().await.expect_err("another tenant's");
    assert_eq!(foreign.violations()[0].field, "project.approval_policy");

    acme.environments().update("shop/dev").approval_policy("careful").send().await.expect("named");
    acme.projects().update("shop").approval_policy("careful").send().await.expect("named twice");
    let named = acme.environments().get("shop/dev").send().await.expect("an environment").approval_policy;
    assert_eq!(named.as_deref(), Some("tenants/acme/approvalPolicies/careful"));
    let in_use = async || policies.delete("careful").send().await.expect_err("it is named").reason().map(str::to_owned);
    assert_eq!(in_use().await.as_deref(), Some("RESOURCE_IN_USE"));
    acme.environments().update("shop/dev").no_approval_policy().send().await.expect("named no more");
    assert_eq!(in_use().await.as_deref(), Some("RESOURCE_IN_USE"), "the project still names it");
    acme.projects().update("shop").no_approval_policy().send().await.expect("named no more");

    let stale = policies.update("careful").description("late").etag("0-0").send().await.expect_err("an old etag");
    assert!(stale.is_etag_mismatch());
    let changed = policies.update("careful").rules([ApprovalRule::new("none", "false", 0)]).etag(&made.etag).send().await;
    let changed = changed.expect("changed");
    assert_eq!((changed.rules[0].name.as_str(), changed.display_name.as_str()), ("none", "Careful"));
    assert_ne!(changed.digest, made.digest, "other rules have another digest");
    policies.delete("careful").etag(&changed.etag).send().await.expect("deleted");
    assert!(policies.get("careful").send().await.is_err_and(|error| error.is_not_found()));
}

both_databases!(rules_read_what_the_engine_says_of_a_plan);

async fn rules_read_what_the_engine_says_of_a_plan(database: Database) {
    let world = World::new(database).await.with_sample().await;
    let _runner = world.runner();
    let acme = &world.admin;
    let lost = ApprovalRule::new("lost", "plan.irreversible > 0 && plan.changes.exists(c, c.type == 'random_password')", 1);
    let free = ApprovalRule::new("free", "environment.kind == 'PROD' && run.kind in ['APPLY', 'DESTROY']", 0);
    acme.approval_policies().create("careful").rule(lost.from("users/ada")).rule(free).send().await.expect("a policy");
    acme.projects().update("shop").approval_policy("careful").send().await.expect("the default of the project");
    acme.environments().create("shop/live", EnvironmentKind::Prod).send().await.expect("an environment");
    acme.deployments().create("shop/live/web", "greeting@1.0.0").input("name", "world").send().await.expect("a deployment");
    let ada = world.person("acme", "ada", &["approver"]).await;

    // What only makes things can be undone, and this policy lets it through even in production.
    let run = acme.runs().plan("shop/live/web").auto_apply().send().await.expect("a run").wait_done().await.expect("it ends");
    let numbers = run.run().plan_summary.expect("a plan");
    assert_eq!((run.run().outcome, numbers.reversible, numbers.irreversible), (Some(RunOutcome::Succeeded), 4, 0));
    assert_eq!(run.run().approval_demand.as_ref().and_then(|demand| demand.rule.as_deref()), Some("free"));

    // What was drawn at random is lost with it.
    let run = acme.runs().destroy("shop/live/web").auto_apply().send().await.expect("a run");
    let run = run.wait_until(RunPhase::AwaitingApproval).await.expect("a plan");
    let plan = run.plan().await.expect("a plan");
    let of = |kind: &str| {
        let change = plan.changes.iter().find(|change| change.r#type == kind).expect("one of this kind");
        change.reversibility
    };
    assert_eq!(of("random_password"), Some(Reversibility::Irreversible), "{plan:?}");
    assert_eq!(of("file"), Some(Reversibility::Reversible), "{plan:?}");
    let numbers = run.run().plan_summary.expect("numbers");
    assert!(numbers.irreversible > 0 && numbers.irreversible + numbers.reversible == numbers.delete, "{numbers:?}");
    let demand = run.run().approval_demand.clone().expect("a demand");
    assert_eq!(
        (demand.rule.as_deref(), demand.approvals, demand.from),
        (Some("lost"), 1, vec!["tenants/acme/users/ada".to_owned()])
    );
    let waits = run.run().waiting_on.clone().expect("it waits");
    assert!(waits.detail.contains("tenants/acme/users/ada") && waits.detail.contains("`lost`"), "{waits:?}");
    let alone = run.apply().send().await.expect_err("somebody has to approve");
    assert_eq!(alone.reason(), Some("APPROVAL_REQUIRED"));
    let done: RunHandle = ada.runs().approve(&run).comment("it may go").send().await.expect("approved");
    assert_eq!(done.wait_done().await.expect("it ends").run().outcome, Some(RunOutcome::Succeeded));
}

both_databases!(a_rule_that_cannot_be_evaluated_stops_the_plan_until_it_is_mended);

async fn a_rule_that_cannot_be_evaluated_stops_the_plan_until_it_is_mended(database: Database) {
    let world = World::new(database).await.with_sample().await;
    let _runner = world.runner();
    let acme = &world.admin;
    let ada = world.person("acme", "ada", &["approver", "developer"]).await;
    let broken = ApprovalRule::new("broken", "environment.labels.tier == 'gold'", 0);
    acme.approval_policies().create("careful").rule(broken).send().await.expect("a policy");
    acme.environments().update("shop/dev").approval_policy("careful").send().await.expect("named");
    acme.deployments().create("shop/dev/web", "greeting@1.0.0").input("name", "world").send().await.expect("a deployment");
    let run = acme.runs().plan("shop/dev/web").auto_apply().send().await.expect("a run");
    let run = run.wait_until(RunPhase::AwaitingApproval).await.expect("it is not applied");
    let fault = run.run().approval_demand.as_ref().and_then(|demand| demand.fault.clone()).expect("it says why");
    assert!(fault.contains("environment.labels.tier"), "{fault}");
    for refused in [ada.runs().approve(&run).send().await.err(), ada.runs().apply(&run).send().await.err()] {
        let refused = refused.expect("nobody can");
        assert!(refused.message().contains("mend the policy"), "{refused:?}");
    }
    acme.environments().update("shop/dev").labels([("tier", "gold")]).send().await.expect("mended");
    let run = ada.runs().apply(&run).send().await.expect("it asks for nothing");
    assert_eq!(run.wait_done().await.expect("it ends").run().outcome, Some(RunOutcome::Succeeded));
}
