//! Sign-in by the identity provider of the installation (OpenID Connect): whom an account there stands for here, and for how long.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use freehold_domain::{
    Error, Reason, Result,
    access::{CallFacts, Caller, Principal, Proof},
    events::Event,
    iam::{User, UserIdentity, UserState},
    names::TenantName,
    time::Uid,
};
use freehold_store::{RequestKey, Session, Tx, users};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    app::{App, Place},
    connectors::Answer,
    identify,
    tokens::{self, Ticket},
};

/// The longest refresh token of ours that is looked at, in characters, and the longest one of a provider that fits into it.
pub const LONGEST_REFRESH_TOKEN: usize = 16 << 10;
const LONGEST_OF_PROVIDER: usize = 10 << 10;

/// The identity provider. No text and no error that it answers with holds a code, a token or a secret.
pub trait IdentityProvider: Send + Sync + 'static {
    /// Its name, as its tokens have it.
    fn issuer(&self) -> &str;

    /// What we are to it.
    fn client_id(&self) -> &str;

    /// Where browsers are sent, and what they ask for there.
    ///
    /// # Errors
    /// Those of vendors.
    fn authorization(&self) -> Answer<'_, Result<(String, Vec<&'static str>)>>;

    /// Turns a code into what is proven of a person.
    ///
    /// # Errors
    /// `TOKEN_INVALID` when the code or the ID token is not good, and those of vendors.
    fn redeem<'a>(&'a self, code: &'a AuthorizationCode) -> Answer<'a, Result<Granted>>;

    /// Asks whether a sign-in goes on; answers the refresh token that takes the place of this one, if there is one. What comes with
    /// it must be about the same account.
    ///
    /// # Errors
    /// `TOKEN_INVALID` when it does not, and those of vendors.
    fn refresh<'a>(&'a self, refresh_token: &'a str, subject: &'a str, nonce: &'a str) -> Answer<'a, Result<Option<String>>>;

    /// Has it forget a refresh token, if it can.
    ///
    /// # Errors
    /// Those of vendors.
    fn revoke<'a>(&'a self, refresh_token: &'a str) -> Answer<'a, Result<()>>;
}

/// How people sign in.
#[expect(missing_docs, reason = "as in the contract")]
pub struct SignInOptions {
    pub issuer: String,
    pub client_id: String,
    pub authorization_endpoint: String,
    pub scopes: Vec<&'static str>,
}

/// What the provider has sent a person back with.
#[expect(missing_docs, reason = "as in the contract")]
pub struct AuthorizationCode {
    pub tenant: TenantName,
    pub code: String,
    pub code_verifier: String,
    pub redirect_uri: String,
    pub nonce: String,
}

/// What the provider proves of a person.
pub struct Granted {
    /// The account.
    pub subject: String,
    /// Its mail address, if the provider has verified it.
    pub email: Option<String>,
    /// Renews the sign-in.
    pub refresh_token: Option<String>,
}

/// What a sign-in comes to.
pub struct SignedIn {
    /// What the token says.
    pub ticket: Ticket,
    /// Renews it.
    pub refresh_token: Option<String>,
}

/// An account at the provider.
struct Account<'a> {
    issuer: &'a str,
    subject: &'a str,
    /// Its verified mail address.
    email: Option<String>,
    /// The user that it must be.
    user: Option<Uid>,
}

/// What a refresh token of ours is about.
#[derive(Serialize, Deserialize)]
struct Renewal {
    issuer: String,
    client_id: String,
    subject: String,
    nonce: String,
    tenant: TenantName,
    user: Uid,
    token: String,
}

/// How people can sign in; `None` when there is no identity provider.
pub async fn options(app: &App) -> Result<Option<SignInOptions>> {
    let Some(provider) = &app.identity_provider else { return Ok(None) };
    let (authorization_endpoint, scopes) = provider.authorization().await?;
    let (issuer, client_id) = (provider.issuer().to_owned(), provider.client_id().to_owned());
    Ok(Some(SignInOptions { issuer, client_id, authorization_endpoint, scopes }))
}

