//! Sign-in by an identity provider: whom an account stands for, what is no proof, and how it ends.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use freehold::{
    Client, Error, IdentityProof, Timestamp, UserState,
    raw::{
        RawChannel,
        proto::iam::v1::{
            AuthorizationCode, ExchangeTokenRequest, ExchangeTokenResponse, token_service_client::TokenServiceClient,
        },
    },
};
use freehold_fakes::{
    FakeOidc, Fault, Reply,
    oidc::{Authorization, Person, SigningKey, hmac_with},
};
use freehold_tests::{
    Database::{self, Sqlite},
    Installation, World,
};
use futures::future::join_all;
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

const REDIRECT: &str = "https://console.example/signin";

/// A provider, and the options of a server that believes it.
pub struct Idp {
    pub provider: FakeOidc,
    pub options: Vec<String>,
    _files: TempDir,
}

impl Idp {
    pub async fn start() -> Self {
        let provider = FakeOidc::start(|| Timestamp::now().as_second()).await;
        let files = tempfile::tempdir().expect("a folder");
        let file = |name: &str, content: &str| {
            std::fs::write(files.path().join(name), content).expect("the folder can be written");
            files.path().join(name).display().to_string()
        };
        let (id, secret) = FakeOidc::CLIENT;
        let options = [
            ("--oidc-issuer", provider.issuer()),
            ("--oidc-client-id", id.to_owned()),
            ("--oidc-client-secret-file", file("secret", &format!("{secret}\n"))),
            ("--oidc-ca-file", file("ca.pem", provider.server.ca())),
        ];
        let options = options.into_iter().flat_map(|(option, value)| [option.to_owned(), value]).collect();
        Self { provider, options, _files: files }
    }

    pub fn options(&self) -> Vec<&str> {
        self.options.iter().map(String::as_str).collect()
    }
}

/// A browser on the listener `web`, and the provider that it is sent to.
struct Browser<'a> {
    idp: &'a Idp,
    tokens: TokenServiceClient<RawChannel>,
}

/// What a page keeps while the person is away.
struct Begun {
    verifier: String,
    nonce: String,
}

impl Begun {
    fn new() -> Self {
        let random = || format!("{}{}", Uuid::now_v7().simple(), Uuid::now_v7().simple());
        Self { verifier: random(), nonce: random() }
    }

    fn asks(&self) -> Authorization {
        let code_challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, self.verifier.as_bytes()));
        Authorization { redirect_uri: REDIRECT.to_owned(), nonce: self.nonce.clone(), code_challenge }
    }

    fn comes_back(self, tenant: &str, code: String) -> AuthorizationCode {
        let Self { verifier: code_verifier, nonce } = self;
        AuthorizationCode { tenant: format!("tenants/{tenant}"), code, code_verifier, redirect_uri: REDIRECT.to_owned(), nonce }
    }
}

impl<'a> Browser<'a> {
    async fn new(world: &World, idp: &'a Idp) -> Self {
        let client = world.installation.client(&[world.replica.web], world.installation.pki.trust(), "acme").await;
        Self { idp, tokens: TokenServiceClient::new(client.raw().expect("a channel")) }
    }

    async fn exchange(&self, request: ExchangeTokenRequest) -> Result<ExchangeTokenResponse, Error> {
        let answer = self.tokens.clone().exchange_token(request).await;
        answer.map(tonic::Response::into_inner).map_err(freehold::raw::error)
    }

    async fn brings(&self, code: AuthorizationCode) -> Result<ExchangeTokenResponse, Error> {
        self.exchange(ExchangeTokenRequest { authorization_code: Some(code), ..Default::default() }).await
    }

    async fn signs_in(&self, tenant: &str, who: &Person) -> Result<ExchangeTokenResponse, Error> {
        let begun = Begun::new();
        let code = self.idp.provider.authorize(begun.asks(), who);
        self.brings(begun.comes_back(tenant, code)).await
    }

    async fn renews(&self, refresh_token: &str) -> Result<ExchangeTokenResponse, Error> {
        self.exchange(ExchangeTokenRequest { refresh_token: refresh_token.to_owned(), ..Default::default() }).await
    }

