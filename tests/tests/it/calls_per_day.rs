//! A tenant has so many calls a day.

use std::time::Duration;

use freehold_tests::{Database, World};

both_databases!(the_sixth_call_of_five_a_day_is_refused_and_says_when_to_come_back);

async fn the_sixth_call_of_five_a_day_is_refused_and_says_when_to_come_back(database: Database) {
    let world = World::new(database).await;
    let ada = world.person("acme", "ada", &["viewer"]).await;
    let eve = world.person("acme", "eve", &[]).await;
    world.tenant("other").await;
    let bob = world.person("other", "bob", &["viewer"]).await;
    world.admin.quotas().set_limit("api_calls_per_day", 5).send().await.expect("a limit");

    for _ in 0..3 {
        ada.tenants().get("acme").send().await.expect("within the limit");
    }
    for _ in 0..2 {
        // A call that is refused for another reason has been made all the same.
        assert!(eve.tenants().get("acme").send().await.expect_err("she has no role").is_permission_denied());
    }
    let refused = ada.tenants().get("acme").send().await.expect_err("the day's calls are used up");

    assert!(refused.is_quota_exceeded(), "{refused:?}");
    assert_eq!(
        ["dimension", "limit", "used"].map(|key| refused.metadata(key)),
        [Some("api_calls_per_day"), Some("5"), Some("5")]
    );
    let wait = refused.retry_after().expect("it says when the next day begins");
    assert!(wait > Duration::ZERO && wait <= Duration::from_secs(24 * 3600), "{wait:?}");

    let quota =
        world.admin.quotas().get("api_calls_per_day").send().await.expect("administrators of the platform are not counted");
    assert_eq!((quota.used, quota.available), (5, Some(0)));
    assert!(quota.reset_time.is_some());
    bob.tenants().get("other").send().await.expect("other tenants have their own calls");
    world.admin.quotas().set_limit("api_calls_per_day", 6).send().await.expect("a higher limit");
    ada.tenants().get("acme").send().await.expect("one more");
    assert!(ada.tenants().get("acme").send().await.expect_err("and no more").is_quota_exceeded());
}