/// Exchanges a code. The provider is asked first and always, so that nobody learns from a clock which tenants there are.
pub async fn by_code(app: &App, code: AuthorizationCode, call: CallFacts) -> Result<SignedIn> {
    let none = "this installation has no identity provider; sign in with an API key";
    let provider = app.identity_provider.as_deref().ok_or_else(|| Error::field("authorization_code", none))?;
    let Granted { subject, email, refresh_token } = provider.redeem(&code).await?;
    let email = email.and_then(|email| freehold_domain::iam::email(&email).ok());
    let account = Account { issuer: provider.issuer(), subject: &subject, email, user: None };
    let (ticket, user) = sign_in(app, &code.tenant, &account, &call).await?;
    let renewal = |token| Renewal {
        issuer: provider.issuer().to_owned(),
        client_id: provider.client_id().to_owned(),
        subject: subject.clone(),
        nonce: code.nonce.clone(),
        tenant: code.tenant.clone(),
        user: user.meta.uid,
        token,
    };
    let refresh_token = refresh_token.filter(|token| token.len() <= LONGEST_OF_PROVIDER);
    let refresh_token = refresh_token.map(|token| renewal(token).seal(app)).transpose()?;
    Ok(SignedIn { ticket, refresh_token })
}

/// Renews a sign-in. Whoever has lost access here is not asked about there, and whoever lost it there has none here.
pub async fn by_refresh_token(app: &App, token: &str, call: CallFacts) -> Result<SignedIn> {
    let (provider, mut renewal) = Renewal::open(app, token).ok_or_else(over)?;
    let Renewal { issuer, subject, tenant, user, .. } = &renewal;
    let account = Account { issuer, subject, email: None, user: Some(*user) };
    find(app, tenant, &account, &call).await?;
    let rotated = provider.refresh(&renewal.token, subject, &renewal.nonce).await?;
    let (ticket, _) = sign_in(app, tenant, &account, &call).await?;
    if let Some(rotated) = rotated {
        renewal.token = rotated;
    }
    let refresh_token = if renewal.token.len() <= LONGEST_OF_PROVIDER { Some(renewal.seal(app)?) } else { None };
    Ok(SignedIn { ticket, refresh_token })
}

/// Has the provider forget what renews a sign-in. What is no refresh token of ours is forgotten already.
pub async fn revoke(app: &App, token: &str) -> Result<()> {
    match Renewal::open(app, token) {
        Some((provider, renewal)) => provider.revoke(&renewal.token).await,
        None => Ok(()),
    }
}

/// Finds the user and gives a token.
async fn sign_in(app: &App, tenant: &TenantName, account: &Account<'_>, call: &CallFacts) -> Result<(Ticket, User)> {
    match enter(app, tenant, account, call).await {
        // Another sign-in of the same person was first, and has bound the user.
        Err(error) if error.reason() == Reason::EtagMismatch => enter(app, tenant, account, call).await,
        done => done,
    }
}

async fn enter(app: &App, tenant: &TenantName, account: &Account<'_>, call: &CallFacts) -> Result<(Ticket, User)> {
    let (place, user) = find(app, tenant, account, call).await?;
    let principal = Principal::User(user.name.clone());
    let grants = identify::grants(app, &principal).await?.ok_or_else(|| refused(tenant, call, "the user may not sign in"))?;
    app.count_call(tenant).await?;
    let call = call.clone();
    let caller = Caller { principal, proof: Proof::Account("oidc"), spiffe_id: None, expire_time: None, grants, call };
    let mut tx = app.store.begin(&caller, place.scope, &RequestKey::NONE).await?;
    // Once more, and held: since the look-up the user may have been deactivated, unbound, or bound to another account.
    users::hold(&mut tx, place.scope, &user.name).await?;
    let user = users::get(&mut tx, place.scope, &user.name).await?.filter(|now| account.fits(now));
    let mut user = user.ok_or_else(|| refused(tenant, &caller.call, "the user has just changed"))?;
    if user.identity.is_none() {
        bind(&mut tx, &place, &mut user, account).await?;
    }
    let ticket = tokens::ticket(&tx, &caller, None);
    tokens::give(tx, &caller, place.scope, &ticket).await?;
    Ok((ticket, user))
}