    fn asked(&self, path: &str) -> usize {
        self.idp.provider.server.requests().iter().filter(|request| request.path == path).count()
    }
}

fn person(subject: &str, email: &str) -> Person {
    Person { subject: subject.to_owned(), email: email.to_owned(), email_verified: true }
}

fn reason(refused: Result<ExchangeTokenResponse, Error>) -> String {
    refused.expect_err("no token").reason().expect("a reason").to_owned()
}

async fn invite(client: &Client, id: &str) {
    client.users().invite(format!("{id}@acme.example")).id(id).send().await.expect("an invitation");
}

/// Somebody of acme has signed in; the retention of rows looks for that.
pub async fn signed_in(world: &World, idp: &Idp) {
    invite(&world.admin, "signed-in").await;
    let browser = Browser::new(world, idp).await;
    browser.signs_in("acme", &person("u-0", "signed-in@acme.example")).await.expect("signed in");
}

both_databases!(people_sign_in_and_stay_whom_they_were_bound_to);

async fn people_sign_in_and_stay_whom_they_were_bound_to(database: Database) {
    let idp = Idp::start().await;
    let world = World::with(database, &idp.options()).await;
    let (acme, browser) = (&world.admin, Browser::new(&world, &idp).await);
    let anybody = world.installation.client(&[world.replica.web], world.installation.pki.trust(), "acme").await;
    let options = anybody.sign_in_options().send().await.expect("an answer").expect("there is a provider");
    assert_eq!((options.issuer.as_str(), options.client_id.as_str()), (idp.provider.issuer().as_str(), FakeOidc::CLIENT.0));
    assert_eq!(options.authorization_endpoint, format!("{}/authorize", idp.provider.issuer()));
    assert_eq!(options.scopes, ["openid", "email", "profile", "offline_access"]);

    // The first sign-in binds whoever has the address. Many at once bind once.
    for id in ["ada", "bob"] {
        invite(acme, id).await;
    }
    let mut ada = person("u-ada", "Ada@acme.example");
    let all = join_all((0..4).map(|_| browser.signs_in("acme", &ada))).await;
    let token = all.into_iter().map(|answer| answer.expect("signed in")).next_back().expect("four");
    assert_eq!(token.principal, "tenants/acme/users/ada");
    let by_token = world.installation.pki.trust().bearer_token(&token.token);
    let page = world.installation.client(&[world.replica.web], by_token, "acme").await;
    let who = page.whoami().send().await.expect("a token");
    assert_eq!((who.principal.as_str(), who.proof), ("tenants/acme/users/ada", IdentityProof::Token));
    let user = acme.users().get("ada").send().await.expect("a user");
    let identity = user.identity.expect("bound");
    assert_eq!((user.state, identity.issuer, identity.subject.as_str()), (UserState::Active, idp.provider.issuer(), "u-ada"));
    assert!(identity.bind_time.is_some());
    let trail = acme.audit().list().collect_up_to(1000).await.expect("the trail");
    let linked =
        |record: &&freehold::AuditRecord| record.change.as_ref().is_some_and(|change| change.to_string().contains("user.linked"));
    let [record] = trail.iter().filter(linked).collect::<Vec<_>>()[..] else { panic!("not bound once: {trail:?}") };
    assert_eq!((record.principal.as_str(), record.proof.as_str()), ("tenants/acme/users/ada", "oidc"));
    assert!(record.method.ends_with("ExchangeToken") && record.resource == "tenants/acme/users/ada", "{record:?}");

    // She stays who she is, whatever address she has, and nobody else becomes her by having it.
    ada.email = "bob@acme.example".to_owned();
    assert_eq!(browser.signs_in("acme", &ada).await.expect("signed in").principal, "tenants/acme/users/ada");
    let thief = browser.signs_in("acme", &person("u-eve", "ada@acme.example")).await.expect_err("another account");
    assert_eq!(thief.reason(), Some("TOKEN_INVALID"));

    // Every kind of key signs, and so does a new one.
    for algorithm in ["PS256", "ES256", "EdDSA"] {
        idp.provider.sign_with(algorithm);
        browser.signs_in("acme", &ada).await.unwrap_or_else(|error| panic!("{algorithm}: {error:?}"));
    }
    assert_eq!(browser.asked("/keys"), 1, "keys are kept");
    idp.provider.rotate();
    browser.signs_in("acme", &ada).await.expect("the new key is looked for");
    assert_eq!(browser.asked("/keys"), 2);

    // A provider may say the address only to who asks for it.
    invite(acme, "fay").await;
    let fay = person("u-fay", "fay@acme.example");
    let silent = || changing(json!({ "email": null, "email_verified": null }));
    idp.provider.forge_next(silent());
    idp.provider.server.fail(
        "GET /userinfo",
        Fault::Reply(Reply::json(200, &json!({ "sub": "u-x", "email": fay.email, "email_verified": true }))),
    );
    assert_eq!(reason(browser.signs_in("acme", &fay).await), "TOKEN_INVALID", "it speaks of somebody else");
    idp.provider.forge_next(silent());
    assert_eq!(browser.signs_in("acme", &fay).await.expect("signed in").principal, "tenants/acme/users/fay");

    // One sentence for everybody who does not get in.
    world.tenant("rival").await.users().invite("carol@acme.example").id("carol").send().await.expect("an invitation");
    acme.users().deactivate("bob").send().await.expect("deactivated");
    let unverified = Person { email_verified: false, ..person("u-dan", "dan@acme.example") };
    invite(acme, "dan").await;
    let sentences = [
        ("unknown", browser.signs_in("acme", &person("u-x", "nobody@acme.example")).await),
        ("of no tenant", browser.signs_in("nowhere", &ada).await),
        ("of another tenant", browser.signs_in("acme", &person("u-carol", "carol@acme.example")).await),
        ("not of this tenant", browser.signs_in("rival", &ada).await),
        ("deactivated", browser.signs_in("acme", &person("u-bob", "bob@acme.example")).await),
        ("not verified", browser.signs_in("acme", &unverified).await),
    ];
    for (who, refused) in sentences {
        let refused = refused.expect_err(who);
        assert_eq!((refused.reason(), refused.message()), (Some("TOKEN_INVALID"), thief.message()), "{who}");
    }
    assert_eq!(acme.users().get("dan").send().await.expect("a user").identity, None);
}

