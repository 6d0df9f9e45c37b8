//! An identity provider: OpenID Connect Core 1.0 with Discovery, the code flow with PKCE (RFC 7636), refresh tokens that are replaced at
//! each use (RFC 9700, section 2.2.2), and revocation (RFC 7009).

mod keys;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use crate::{Recorded, Reply, Server, Vendor};
use keys::Ring;
pub use keys::{SigningKey, hmac_with};

/// A provider on a free port, with one confidential client.
pub struct FakeOidc {
    /// Its listener.
    pub server: Server,
    world: Arc<World>,
}

/// What a browser asks the authorization endpoint for.
#[derive(Clone, Debug)]
pub struct Authorization {
    /// Where it wants to come back to.
    pub redirect_uri: String,
    /// The nonce of the request.
    pub nonce: String,
    /// base64url of the SHA-256 of the verifier.
    pub code_challenge: String,
}

/// Somebody who has an account.
#[derive(Clone, Debug)]
pub struct Person {
    /// Their account.
    pub subject: String,
    /// Their mail address.
    pub email: String,
    /// Whether they have proven that it is theirs.
    pub email_verified: bool,
}

/// Changes header and claims of an ID token before it is signed, and signs it.
pub type Forgery = Box<dyn Fn(Value, Value, &SigningKey) -> String + Send>;

struct World {
    issuer: OnceLock<String>,
    state: Mutex<State>,
}

struct State {
    now: Box<dyn Fn() -> i64 + Send>,
    ring: Ring,
    codes: BTreeMap<String, Code>,
    refresh: BTreeMap<String, (Person, String)>,
    access: BTreeMap<String, Person>,
    revoked: Vec<String>,
    forgery: Option<Forgery>,
    count: u32,
}

struct Code {
    authorization: Authorization,
    person: Person,
    used: bool,
}

impl FakeOidc {
    /// Id and secret of its client.
    pub const CLIENT: (&str, &str) = ("freehold-console", "s3cret+of/the=client");

    /// Begins to listen. `now` tells the time, in seconds since 1970.
    pub async fn start(now: impl Fn() -> i64 + Send + 'static) -> Self {
        let state = State {
            now: Box::new(now),
            ring: Ring::new(),
            codes: BTreeMap::new(),
            refresh: BTreeMap::new(),
            access: BTreeMap::new(),
            revoked: Vec::new(),
            forgery: None,
            count: 0,
        };
        let world = Arc::new(World { issuer: OnceLock::new(), state: Mutex::new(state) });
        let server = Server::start(Arc::clone(&world) as Arc<dyn Vendor>).await;
        world.issuer.set(server.url()).expect("it is set once");
        Self { server, world }
    }

    /// Its name.
    pub fn issuer(&self) -> String {
        self.server.url()
    }

    /// A person has signed in and allowed what was asked for: the code that their browser comes back with.
    pub fn authorize(&self, authorization: Authorization, person: &Person) -> String {
        let mut state = self.world.state();
        let code = state.secret("code");
        state.codes.insert(code.clone(), Code { authorization, person: person.clone(), used: false });
        code
    }

    /// Signs with a new key of the same kind from now on. The old one is still in the set.
    pub fn rotate(&self) {
        self.world.state().ring.rotate();
    }

    /// Signs with the key of this algorithm from now on.
    pub fn sign_with(&self, algorithm: &str) {
        self.world.state().ring.sign_with(algorithm);
    }

    /// The next ID token is made by this.
    pub fn forge_next(&self, forgery: impl Fn(Value, Value, &SigningKey) -> String + Send + 'static) {
        self.world.state().forgery = Some(Box::new(forgery));
    }

    /// Somebody has no account any more.
    pub fn remove(&self, subject: &str) {
        self.world.state().refresh.retain(|_, (person, _)| person.subject != subject);
    }

    /// Refresh tokens that are good.
    pub fn refresh_tokens(&self) -> Vec<String> {
        self.world.state().refresh.keys().cloned().collect()
    }

    /// Tokens that it was asked to forget.
    pub fn revoked(&self) -> Vec<String> {
        self.world.state().revoked.clone()
    }
}

impl World {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn issuer(&self) -> &str {
        self.issuer.get().expect("it is set before anybody asks")
    }

