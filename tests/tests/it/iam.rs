//! People and programs: how they prove who they are, what they may, and how that ends.

use std::time::Duration;

use freehold::{
    Client, Error, IdentityProof, Timestamp,
    raw::proto::iam::v1::{ExchangeTokenRequest, token_service_client::TokenServiceClient},
};
use freehold_tests::{Database, World};

fn tomorrow() -> Timestamp {
    Timestamp::now() + Duration::from_secs(24 * 3600)
}

/// A token for what this client proves.
async fn token(client: &Client, api_key: &str) -> Result<String, Error> {
    let request = ExchangeTokenRequest { api_key: api_key.to_owned(), ..Default::default() };
    let answer = TokenServiceClient::new(client.raw().expect("a channel")).exchange_token(request).await;
    answer.map(|answer| answer.into_inner().token).map_err(freehold::raw::error)
}

both_databases!(programs_come_in_by_certificate_and_by_key_and_stay_out_when_told);

async fn programs_come_in_by_certificate_and_by_key_and_stay_out_when_told(database: Database) {
    let world = World::new(database).await;
    let acme = &world.admin;
    acme.service_accounts().create("ci").display_name("Builds").send().await.expect("a service account");
    acme.access().bind("viewer", "serviceAccounts/ci").send().await.expect("a role");
    let ci = "tenants/acme/serviceAccounts/ci";

    // By a certificate of its own name.
    let own = world.client_of(ci).await;
    let who = own.whoami().send().await.expect("its name is its identity");
    assert_eq!((who.principal.as_str(), who.proof), (ci, IdentityProof::Certificate));
    assert_eq!(who.roles, ["roles/viewer on tenants/acme"]);

    // By the certificate of a workload that is let act as it.
    let workload = world.client_of("ns/prod/sa/web").await;
    assert_eq!(workload.whoami().send().await.expect_err("nobody yet").reason(), Some("CERT_UNKNOWN"));
    let identity = acme.service_accounts().create_identity("ci", "spiffe://freehold.test/ns/prod/sa/web").send().await;
    let identity = identity.expect("let act");
    assert_eq!(workload.whoami().send().await.expect("at once").principal, ci);
    let taken = acme.service_accounts().create_identity("ci", "spiffe://freehold.test/tenants/acme/users/ada").send().await;
    assert!(taken.expect_err("it names a user").is_invalid_argument());
    acme.service_accounts().delete_identity(&identity.name).send().await.expect("no more");
    assert_eq!(workload.whoami().send().await.expect_err("at once").reason(), Some("CERT_UNKNOWN"));

    // By an API key, over both listeners.
    let made = acme.api_keys().create("serviceAccounts/ci", tomorrow()).display_name("laptop").send().await.expect("a key");
    let secret = made.secret.reveal().to_owned();
    assert!(secret.starts_with(&made.api_key.prefix) && !format!("{made:?}").contains(&secret));
    let by_key = || world.installation.pki.trust().api_key(&secret);
    let web = world.installation.client(&[world.replica.web], by_key(), "acme").await;
    let who = web.whoami().send().await.expect("a browser's way in");
    assert_eq!((who.principal.as_str(), who.proof, who.spiffe_id), (ci, IdentityProof::Token, None));
    web.tenants().get("acme").send().await.expect("as the role says");
    let certificate = world.installation.pki.credentials("admin").api_key(&secret);
    let api = world.installation.client(&[world.replica.api], certificate, "acme").await;
    let who = api.whoami().send().await.expect("a token bound to the certificate");
    assert_eq!((who.principal.as_str(), who.proof), (ci, IdentityProof::Token));
    assert!(
        api.projects().create("shop").send().await.expect_err("the token counts, not the certificate").is_permission_denied()
    );

    let listed = acme.api_keys().list().send().await.expect("a list").items;
    assert!(listed[0].last_used_time.is_some() && listed[0].revoke_time.is_none());
    acme.api_keys().revoke(&made.api_key.name).send().await.expect("revoked");
    let again = world.installation.client(&[world.replica.web], by_key(), "acme").await;
    assert_eq!(again.whoami().send().await.expect_err("a dead key").reason(), Some("TOKEN_INVALID"));
    let garbage = world.installation.pki.trust().api_key("fhk_nonsense");
    let garbage = world.installation.client(&[world.replica.web], garbage, "acme").await;
    assert_eq!(garbage.whoami().send().await.expect_err("no key").reason(), Some("TOKEN_INVALID"));

    acme.service_accounts().delete("ci").send().await.expect("deleted");
    assert_eq!(own.whoami().send().await.expect_err("nobody any more").reason(), Some("CERT_UNKNOWN"));
    assert_eq!(web.whoami().send().await.expect_err("its tokens too").reason(), Some("TOKEN_INVALID"));
}

