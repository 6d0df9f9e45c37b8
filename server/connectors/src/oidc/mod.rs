//! The identity provider of the installation, by OpenID Connect: discovery, keys, and the endpoints that a server asks.
//!
//! It has a way out of its own, with the limits that every connection has: so no number of bad codes makes the server ask the provider
//! more often than that. Its operator is ours, so that it may be at a private address.

mod id_token;
mod keys;

use std::{net::IpAddr, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use freehold_domain::{network::AddressPolicy, time::Timestamp};
use reqwest::Method;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::{
    sync::Mutex,
    time::{Instant, timeout_at},
};
use url::{Host, Url};

use crate::{
    ConnectorError, Context, Credentials, Effect, Environment, ErrorKind, Halt, Limits, Outbound, RetryLimits,
    outbound::{Answer, Dialect, Request, by_status},
};
use id_token::{Claims, Expected, Mail, Unproven};
use keys::Keys;

/// How long a sign-in may take at the provider, with everything that must be asked for it.
const PATIENCE: Duration = Duration::from_secs(9);
/// Most bytes of an answer.
const MAX_ANSWER: usize = 256 << 10;
/// How long endpoints and keys are kept.
const KEPT: Duration = Duration::from_secs(3600);
/// How often an unknown key is looked for at most.
const LOOK: Duration = Duration::from_secs(60);
/// The errors of RFC 6749, section 5.2. Other words of the provider are not repeated: they may hold what was sent.
const ERRORS: [&str; 6] =
    ["invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type", "invalid_scope"];

/// The provider, as the operator names it.
pub struct Settings {
    /// Its name, which is also where it is found: a URL.
    pub issuer: String,
    /// What we are to it.
    pub client_id: String,
    /// By what we prove it; a public client has none.
    pub client_secret: Option<String>,
    /// Authorities in PEM besides the public ones.
    pub ca_bundle: Option<String>,
    /// It may be asked without TLS on this machine.
    pub plain_on_loopback: bool,
}

/// The provider.
pub struct IdentityProvider {
    settings: Settings,
    outbound: Arc<Outbound>,
    document: Mutex<Option<(Instant, Arc<Document>)>>,
    keys: Mutex<Option<KeptKeys>>,
}

/// What it proves of a person.
pub struct Granted {
    /// The account.
    pub subject: String,
    /// Its mail address, if it is verified.
    pub email: Option<String>,
    /// Renews the sign-in.
    pub refresh_token: Option<String>,
}

/// Why there is no proof. No text of it holds a code, a token or a secret.
#[derive(Debug)]
pub enum Failure {
    /// What the person has brought is not good.
    Refused(&'static str),
    /// The provider could not be asked, or does not accept us.
    Failed(ConnectorError),
}

/// What discovery finds.
#[derive(Deserialize)]
struct Document {
    issuer: String,
    authorization_endpoint: Url,
    token_endpoint: Url,
    jwks_uri: Url,
    userinfo_endpoint: Option<Url>,
    revocation_endpoint: Option<Url>,
    scopes_supported: Option<Vec<String>>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

struct KeptKeys {
    keys: Arc<Keys>,
    since: Instant,
    /// When an unknown one was last looked for.
    looked: Option<Instant>,
}

/// What the token endpoint answers.
#[derive(Deserialize)]
struct Tokens {
    id_token: Option<String>,
    refresh_token: Option<String>,
    access_token: Option<String>,
}

/// What the userinfo endpoint answers.
#[derive(Deserialize)]
struct UserInfo {
    sub: String,
    email: Option<String>,
    email_verified: Option<Value>,
}

impl From<Halt> for Failure {
    fn from(halt: Halt) -> Self {
        match halt {
            Halt::Failed(error) => Self::Failed(*error),
            Halt::Dry(_) => Self::Failed(ConnectorError::new(ErrorKind::Invalid, "nothing is rehearsed here")),
        }
    }
}

impl From<ConnectorError> for Failure {
    fn from(error: ConnectorError) -> Self {
        Self::Failed(error)
    }
}

impl IdentityProvider {
    /// The provider. Nothing is asked before somebody signs in.
    ///
    /// # Errors
    /// `Unconfigured` when the issuer is no URL that can be asked, or the authorities cannot be read.
    pub fn new(settings: Settings, environment: Environment) -> Result<Self, ConnectorError> {
        let limits = Limits {
            request: Duration::from_secs(5),
            connect: Duration::from_secs(3),
            retry: RetryLimits { attempts: 2, ..RetryLimits::default() },
            ..Limits::default()
        };
        let environment = Environment { policy: Arc::new(AddressPolicy::new(&[], true)), ..environment };
        let outbound = Outbound::new("sign-in", "oidc", settings.ca_bundle.as_deref(), limits, environment)?;
        let provider = Self { settings, outbound: Arc::new(outbound), document: Mutex::default(), keys: Mutex::default() };
        let issuer = provider.settings.issuer.parse().ok().filter(|url: &Url| url.query().is_none() && url.fragment().is_none());
        if !issuer.is_some_and(|url| provider.may_ask(&url)) {
            let issuer = &provider.settings.issuer;
            return Err(ConnectorError::unconfigured(format!("the issuer `{issuer}` is not a URL that begins with https://")));
        }
        Ok(provider)
    }

    /// Its name.
    pub fn issuer(&self) -> &str {
        &self.settings.issuer
    }

    /// What we are to it.
    pub fn client_id(&self) -> &str {
        &self.settings.client_id
    }

    /// Where browsers are sent, and what they ask for there: a refresh token only where it is known, because some providers refuse
    /// what they do not know.
    ///
    /// # Errors
    /// When the provider cannot be asked.
    pub async fn authorization(&self) -> Result<(String, Vec<&'static str>), Failure> {
        let document = self.document(&self.context()).await?;
        let knows = |scope: &&str| document.scopes_supported.as_ref().is_none_or(|known| known.iter().any(|one| one == scope));
        let scopes = ["openid", "email", "profile"].into_iter().chain(Some("offline_access").filter(knows)).collect();
        Ok((document.authorization_endpoint.to_string(), scopes))
    }

    /// Turns a code into what it proves.
    ///
    /// # Errors
    /// When it proves nothing, and when the provider cannot be asked.
    pub async fn redeem(&self, code: &str, verifier: &str, redirect_uri: &str, nonce: &str) -> Result<Granted, Failure> {
        let cx = self.context();
        let document = self.document(&cx).await?;
        let fields =
            [("grant_type", "authorization_code"), ("code", code), ("code_verifier", verifier), ("redirect_uri", redirect_uri)];
        let Tokens { id_token, refresh_token, access_token } = self.tokens(&cx, &document, &fields).await?;
        let id_token = id_token.ok_or_else(|| unexpected("answered without an ID token"))?;
        let Claims { subject, mut mail } = self.prove(&cx, &document, &id_token, nonce, true).await?;
        // Providers may keep to themselves what they would tell whoever has the access token (section 5.4).
        if let (Mail::Unsaid, Some(url), Some(token)) = (&mail, &document.userinfo_endpoint, access_token) {
            mail = self.mail(&cx, url.clone(), &token, &subject).await?;
        }
        let email = if let Mail::Verified(email) = mail { Some(email) } else { None };
        Ok(Granted { subject, email, refresh_token })
    }

    /// Asks whether the sign-in of an account goes on; answers the refresh token that takes the place of this one, if there is one.
    ///
    /// # Errors
    /// When it does not, and when the provider cannot be asked.
    pub async fn refresh(&self, refresh_token: &str, subject: &str, nonce: &str) -> Result<Option<String>, Failure> {
        let cx = self.context();
        let document = self.document(&cx).await?;
        let fields = [("grant_type", "refresh_token"), ("refresh_token", refresh_token)];
        let Tokens { id_token, refresh_token, .. } = self.tokens(&cx, &document, &fields).await?;
        if let Some(id_token) = id_token {
            let claims = self.prove(&cx, &document, &id_token, nonce, false).await?;
            if claims.subject != subject {
                return Err(Failure::Refused("the ID token is about another account"));
            }
        }
        Ok(refresh_token)
    }

    /// Has it forget a refresh token (RFC 7009), if it can.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub async fn revoke(&self, refresh_token: &str) -> Result<(), Failure> {
        let cx = self.context();
        let document = self.document(&cx).await?;
        let Some(url) = document.revocation_endpoint.clone() else { return Ok(()) };
        let fields = [("token", refresh_token), ("token_type_hint", "refresh_token")];
        let mut request = self.form("oidc.revoke", Effect::Idempotent, url, &document, &fields)?;
        request.json = false;
        cx.send(&Words, request).await?;
        Ok(())
    }

    fn context(&self) -> Context {
        Context::new(Arc::clone(&self.outbound), Value::Null, Arc::new(Credentials::none())).within(PATIENCE)
    }

    /// Endpoints are where the issuer says, over TLS.
    fn may_ask(&self, url: &Url) -> bool {
        let loopback = match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
            Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
            None => return false,
        };
        url.scheme() == "https" || (url.scheme() == "http" && loopback && self.settings.plain_on_loopback)
    }

    /// What discovery finds, kept for a while. Who waits for the lock finds it read.
    async fn document(&self, cx: &Context) -> Result<Arc<Document>, Failure> {
        let mut kept = timeout_at(cx.deadline, self.document.lock()).await.map_err(|_| late())?;
        if let Some((since, document)) = kept.as_ref()
            && since.elapsed() < KEPT
        {
            return Ok(Arc::clone(document));
        }
        let issuer = self.settings.issuer.trim_end_matches('/');
        let url = format!("{issuer}/.well-known/openid-configuration").parse().map_err(|_| unexpected("has no URL"))?;
        let document: Document = read(&self.get(cx, "oidc.discover", url).await?)?;
        if document.issuer != self.settings.issuer {
            return Err(unexpected("says that it is another issuer; give --oidc-issuer exactly as it says it").into());
        }
        let Document { authorization_endpoint, token_endpoint, jwks_uri, userinfo_endpoint, revocation_endpoint, .. } = &document;
        let needed = [authorization_endpoint, token_endpoint, jwks_uri];
        if !needed.into_iter().chain(userinfo_endpoint).chain(revocation_endpoint).all(|url| self.may_ask(url)) {
            return Err(unexpected("names an endpoint that does not begin with https://").into());
        }
        let document = Arc::new(document);
        *kept = Some((Instant::now(), Arc::clone(&document)));
        Ok(document)
    }

    /// Its keys; read anew when they are old, and, not more than once in a while, when one is missing.
    async fn keys(&self, cx: &Context, document: &Document, missing: bool) -> Result<Arc<Keys>, Failure> {
        let mut kept = timeout_at(cx.deadline, self.keys.lock()).await.map_err(|_| late())?;
        let mut looked = None;
        if let Some(known) = kept.as_ref() {
            let may_look = known.looked.is_none_or(|last| last.elapsed() >= LOOK);
            if known.since.elapsed() < KEPT && !(missing && may_look) {
                return Ok(Arc::clone(&known.keys));
            }
            looked = if missing { Some(Instant::now()) } else { known.looked };
        }
        let answer = self.get(cx, "oidc.keys", document.jwks_uri.clone()).await?;
        let keys =
            Arc::new(Keys::read(&answer.body).ok_or_else(|| unexpected("answered with something that is no set of keys"))?);
        *kept = Some(KeptKeys { keys: Arc::clone(&keys), since: Instant::now(), looked });
        Ok(keys)
    }

    async fn prove(&self, cx: &Context, document: &Document, token: &str, nonce: &str, first: bool) -> Result<Claims, Failure> {
        let (issuer, client_id) = (self.issuer(), self.client_id());
        let expected = Expected { issuer, client_id, nonce, first, now: seconds(cx.now()) };
        let mut proven = id_token::verify(token, &*self.keys(cx, document, false).await?, &expected);
        if proven == Err(Unproven::UnknownKey) {
            proven = id_token::verify(token, &*self.keys(cx, document, true).await?, &expected);
        }
        proven.map_err(|why| match why {
            Unproven::UnknownKey => Failure::Refused("the ID token is signed by a key that the provider does not have"),
            Unproven::Because(why) => Failure::Refused(why),
        })
    }

    /// What the provider says of the mail address of an account (section 5.3).
    async fn mail(&self, cx: &Context, url: Url, access_token: &str, subject: &str) -> Result<Mail, Failure> {
        let mut request = Request::new("oidc.userinfo", Effect::Read, Method::GET, url).bearer(access_token)?;
        request.max_answer = MAX_ANSWER;
        let UserInfo { sub, email, email_verified } = read(&cx.send(&Words, request).await?)?;
        if sub != subject {
            return Err(Failure::Refused("the provider speaks of another account"));
        }
        Ok(Mail::of(email, email_verified.as_ref()))
    }

    async fn get(&self, cx: &Context, operation: &'static str, url: Url) -> Result<Answer, Failure> {
        let mut request = Request::new(operation, Effect::Read, Method::GET, url).header("accept", "application/json")?;
        request.max_answer = MAX_ANSWER;
        Ok(cx.send(&Words, request).await?)
    }

    /// Asks the token endpoint. Codes, and refresh tokens where they are replaced, are good once, so it is not asked again.
    async fn tokens(&self, cx: &Context, document: &Document, fields: &[(&str, &str)]) -> Result<Tokens, Failure> {
        let request = self.form("oidc.token", Effect::Unsafe, document.token_endpoint.clone(), document, fields)?;
        let answered = cx.send(&Words, request).await.map_err(Failure::from);
        match answered {
            Ok(answer) => Ok(read(&answer)?),
            Err(Failure::Failed(error)) if error.vendor_code.as_deref() == Some("invalid_grant") => {
                Err(Failure::Refused("the provider does not know the code or the refresh token, or not any more"))
            }
            Err(failure) => Err(failure),
        }
    }

    /// A form with which we prove who we are, in the way that the provider takes (RFC 6749, section 2.3.1).
    fn form(
        &self,
        operation: &'static str,
        effect: Effect,
        url: Url,
        document: &Document,
        fields: &[(&str, &str)],
    ) -> Result<Request, ConnectorError> {
        let mut fields = fields.to_vec();
        let Settings { client_id, client_secret, .. } = &self.settings;
        let takes =
            |method: &str| document.token_endpoint_auth_methods_supported.as_ref().map(|all| all.iter().any(|one| one == method));
        let in_header = takes("client_secret_basic") != Some(false) || takes("client_secret_post") != Some(true);
        let mut header = None;
        match client_secret {
            Some(secret) if in_header => {
                let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
                header = Some(format!("Basic {}", STANDARD.encode(format!("{}:{}", encode(client_id), encode(secret)))));
            }
            Some(secret) => fields.extend([("client_id", client_id.as_str()), ("client_secret", secret.as_str())]),
            None => fields.push(("client_id", client_id.as_str())),
        }
        let mut request =
            Request::new(operation, effect, Method::POST, url).form(&fields).header("accept", "application/json")?;
        request.max_answer = MAX_ANSWER;
        match header {
            Some(header) => request.header("authorization", &header),
            None => Ok(request),
        }
    }
}

/// How identity providers say things.
struct Words;

impl Dialect for Words {
    fn vendor(&self) -> &'static str {
        "the identity provider"
    }

    fn judge(&self, request: &Request, answer: &Answer, now: Timestamp) -> Option<ConnectorError> {
        let mut error = by_status(self.vendor(), request, answer, now)?;
        let said = answer.value()["error"].as_str().and_then(|said| ERRORS.into_iter().find(|known| *known == said));
        error.message = match said {
            Some(said) => format!("the identity provider answered {}: {said}", answer.status),
            None => format!("the identity provider answered {}", answer.status),
        };
        error.vendor_code = said.map(str::to_owned);
        Some(error)
    }
}

fn read<T: DeserializeOwned>(answer: &Answer) -> Result<T, ConnectorError> {
    serde_json::from_slice(&answer.body).map_err(|_| unexpected("answered with JSON that lacks what the standard asks for"))
}

fn unexpected(what: &str) -> ConnectorError {
    ConnectorError::new(ErrorKind::Permanent, format!("the identity provider {what}"))
}

fn late() -> ConnectorError {
    ConnectorError::new(ErrorKind::Transient, "the identity provider did not answer in time")
}

fn seconds(time: Timestamp) -> i64 {
    time.as_micros().div_euclid(1_000_000)
}