    fn document(&self) -> Value {
        let issuer = self.issuer();
        json!({
            "issuer": issuer,
            "authorization_endpoint": format!("{issuer}/authorize"),
            "token_endpoint": format!("{issuer}/token"),
            "jwks_uri": format!("{issuer}/keys"),
            "userinfo_endpoint": format!("{issuer}/userinfo"),
            "revocation_endpoint": format!("{issuer}/revoke"),
            "scopes_supported": ["openid", "email", "profile", "offline_access"],
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256", "ES256", "EdDSA"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic"],
            "code_challenge_methods_supported": ["S256"],
        })
    }

    fn userinfo(&self, request: &Recorded) -> Reply {
        let state = self.state();
        let person = request.header("authorization").strip_prefix("Bearer ").and_then(|token| state.access.get(token));
        match person {
            Some(Person { subject, email, email_verified }) => {
                Reply::json(200, &json!({ "sub": subject, "email": email, "email_verified": email_verified }))
            }
            None => Reply::text(401, Vec::new()).with("www-authenticate", "Bearer error=\"invalid_token\""),
        }
    }

    fn token(&self, request: &Recorded) -> Result<Value, &'static str> {
        let mut state = self.state();
        let field = |name: &str| request.form_field(name);
        let (person, nonce) = match field("grant_type").as_str() {
            "authorization_code" => {
                let code = state.codes.get_mut(&field("code")).ok_or("invalid_grant")?;
                if code.used {
                    // Whoever comes second may be the thief, or the first may have been (RFC 6749, section 4.1.2).
                    let subject = code.person.subject.clone();
                    state.refresh.retain(|_, (person, _)| person.subject != subject);
                    return Err("invalid_grant");
                }
                code.used = true;
                let verifier = field("code_verifier");
                let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()));
                let Authorization { redirect_uri, nonce, code_challenge } = &code.authorization;
                if *redirect_uri != field("redirect_uri") || *code_challenge != challenge {
                    return Err("invalid_grant");
                }
                (code.person.clone(), nonce.clone())
            }
            "refresh_token" => state.refresh.remove(&field("refresh_token")).ok_or("invalid_grant")?,
            "" => return Err("invalid_request"),
            _ => return Err("unsupported_grant_type"),
        };
        let refresh_token = state.secret("refresh");
        state.refresh.insert(refresh_token.clone(), (person.clone(), nonce.clone()));
        let now = (state.now)();
        let claims = json!({
            "iss": self.issuer(), "sub": &person.subject, "aud": FakeOidc::CLIENT.0, "exp": now + 300, "iat": now, "nonce": nonce,
            "email": &person.email, "email_verified": person.email_verified,
        });
        let forgery = state.forgery.take();
        let key = state.ring.signing();
        let header = key.header();
        let id_token = match forgery {
            Some(forgery) => forgery(header, claims, key),
            None => key.token(&header, &claims),
        };
        let access_token = state.secret("access");
        state.access.insert(access_token.clone(), person);
        Ok(json!({ "access_token": access_token, "token_type": "Bearer", "expires_in": 300, "refresh_token": refresh_token,
                   "id_token": id_token, "scope": "openid email profile offline_access" }))
    }
}

impl State {
    /// A text that nobody guesses and everybody recognizes.
    fn secret(&mut self, what: &str) -> String {
        self.count += 1;
        let random = keys::random::<24>();
        format!("{what}-{}-{}", self.count, URL_SAFE_NO_PAD.encode(random))
    }
}

/// Whether a request proves to come from the client (RFC 6749, section 2.3.1).
fn is_client(request: &Recorded) -> bool {
    let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let (id, secret) = FakeOidc::CLIENT;
    request.header("authorization") == format!("Basic {}", STANDARD.encode(format!("{}:{}", encode(id), encode(secret))))
}

impl Vendor for World {
    fn answer(&self, request: &Recorded) -> Reply {
        let private = |reply: Reply| reply.with("cache-control", "no-store");
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/.well-known/openid-configuration") => Reply::json(200, &self.document()),
            ("GET", "/keys") => Reply::json(200, &self.state().ring.published()),
            ("GET", "/userinfo") => self.userinfo(request),
            ("POST", "/token" | "/revoke") if !is_client(request) => self.refusal(),
            ("POST", "/token") => private(match self.token(request) {
                Ok(tokens) => Reply::json(200, &tokens),
                // What was sent comes back, as from a provider that is not careful.
                Err(error) => {
                    Reply::json(400, &json!({ "error": error, "error_description": format!("bad: {:?}", request.form()) }))
                }
            }),
            ("POST", "/revoke") => {
                let token = request.form_field("token");
                let mut state = self.state();
                state.refresh.remove(&token);
                state.revoked.push(token);
                private(Reply::text(200, Vec::new()))
            }
            _ => Reply::json(404, &json!({ "error": "not_found" })),
        }
    }

    fn refusal(&self) -> Reply {
        Reply::json(401, &json!({ "error": "invalid_client" })).with("www-authenticate", "Basic realm=\"provider\"")
    }
}