/// The user whom an account stands for. Which of the reasons it is that there is none, only the log says.
async fn find(app: &App, tenant: &TenantName, account: &Account<'_>, call: &CallFacts) -> Result<(Place, User)> {
    let refused = |why| refused(tenant, call, why);
    let place = app.place(tenant).await?.ok_or_else(|| refused("there is no such tenant"))?;
    let user = account.find(&mut app.store.read().await?, &place).await?;
    let user = user.ok_or_else(|| refused("the account is bound to nobody, and nobody has its verified mail address"))?;
    if !account.fits(&user) {
        return Err(refused("the user is deactivated, or bound to another account"));
    }
    Ok((place, user))
}

/// Binds a user to an account, for good: whatever mail address the provider says later, it is this user.
async fn bind(tx: &mut Tx, place: &Place, user: &mut User, account: &Account<'_>) -> Result<()> {
    let Account { issuer, subject, .. } = *account;
    user.identity = Some(UserIdentity { issuer: issuer.to_owned(), subject: subject.to_owned(), bind_time: tx.now() });
    let invited = user.state == UserState::Invited;
    user.state = UserState::Active;
    user.meta.touch(tx.now());
    users::update(tx, place.scope, user).await?;
    users::link(tx, place.scope, user, issuer, subject).await?;
    let event = |kind| Event::new(kind, &user.name, user.meta.uid, user.meta.version);
    if invited {
        tx.announce(event("user.activated"));
    }
    tx.announce(event("user.linked").with(json!({ "issuer": issuer, "subject": subject })));
    Ok(())
}

impl Account<'_> {
    async fn find(&self, db: &mut Session, place: &Place) -> Result<Option<User>> {
        if let Some(user) = users::get_by_identity(db, place.scope, self.issuer, self.subject).await? {
            return Ok(Some(user));
        }
        match &self.email {
            Some(email) => users::get_by_email(db, place.scope, email).await,
            None => Ok(None),
        }
    }

    /// Whether it may sign in as this user: as the one that it is bound to, or as one who is bound to nothing and has its address.
    fn fits(&self, user: &User) -> bool {
        let known = match &user.identity {
            Some(bound) => bound.is(self.issuer, self.subject),
            None => self.email.as_ref() == Some(&user.email),
        };
        known && user.state != UserState::Deactivated && self.user.is_none_or(|uid| uid == user.meta.uid)
    }
}

impl Renewal {
    fn seal(&self, app: &App) -> Result<String> {
        let plain = serde_json::to_vec(self).map_err(Error::internal)?;
        Ok(URL_SAFE_NO_PAD.encode(app.master_key.seal_refresh_token(app.random.as_ref(), &plain)?))
    }

    /// Reads a token of ours, if it is of the provider that we have now.
    fn open<'a>(app: &'a App, token: &str) -> Option<(&'a dyn IdentityProvider, Self)> {
        let provider = app.identity_provider.as_deref()?;
        let sealed = URL_SAFE_NO_PAD.decode(Some(token).filter(|token| token.len() <= LONGEST_REFRESH_TOKEN)?).ok()?;
        let plain = app.master_key.open_refresh_token(&sealed).ok()?;
        let renewal: Self = serde_json::from_slice(&plain).ok()?;
        let present = renewal.issuer == provider.issuer() && renewal.client_id == provider.client_id();
        present.then_some((provider, renewal))
    }
}

/// One sentence for everybody whom an account does not let in, so that nobody learns which tenants and users there are.
fn refused(tenant: &TenantName, call: &CallFacts, why: &'static str) -> Error {
    tracing::info!(request_id = call.request_id, %tenant, why, "a sign-in was refused");
    Error::new(
        Reason::TokenInvalid,
        "this account signs nobody in to this tenant; check the tenant, or ask one of its administrators to invite the mail address \
         of the account, which the identity provider must have verified",
    )
}

fn over() -> Error {
    Error::new(Reason::TokenInvalid, "the sign-in is over; sign in again")
}