both_databases!(a_sign_in_is_renewed_as_long_as_here_and_there_agree);

async fn a_sign_in_is_renewed_as_long_as_here_and_there_agree(database: Database) {
    let idp = Idp::start().await;
    let world = World::with(database, &idp.options()).await;
    let (acme, browser) = (&world.admin, Browser::new(&world, &idp).await);
    for id in ["ada", "bob", "eve", "dan"] {
        invite(acme, id).await;
    }
    let people = ["ada", "bob", "eve", "dan"].map(|id| person(&format!("u-{id}"), &format!("{id}@acme.example")));
    let [ada, bob, eve, dan] = &people;

    let first = browser.signs_in("acme", ada).await.expect("signed in").refresh_token;
    let theirs = idp.provider.refresh_tokens();
    assert!(theirs.iter().all(|token| !first.contains(token.as_str())), "what is the provider's is sealed");
    let second = browser.renews(&first).await.expect("renewed");
    assert_eq!(second.principal, "tenants/acme/users/ada");
    assert_eq!(reason(browser.renews(&first).await), "TOKEN_INVALID", "each is good once");
    let mut changed = second.refresh_token.clone().into_bytes();
    changed[40] ^= 1;
    let before = browser.asked("/token");
    for forged in [String::from_utf8(changed).expect("text"), "x".to_owned(), URL_SAFE_NO_PAD.encode([7; 200])] {
        assert_eq!(reason(browser.renews(&forged).await), "TOKEN_INVALID");
    }
    assert_eq!(browser.asked("/token"), before, "nobody is asked about what is not ours");

    // A renewal that comes back for somebody else, or for another request, is none.
    for claims in [json!({ "sub": "u-bob" }), json!({ "nonce": "another-request" }), json!({ "aud": "another" })] {
        let good = browser.signs_in("acme", ada).await.expect("signed in").refresh_token;
        idp.provider.forge_next(changing(claims.clone()));
        assert_eq!(reason(browser.renews(&good).await), "TOKEN_INVALID", "{claims}");
    }

    // Who goes there, goes here.
    let kept = browser.signs_in("acme", ada).await.expect("signed in").refresh_token;
    idp.provider.remove("u-ada");
    assert_eq!(reason(browser.renews(&kept).await), "TOKEN_INVALID");

    // Who goes here is not asked about there.
    let kept = browser.signs_in("acme", bob).await.expect("signed in").refresh_token;
    let before = browser.asked("/token");
    acme.users().deactivate("bob").send().await.expect("deactivated");
    assert_eq!(reason(browser.renews(&kept).await), "TOKEN_INVALID");
    assert_eq!(browser.asked("/token"), before);

    // An account that is unbound is nobody's; another one takes its place.
    let kept = browser.signs_in("acme", eve).await.expect("signed in").refresh_token;
    let bound = acme.users().get("eve").send().await.expect("a user");
    let unlinked = acme.users().unlink_identity("eve").etag(&bound.etag).send().await.expect("unbound");
    assert!(unlinked.identity.is_none() && unlinked.etag != bound.etag && unlinked.state == UserState::Active);
    assert_eq!(reason(browser.renews(&kept).await), "TOKEN_INVALID");
    let other = person("u-eve-new", "eve@acme.example");
    assert_eq!(browser.signs_in("acme", &other).await.expect("signed in").principal, "tenants/acme/users/eve");
    assert_eq!(reason(browser.signs_in("acme", eve).await), "TOKEN_INVALID");
    acme.users().unlink_identity("dan").send().await.expect("there is nothing to unbind");

    // With a user goes the bond, and the next one of the address may be bound.
    let kept = browser.signs_in("acme", dan).await.expect("signed in").refresh_token;
    acme.users().delete("dan").send().await.expect("deleted");
    assert_eq!(reason(browser.signs_in("acme", dan).await), "TOKEN_INVALID");
    invite(acme, "dan").await;
    assert_eq!(reason(browser.renews(&kept).await), "TOKEN_INVALID", "it was of another user");
    browser.signs_in("acme", dan).await.expect("signed in");

    // Who signs out is forgotten there.
    let kept = browser.signs_in("acme", dan).await.expect("signed in").refresh_token;
    let anybody = world.installation.client(&[world.replica.web], world.installation.pki.trust(), "acme").await;
    anybody.revoke_refresh_token(&kept).send().await.expect("signed out");
    assert_eq!(idp.provider.revoked().len(), 1);
    assert_eq!(reason(browser.renews(&kept).await), "TOKEN_INVALID");
    anybody.revoke_refresh_token("x").send().await.expect("nothing to forget");
    assert_eq!(idp.provider.revoked().len(), 1);
}

