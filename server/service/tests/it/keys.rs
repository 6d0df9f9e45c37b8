//! API keys and the tokens they are exchanged for.

use freehold_domain::{Reason, iam::ApiKey, time::Uid};
use freehold_service::{
    api_keys::{self, CreateApiKey},
    tokens::{self, Ticket},
};

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

impl Installation {
    async fn key(&self, who: &str, principal: &str, life: Duration, write: &Write) -> Result<(ApiKey, String)> {
        let cmd = CreateApiKey {
            parent: name("tenants/acme"),
            display_name: "laptop".to_owned(),
            principal: principal.parse().expect("a principal"),
            expire_time: self.app.now().plus(life),
        };
        api_keys::create(&self.app, &self.call(who, "iam.apiKeys.create").await, cmd, write).await
    }

    async fn exchange(&self, secret: &str) -> Result<Ticket> {
        tokens::for_key(&self.app, secret, CallFacts { method: "exchange", ..CallFacts::default() }).await
    }
}

#[tokio::test]
async fn a_key_is_exchanged_until_it_ends_or_is_revoked_and_every_refusal_reads_alike() {
    let server = Installation::start().await;
    let ada = server.acme("roles/tenant-admin").await;
    let (key, secret) = server.key(&ada, &ada, HOUR, &write()).await.expect("made");
    assert!(secret.starts_with(&key.prefix) && secret.len() == 47);

    let ticket = server.exchange(&secret).await.expect("exchanged");
    assert_eq!((ticket.principal.to_string(), ticket.exchanged), (ada.clone(), Some(key.name.clone())));
    assert_eq!(ticket.expire_time.since(ticket.issue_time), Duration::from_secs(15 * 60));
    server.pass(HOUR - Duration::from_secs(300));
    let late = server.exchange(&secret).await.expect("still there");
    assert!(late.expire_time <= key.expire_time, "no token outlives its key");
    server.pass(Duration::from_secs(300));
    let ended = server.exchange(&secret).await.expect_err("ended");

    let (key, secret) = server.key(&ada, &ada, HOUR, &write()).await.expect("made");
    server.exchange(&secret).await.expect("exchanged");
    let revoker = server.call(&ada, "iam.apiKeys.revoke").await;
    let revoked = api_keys::revoke(&server.app, &revoker, &key.name, &write()).await.expect("revoked");
    assert!(revoked.revoke_time.is_some() && revoked.last_used_time.is_some());
    let again = api_keys::revoke(&server.app, &revoker, &key.name, &write()).await.expect("no error the second time");
    assert_eq!(again, revoked);
    let gone = server.exchange(&secret).await.expect_err("revoked");
    let unknown = server.exchange("fhk_nothing").await.expect_err("unknown");
    for error in [&ended, &gone, &unknown] {
        assert_eq!((error.reason(), error.message()), (Reason::TokenInvalid, unknown.message()));
    }
}

#[tokio::test]
async fn a_deactivated_user_has_neither_keys_nor_tokens() {
    let server = Installation::start().await;
    let ada = server.acme("roles/tenant-admin").await;
    let (_, secret) = server.key(&ada, &ada, HOUR, &write()).await.expect("made");
    let caller = server.call(&ada, "iam.users.deactivate").await;
    users::deactivate(&server.app, &caller, &ada.parse().expect("valid"), &write()).await.expect("deactivated");

    assert_eq!(server.exchange(&secret).await.expect_err("out").reason(), Reason::TokenInvalid);
    let token = Proven::Token { principal: ada, spiffe_id: None, expire_time: server.app.now() };
    let error = identify(&server.app, token, CallFacts::default()).await.expect_err("out");
    assert_eq!(error.reason(), Reason::TokenInvalid);
}

#[tokio::test]
async fn a_secret_is_answered_once_and_a_wrong_key_is_not_made() {
    let server = Installation::start().await;
    let ada = server.acme("roles/tenant-admin").await;
    let once = Write {
        key: RequestKey {
            request_id: Some("01890a5d-ac96-774b-bcce-b302099a8057".parse::<Uid>().expect("valid")),
            digest: [1; 32],
        },
        ..write()
    };
    let (key, _) = server.key(&ada, &ada, HOUR, &once).await.expect("made");
    let replay = server.key(&ada, &ada, HOUR, &once).await.expect_err("answered before");
    assert_eq!((replay.reason(), replay.metadata()["name"].clone()), (Reason::SecretAlreadyReturned, key.name.to_string()));

    let error = server.key(&ada, "tenants/acme/users/nobody", HOUR * 24 * 401, &write()).await.expect_err("two faults");
    let fields: Vec<&str> = error.violations().iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!(fields, ["api_key.principal", "api_key.expire_time"]);
}

#[tokio::test]
async fn nobody_makes_a_key_for_somebody_who_may_more() {
    let server = Installation::start().await;
    let ada = server.acme("roles/tenant-admin").await;
    let bob = server.user("tenants/acme", "bob").await;
    server.give(ADMIN, "roles/viewer", &bob, "tenants/acme").await.expect("given");
    server.key(&ada, &bob, HOUR, &write()).await.expect("an administrator covers a viewer");

    let refused = server.key(&bob, &ada, HOUR, &write()).await.expect_err("a viewer makes no keys");
    assert_eq!(missing(&refused), Some("iam.apiKeys.create"));
    // With the permission to make keys and nothing else, Bob still covers nobody.
    let mut caller = server.call(&bob, "iam.apiKeys.create").await;
    caller.call.permission = "quotas.quotas.get";
    let cmd = CreateApiKey {
        parent: name("tenants/acme"),
        display_name: String::new(),
        principal: ada.parse().expect("valid"),
        expire_time: server.app.now().plus(HOUR),
    };
    let refused = api_keys::create(&server.app, &caller, cmd, &write()).await.expect_err("Ada may more than he");
    assert_eq!(missing(&refused), Some("approvals.policies.create"));
}