both_databases!(a_token_is_worth_nothing_with_another_certificate);

async fn a_token_is_worth_nothing_with_another_certificate(database: Database) {
    let world = World::new(database).await;
    let ada = world.person("acme", "ada", &["tenant-admin"]).await;
    let eve = world.person("acme", "eve", &[]).await;
    let pki = &world.installation.pki;
    let stolen = token(&ada, "").await.expect("a token for a certificate");

    let own = world.client(pki.credentials("acme-ada").bearer_token(&stolen)).await;
    let who = own.whoami().send().await.expect("hers");
    assert_eq!((who.principal.as_str(), who.proof), ("tenants/acme/users/ada", IdentityProof::Token));
    let thief = world.client(pki.credentials("acme-eve").bearer_token(&stolen)).await;
    assert_eq!(thief.whoami().send().await.expect_err("not hers").reason(), Some("TOKEN_CERT_MISMATCH"));
    let web = world.installation.client(&[world.replica.web], pki.trust().bearer_token(&stolen), "acme").await;
    assert_eq!(web.whoami().send().await.expect_err("no certificate").reason(), Some("TOKEN_CERT_MISMATCH"));
    // A new certificate for the same person is another certificate.
    pki.issue("acme-ada-renewed", "tenants/acme/users/ada");
    let renewed = world.client(pki.credentials("acme-ada-renewed").bearer_token(&stolen)).await;
    assert_eq!(renewed.whoami().send().await.expect_err("another key").reason(), Some("TOKEN_CERT_MISMATCH"));

    // A token that is bound to nothing is for browsers only; on a certificate's connection it proves nothing.
    let key = world.admin.api_keys().create("users/ada", tomorrow()).send().await.expect("a key");
    let browser = world.installation.client(&[world.replica.web], pki.trust(), "acme").await;
    let free = token(&browser, key.secret.reveal()).await.expect("a token for a key");
    let api = world.client(pki.credentials("acme-ada").bearer_token(&free)).await;
    assert_eq!(api.whoami().send().await.expect_err("not bound").reason(), Some("TOKEN_CERT_MISMATCH"));

    // A token that was changed is none.
    let (head, tail) = stolen.rsplit_once('.').expect("a signature");
    let (first, rest) = tail.split_at(1);
    let flipped = format!("{}{rest}", if first == "A" { "B" } else { "A" });
    let forged = world.client(pki.credentials("acme-ada").bearer_token(format!("{head}.{flipped}"))).await;
    assert_eq!(forged.whoami().send().await.expect_err("forged").reason(), Some("TOKEN_INVALID"));
    assert!(eve.whoami().send().await.is_ok(), "eve herself is somebody");
}

both_databases!(nobody_gives_away_more_than_they_have);