/// Makes a token with other claims; those that are null are absent.
fn changing(changes: Value) -> impl Fn(Value, Value, &SigningKey) -> String + Send + 'static {
    move |header, mut claims, key| {
        for (name, value) in changes.as_object().expect("an object") {
            match value {
                Value::Null => drop(claims.as_object_mut().expect("an object").remove(name)),
                value => claims[name] = value.clone(),
            }
        }
        key.token(&header, &claims)
    }
}

/// Makes a token with another header, signed as before.
fn headed(changes: Value) -> impl Fn(Value, Value, &SigningKey) -> String + Send + 'static {
    move |mut header, claims, key| {
        for (name, value) in changes.as_object().expect("an object") {
            header[name] = value.clone();
        }
        key.token(&header, &claims)
    }
}

both_databases!(nothing_but_a_sound_id_token_gets_a_token);

async fn nothing_but_a_sound_id_token_gets_a_token(database: Database) {
    let idp = Idp::start().await;
    let world = World::with(database, &idp.options()).await;
    let (acme, browser) = (&world.admin, Browser::new(&world, &idp).await);
    invite(acme, "ada").await;
    let ada = person("u-ada", "ada@acme.example");
    let now = Timestamp::now().as_second();

    type Forged = Box<dyn Fn(Value, Value, &SigningKey) -> String + Send>;
    let none: Forged = Box::new(|_, claims, _| {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.", part(&json!({ "alg": "none" })), part(&claims))
    });
    let by_public_key: Forged = Box::new(|mut header, claims, key| {
        header["alg"] = json!("HS256");
        hmac_with(&key.public(), &header, &claims)
    });
    let cut: Forged = Box::new(|header, claims, key| key.token(&header, &claims).rsplit_once('.').expect("parts").0.to_owned());
    let moved: Forged = Box::new(|header, claims, key| {
        let mut other = claims.clone();
        other["sub"] = json!("u-other");
        let (token, other) = (key.token(&header, &claims), key.token(&header, &other));
        let ((signed, _), (_, signature)) = (other.rsplit_once('.').expect("parts"), token.rsplit_once('.').expect("parts"));
        format!("{signed}.{signature}")
    });
    let forged: Vec<(&str, Forged)> = vec![
        ("no algorithm", none),
        ("HMAC by the public key", by_public_key),
        ("no signature", cut),
        ("the signature of another", moved),
        ("an algorithm that nobody asked for", Box::new(headed(json!({ "alg": "RS384" })))),
        ("an unknown key", Box::new(headed(json!({ "kid": "of-nobody" })))),
        ("a key of another kind", Box::new(headed(json!({ "kid": "EdDSA-1" })))),
        ("an algorithm of another kind", Box::new(headed(json!({ "alg": "EdDSA" })))),
        ("another padding than the key is for", Box::new(headed(json!({ "alg": "PS256" })))),
        ("a header that must be understood", Box::new(headed(json!({ "crit": ["b64"] })))),
        ("another issuer", Box::new(changing(json!({ "iss": "https://evil.example" })))),
        ("another client", Box::new(changing(json!({ "aud": "another" })))),
        ("several clients", Box::new(changing(json!({ "aud": ["another", FakeOidc::CLIENT.0] })))),
        ("made for another client", Box::new(changing(json!({ "azp": "another" })))),
        ("another nonce", Box::new(changing(json!({ "nonce": "another-request" })))),
        ("no nonce", Box::new(changing(json!({ "nonce": null })))),
        ("expired", Box::new(changing(json!({ "exp": now - 3600 })))),
        ("without an end", Box::new(changing(json!({ "exp": null })))),
        ("of the future", Box::new(changing(json!({ "iat": now + 3600, "exp": now + 7200 })))),
        ("of long ago", Box::new(changing(json!({ "iat": now - 7200 })))),
        ("nobody's", Box::new(changing(json!({ "sub": "" })))),
        ("an address that is not verified", Box::new(changing(json!({ "email_verified": false })))),
        ("an address that is said to be verified by a text", Box::new(changing(json!({ "email_verified": "true" })))),
        ("no token at all", Box::new(|_, _, _| "e30.e30.e30".to_owned())),
    ];
    for (what, forgery) in forged {
        idp.provider.forge_next(forgery);
        assert_eq!(reason(browser.signs_in("acme", &ada).await), "TOKEN_INVALID", "{what}");
    }
    assert!(browser.asked("/keys") <= 2, "unknown keys are not looked for each time");

    // A code is good once, for who has begun.
    let begun = Begun::new();
    let code = idp.provider.authorize(begun.asks(), &ada);
    let wrong = Begun { verifier: "v".repeat(43), nonce: begun.nonce.clone() };
    assert_eq!(reason(browser.brings(wrong.comes_back("acme", code)).await), "TOKEN_INVALID", "another verifier");
    let begun = Begun::new();
    let code = idp.provider.authorize(begun.asks(), &ada);
    let other = AuthorizationCode { redirect_uri: "https://evil.example/".into(), ..begun.comes_back("acme", code) };
    assert_eq!(reason(browser.brings(other).await), "TOKEN_INVALID", "somewhere else");
    assert_eq!(acme.users().get("ada").send().await.expect("a user").state, UserState::Invited, "nothing of all that was kept");
    let begun = Begun::new();
    let code = idp.provider.authorize(begun.asks(), &ada);
    let back = begun.comes_back("acme", code);
    let once = browser.brings(back.clone()).await.expect("signed in");
    assert_eq!(reason(browser.brings(back.clone()).await), "TOKEN_INVALID", "the second time");
    assert_eq!(reason(browser.renews(&once.refresh_token).await), "TOKEN_INVALID", "nor is what the first one gave");

    // What is no request is told so, all of it, and none of it is repeated.
    let before = browser.asked("/token");
    let wrong =
        AuthorizationCode { tenant: "acme".into(), code_verifier: "short-secret".into(), nonce: "n".into(), ..back.clone() };
    let wrong = browser.brings(wrong).await.expect_err("nothing of it is right");
    let fields: Vec<_> = wrong.violations().iter().map(|wrong| wrong.field.as_str()).collect();
    assert_eq!(fields, ["tenant", "code_verifier", "nonce"].map(|field| format!("authorization_code.{field}")));
    assert!(!format!("{wrong:?}").contains("short-secret"));
    let both = ExchangeTokenRequest { api_key: "fhk_x".into(), authorization_code: Some(back), ..Default::default() };
    assert!(browser.exchange(both).await.expect_err("one at a time").is_invalid_argument());
    assert_eq!(browser.asked("/token"), before);
}

