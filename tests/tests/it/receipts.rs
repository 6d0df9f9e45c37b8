//! Receipts: signed, chained, and checked by somebody who has nothing but the public key.

use std::process::{Command, Output};

use freehold::{ApprovalRule, Client, Receipt, ReceiptKind, RunPhase, verify_receipts};
use freehold_tests::{Database, World, binary};

use crate::scripted_runner::{Runner, applied, planned};

/// Applies `shop/dev/web` once, approved by Ada when somebody has to; answers the name of the run.
async fn apply(world: &World, runner: &mut Runner, ada: &Client, serial: i64, state: &str) -> String {
    let run = world.admin.runs().plan("shop/dev/web").auto_apply().send().await.expect("a run").into_run();
    let job = runner.ask().await.expect("a plan to make");
    runner.complete(&job, planned(1, serial)).await;
    let run = world.admin.runs().get(&run.name).send().await.expect("a run").into_run();
    if run.phase == RunPhase::AwaitingApproval {
        ada.runs().approve(&run).comment("it is time").send().await.expect("approved");
    }
    let job = runner.ask().await.expect("a plan to apply");
    runner.complete(&job, applied(state)).await;
    run.name
}

async fn file_of(client: &Client) -> Vec<u8> {
    let receipts = client.receipts().list().collect_up_to(100).await.expect("receipts");
    lines(&receipts)
}

/// As the command line writes them.
fn lines(receipts: &[Receipt]) -> Vec<u8> {
    receipts.iter().flat_map(|receipt| format!("{}\n", receipt.envelope).into_bytes()).collect()
}

async fn keys_of(client: &Client) -> String {
    client.receipts().keys().send().await.expect("keys").into_iter().map(|key| key.public_key_pem).collect()
}

/// Checks a file where there is neither a server nor a configuration.
fn verify_offline(file: &std::path::Path, key: &std::path::Path) -> Output {
    Command::new(binary())
        .args(["receipt", "verify"])
        .arg(file)
        .arg("--key")
        .arg(key)
        .env_clear()
        .output()
        .expect("the program can be started")
}

both_databases!(what_was_approved_and_applied_is_signed_and_chained);

async fn what_was_approved_and_applied_is_signed_and_chained(database: Database) {
    let world = World::new(database).await.with_sample().await;
    let acme = &world.admin;
    let ada = world.person("acme", "ada", &["approver"]).await;
    let mut runner = Runner::new(&world).await;
    acme.deployments().create("shop/dev/web", "greeting@1.0.0").input("name", "world").send().await.expect("a deployment");
    let free = apply(&world, &mut runner, &ada, 0, "one").await;
    let rule = ApprovalRule::new("one", "true", 1).from("roles/approver");
    acme.approval_policies().create("careful").rule(rule).send().await.expect("a policy");
    acme.environments().update("shop/dev").approval_policy("careful").send().await.expect("named");
    let approved = apply(&world, &mut runner, &ada, 1, "two").await;

    let keys = keys_of(acme).await;
    let file = file_of(acme).await;
    let receipts = verify_receipts(&file, &keys).expect("all of it is right");
    let seen: Vec<_> = receipts.iter().map(|it| (it.sequence, it.kind.as_str(), it.run.as_str(), it.approvals.len())).collect();
    let expected = [
        (1, "BEGUN", free.as_str(), 0),
        (2, "ENDED", free.as_str(), 0),
        (3, "BEGUN", approved.as_str(), 1),
        (4, "ENDED", approved.as_str(), 1),
    ];
    assert_eq!(seen, expected);
    let [first, .., begun, ended] = receipts.as_slice() else { panic!("four receipts") };
    assert_eq!((first.previous.as_str(), ended.previous.as_str()), ("", begun.digest.as_str()));
    let run = acme.runs().get(&approved).send().await.expect("a run").into_run();
    assert_eq!(Some(&begun.plan.digest), run.plan_digest.as_ref());
    assert_eq!(Some(&begun.review_digest), run.review_digest.as_ref());
    let policy = acme.approval_policies().get("careful").send().await.expect("a policy");
    assert_eq!((begun.demand.rule.as_str(), &begun.demand.policy_digest), ("one", &policy.digest));
    assert_eq!((begun.approvals[0].principal.as_str(), begun.author.as_str()), ("tenants/acme/users/ada", "platform/admin"));
    let end = ended.end.as_ref().expect("an end");
    assert_eq!((end.outcome.as_str(), end.changed, end.state_serial), ("SUCCEEDED", true, 2));
    assert!(begun.inputs_digest.starts_with("hmac-sha256:") && !String::from_utf8_lossy(&file).contains("it is time"));

    // The audit trail names the receipt, and the receipt names the record.
    let record = acme.audit().get(&ended.audit_record).send().await.expect("the record of the same transaction");
    assert_eq!(record.receipt_digest.as_ref(), Some(&ended.digest));

    // Of one run, and of nobody else's.
    let of_run = acme.receipts().of_run(&approved).send().await.expect("receipts");
    assert_eq!(of_run.iter().map(|it| it.kind).collect::<Vec<_>>(), [ReceiptKind::Begun, ReceiptKind::Ended]);
    assert!(world.tenant("other").await.receipts().list().send().await.expect("a list").items.is_empty());

    // Another replica has the same key; a new one takes over, and both are there to check with.
    let key = acme.receipts().keys().send().await.expect("keys");
    if database == Database::Postgres {
        let second = world.installation.replica(&[]).await;
        let credentials = world.installation.pki.credentials("admin");
        let there = world.installation.client(&[second.api], credentials, "acme").await;
        assert_eq!(there.receipts().keys().send().await.expect("keys"), key);
    }
    let rotated = acme.receipts().rotate_key().send().await.expect("a new key");
    assert!(ada.receipts().rotate_key().send().await.is_err_and(|error| error.is_permission_denied()));
    let third = apply(&world, &mut runner, &ada, 2, "three").await;
    let file = file_of(acme).await;
    assert!(verify_receipts(&file, &keys).is_err(), "signed with a key that is not there");
    let keys = keys_of(acme).await;
    let receipts = verify_receipts(&file, &keys).expect("with both keys");
    let signed_by = |run: &str| receipts.iter().find(|it| it.run == run).map(|it| it.key_id.clone());
    assert_eq!((signed_by(&free), signed_by(&third)), (Some(key[0].key_id.clone()), Some(rotated.key_id)));

    // What was left out, moved or doubled is seen.
    let text = String::from_utf8(file.clone()).expect("text");
    let all: Vec<&str> = text.lines().collect();
    let of = |chosen: &[usize]| chosen.iter().map(|at| format!("{}\n", all[*at])).collect::<String>().into_bytes();
    for wrong in [&[1, 0][..], &[0, 0], &[0, 1, 3, 2]] {
        assert!(verify_receipts(&of(wrong), &keys).is_err(), "{wrong:?}");
    }
    verify_receipts(&of(&[0, 1, 4, 5]), &keys).expect("two runs of three, as they are");
}