async fn nobody_gives_away_more_than_they_have(database: Database) {
    let world = World::new(database).await.shop().await;
    world.admin.projects().create("other").send().await.expect("a project");
    let ada = world.person("acme", "ada", &["tenant-admin"]).await;
    let dev = world.person("acme", "dev", &[]).await;
    let outsider = world.tenant("beta").await;
    outsider.users().invite("zoe@beta.example").id("zoe").send().await.expect("a user");

    // A role on a project holds there and below, and nowhere else.
    let binding = ada.access().bind("developer", "users/dev").on("shop").send().await.expect("hers to give");
    dev.projects().get("shop").send().await.expect("on it");
    dev.environments().get("shop/dev").send().await.expect("below it");
    assert!(dev.projects().get("other").send().await.expect_err("beside it").is_permission_denied());
    assert!(dev.tenants().get("acme").send().await.expect_err("above it").is_permission_denied());
    assert!(dev.access().bind("viewer", "users/dev").on("other").send().await.expect_err("not his").is_permission_denied());
    ada.access().unbind(&binding.name).send().await.expect("taken away");
    assert!(dev.projects().get("shop").send().await.expect_err("at once").is_permission_denied());

    // Roles of the installation cannot be given, roles for others' people neither, and limits are not the tenant's to set.
    for role in ["platform-admin", "runner", "nonsense"] {
        let refused = ada.access().bind(role, "users/ada").send().await.expect_err("not to be given");
        assert!(refused.violations()[0].field.contains("role"), "{refused:?}");
    }
    let foreign = ada.access().bind("viewer", "tenants/beta/users/zoe").send().await.expect_err("another tenant's");
    assert!(foreign.violations()[0].field.contains("member"), "{foreign:?}");
    assert!(ada.quotas().set_limit("projects", 9999).send().await.expect_err("not hers").is_permission_denied());

    // Who may make keys cannot make one for somebody who may more.
    ada.access().bind("tenant-admin", "users/dev").on("shop").send().await.expect("a part of what she has");
    let part = dev.access().bind("viewer", "users/dev").send().await.expect_err("the whole is not his");
    assert!(part.is_permission_denied());
    let key = dev.api_keys().create("users/ada", tomorrow()).send().await.expect_err("he would become ada");
    assert!(key.is_permission_denied());
    dev.access().bind("viewer", "users/dev").on("shop").send().await.expect_err("bindings are made on the tenant");

    // A role ends by itself.
    let soon = Timestamp::now() + Duration::from_millis(1500);
    ada.access().bind("viewer", "users/dev").expire_time(soon).send().await.expect("for a moment");
    dev.tenants().get("acme").send().await.expect("it holds");
    freehold_tests::until("the role to end", || async {
        dev.tenants().get("acme").send().await.is_err_and(|error| error.is_permission_denied())
    })
    .await;
}

both_databases!(a_deactivated_person_is_refused_at_once);

async fn a_deactivated_person_is_refused_at_once(database: Database) {
    let world = World::new(database).await;
    let ada = world.person("acme", "ada", &["tenant-admin"]).await;
    let key = world.admin.api_keys().create("users/ada", tomorrow()).send().await.expect("a key");
    let by_key = world.installation.pki.trust().api_key(key.secret.reveal());
    let web = world.installation.client(&[world.replica.web], by_key, "acme").await;
    ada.tenants().get("acme").send().await.expect("in");
    web.tenants().get("acme").send().await.expect("in");
    let same = world.admin.users().invite("ada@acme.example").id("ada2").send().await.expect_err("the address is hers");
    assert!(same.is_already_exists());

    world.admin.users().deactivate("ada").send().await.expect("deactivated");

    assert_eq!(ada.tenants().get("acme").send().await.expect_err("out").reason(), Some("CERT_UNKNOWN"));
    assert_eq!(web.tenants().get("acme").send().await.expect_err("out").reason(), Some("TOKEN_INVALID"));
    assert!(token(&web, key.secret.reveal()).await.expect_err("no new token").is_unauthenticated());
    assert!(token(&ada, "").await.expect_err("no new token").is_unauthenticated());
    world.admin.users().delete("ada").send().await.expect("deleted");
    assert_eq!(world.admin.quotas().get("users").send().await.expect("a quota").used, 0);
    assert!(world.admin.access().list_bindings().send().await.expect("a list").items.is_empty(), "with all roles");
}