both_databases!(a_provider_that_fails_is_said_to_and_the_rest_goes_on);

async fn a_provider_that_fails_is_said_to_and_the_rest_goes_on(database: Database) {
    let idp = Idp::start().await;
    // It is down when the server starts, and for a while.
    idp.provider.server.fail("GET /.well-known/openid-configuration", Fault::status(503));
    idp.provider.server.fail("GET /.well-known/openid-configuration", Fault::status(503));
    let world = World::with(database, &idp.options()).await;
    let browser = Browser::new(&world, &idp).await;
    invite(&world.admin, "ada").await;
    let ada = person("u-ada", "ada@acme.example");
    assert_eq!(reason(browser.signs_in("acme", &ada).await), "VENDOR_UNAVAILABLE");
    browser.signs_in("acme", &ada).await.expect("it is back");

    let busy = Reply::text(429, Vec::new()).with("retry-after", "7200");
    for (what, fault, reason_) in [
        ("slow", Fault::Silent, "VENDOR_UNAVAILABLE"),
        ("broken", Fault::status(500), "VENDOR_UNAVAILABLE"),
        ("garbage", Fault::Garbage, "VENDOR_UNAVAILABLE"),
        ("cut", Fault::Cut, "VENDOR_UNAVAILABLE"),
    ] {
        idp.provider.server.fail("POST /token", fault);
        let refused = browser.signs_in("acme", &ada).await.expect_err(what);
        assert_eq!(refused.reason(), Some(reason_), "{what}: {refused:?}");
        assert!(refused.retry_after().is_some_and(|wait| wait > Duration::ZERO), "{what}: {refused:?}");
    }
    browser.signs_in("acme", &ada).await.expect("it is well again");
    let refusals = [
        ("another client", Fault::Reply(Reply::json(401, &json!({ "error": "invalid_client" })))),
        ("a redirect", Fault::Reply(Reply::text(302, Vec::new()).with("location", "https://evil.example/token"))),
        ("far too much", Fault::Reply(Reply::json(200, &json!({ "id_token": "x".repeat(300 << 10) })))),
        ("no ID token", Fault::Reply(Reply::json(200, &json!({ "access_token": "x", "token_type": "Bearer" })))),
    ];
    for (what, fault) in refusals {
        idp.provider.server.fail("POST /token", fault);
        let refused = browser.signs_in("acme", &ada).await.expect_err(what);
        assert_eq!(refused.reason(), Some("VENDOR_REFUSED"), "{what}: {refused:?}");
    }
    browser.signs_in("acme", &ada).await.expect("as before");
    idp.provider.server.fail("POST /token", Fault::Reply(busy));
    assert_eq!(reason(browser.signs_in("acme", &ada).await), "VENDOR_THROTTLED");
}