both_databases!(a_receipt_that_was_altered_in_any_one_byte_is_not_believed);

async fn a_receipt_that_was_altered_in_any_one_byte_is_not_believed(database: Database) {
    let world = World::new(database).await.with_sample().await;
    let ada = world.person("acme", "ada", &["approver"]).await;
    let mut runner = Runner::new(&world).await;
    world.admin.environments().update("shop/dev").require_approval(true).send().await.expect("strict");
    let wish = world.admin.deployments().create("shop/dev/web", "greeting@1.0.0").input("name", "world");
    wish.send().await.expect("a deployment");
    let run = apply(&world, &mut runner, &ada, 0, "one").await;
    let keys = keys_of(&world.admin).await;
    let mut file = lines(&world.admin.receipts().of_run(&run).send().await.expect("receipts"));
    verify_receipts(&file, &keys).expect("as it is");

    let mut altered = 0;
    for at in 0..file.len() {
        for flip in [0x01, 0x02, 0x20, 0x80] {
            file[at] ^= flip;
            assert!(verify_receipts(&file, &keys).is_err(), "byte {at} flipped by {flip:#x} was not seen");
            file[at] ^= flip;
            altered += 1;
        }
    }
    for end in 0..file.len() {
        let whole_line = end > 0 && file[end - 1] == b'\n';
        assert!(whole_line || verify_receipts(&file[..end], &keys).is_err(), "cut off after {end} bytes");
    }
    println!("{altered} alterations of {} bytes, all seen", file.len());
    let other = World::new(database).await;
    assert!(verify_receipts(&file, &keys_of(&other.admin).await).is_err(), "the key of another installation");

    // The same from the command line, with nothing but two files.
    let (receipt, key) = (world.installation.path("receipt.json"), world.installation.path("key.pem"));
    std::fs::write(&receipt, &file).expect("a file");
    std::fs::write(&key, &keys).expect("a file");
    let right = verify_offline(&receipt, &key);
    let told = String::from_utf8_lossy(&right.stdout).into_owned();
    assert!(right.status.success(), "{told}{}", String::from_utf8_lossy(&right.stderr));
    assert!(told.contains("approved by tenants/acme/users/ada") && told.contains("ended as SUCCEEDED"), "{told}");
    for at in [0, 20, file.len() / 2, file.len() - 40, file.len() - 1] {
        let mut wrong = file.clone();
        wrong[at] ^= 1;
        std::fs::write(&receipt, &wrong).expect("a file");
        let refused = verify_offline(&receipt, &key);
        let why = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(refused.status.code() == Some(1) && why.contains("is not to be believed: "), "byte {at}: {why}");
    }
}