both_databases!(no_number_of_codes_makes_the_server_ask_without_end);

async fn no_number_of_codes_makes_the_server_ask_without_end(database: Database) {
    let idp = Idp::start().await;
    let world = World::with(database, &idp.options()).await;
    let browser = Browser::new(&world, &idp).await;
    let tries = (0..200).map(|n| browser.brings(Begun::new().comes_back("acme", format!("guess-{n}"))));
    let begun = Timestamp::now();
    let refused = join_all(tries).await;
    let seconds = Timestamp::now().duration_since(begun).as_secs() as usize + 1;
    let limited =
        refused.into_iter().filter(|one| one.as_ref().is_err_and(|error| error.reason() == Some("RATE_LIMITED"))).count();
    assert!(limited >= 200 - 50 - 5 * seconds, "{limited} were refused in {seconds} s");
    assert!(browser.asked("/token") <= 50 + 5 * seconds, "{} questions in {seconds} s", browser.asked("/token"));
    // Nobody else is kept out: calls that ask nobody else have buckets of their own.
    world.admin.users().list().send().await.expect("a list");
    let without = World::new(database).await;
    let anybody = without.installation.client(&[without.replica.web], without.installation.pki.trust(), "acme").await;
    assert_eq!(anybody.sign_in_options().send().await.expect("an answer"), None);
    let code = Begun::new().comes_back("acme", "code".to_owned());
    assert_eq!(reason(Browser::new(&without, &idp).await.brings(code).await), "FIELD_INVALID");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_proves_a_sign_in_is_in_the_log_or_the_database() {
    let idp = Idp::start().await;
    let installation = Installation::new(Sqlite).await;
    let mut serve = installation.serve(&idp.options());
    serve.env(crate::privacy::LOGGING.0, crate::privacy::LOGGING.1);
    let replica = installation.start(serve).await;
    let admin = installation.client(&[replica.api], installation.pki.credentials("admin"), "acme").await;
    admin.tenants().create("acme").send().await.expect("a tenant");
    let mut world = World { installation, replica, admin };
    invite(&world.admin, "ada").await;
    let browser = Browser::new(&world, &idp).await;
    let ada = person("u-ada", "ada@acme.example");
    let mut secrets = vec![FakeOidc::CLIENT.1.to_owned()];
    for (fault, works) in [(None, true), (Some(Fault::status(500)), false), (Some(Fault::Garbage), false)] {
        if let Some(fault) = fault {
            idp.provider.server.fail("POST /token", fault);
        }
        let begun = Begun::new();
        let code = idp.provider.authorize(begun.asks(), &ada);
        secrets.extend([code.clone(), begun.verifier.clone(), begun.nonce.clone()]);
        let answer = browser.brings(begun.comes_back("acme", code)).await;
        assert_eq!(answer.is_ok(), works, "{answer:?}");
        if let Ok(answer) = answer {
            let renewed = browser.renews(&answer.refresh_token).await.expect("renewed");
            secrets.extend([answer.token, answer.refresh_token, renewed.token, renewed.refresh_token]);
        }
    }
    secrets.extend(idp.provider.refresh_tokens());
    // The provider repeats what was sent in its refusals.
    let begun = Begun::new();
    secrets.push(begun.verifier.clone());
    let refused = browser.brings(begun.comes_back("acme", "a-code-that-was-guessed".to_owned())).await.expect_err("no code");
    secrets.push("a-code-that-was-guessed".to_owned());
    let shown = format!("{refused:?}");
    world.replica.process.signal("TERM");
    world.replica.process.wait().await;
    let log = world.replica.process.said();
    assert!(log.contains("\"level\":\"TRACE\"") || log.contains("\"level\":\"DEBUG\""), "it says little: {log}");
    let files = std::fs::read_dir(world.installation.dir.path()).expect("the folder can be read").flatten();
    let files = files.filter(|file| file.file_name().to_string_lossy().starts_with("freehold.db"));
    let files: Vec<_> = files.map(|file| std::fs::read(file.path()).expect("the file can be read")).collect();
    assert!(secrets.len() > 15 && !files.is_empty());
    for secret in secrets {
        assert!(!shown.contains(&secret) && !log.contains(&secret), "{secret} is in the log or an error");
        let bytes = secret.as_bytes();
        assert!(!files.iter().any(|file| file.windows(bytes.len()).any(|window| window == bytes)), "{secret} is in the database");
    }
}
