//! Key-value engines of HashiCorp Vault and OpenBao, by their HTTP API.

use std::collections::BTreeMap;

use freehold_domain::{
    secret_stores,
    secrets::{SecretRef, is_path},
};
use freehold_engines::{Redactor, StepError};
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::{
    allowed::{Auth, VaultPlace},
    exchange::{Answer, Asked, Exchange},
};

/// What one job reads: one sign-in for each place, and each path once, so that values that stand side by side belong together.
#[derive(Default)]
pub(super) struct Vault<'a> {
    sessions: Vec<(&'a VaultPlace, Session)>,
    read: BTreeMap<(String, String, Option<u32>), Data>,
}

/// A sign-in.
struct Session {
    exchange: Exchange,
    token: String,
    /// The token was made for this job, and is given back at its end.
    ours: bool,
}

/// What is at a path.
#[derive(Clone)]
struct Data {
    values: Map<String, Value>,
    version: Option<u32>,
}

impl<'a> Vault<'a> {
    /// Reads one value; answers its version as well, where the engine keeps versions.
    pub async fn read(
        &mut self,
        place: &'a VaultPlace,
        store: &secret_stores::Vault,
        reference: &SecretRef,
    ) -> Result<(Value, Option<u32>), StepError> {
        let name = (reference.store.to_string(), reference.path.clone(), reference.version);
        let data = match self.read.get(&name) {
            Some(data) => data.clone(),
            None => {
                let session = self.session(place, reference).await?;
                let data = session.get(place, store, reference).await?;
                self.read.insert(name, data.clone());
                data
            }
        };
        let key = reference.key.as_deref().unwrap_or_default();
        match data.values.get(key) {
            Some(Value::Null) | None => {
                let why = format!("{}: there is no such key", reference.shown());
                Err(StepError::new("secret-missing", why).hint("write it there, or mend the key"))
            }
            Some(value) => Ok((value.clone(), data.version)),
        }
    }

    /// Gives back the tokens that were made. One that cannot be given back ends by itself.
    pub async fn close(self) {
        for (place, session) in self.sessions.into_iter().filter(|(_, session)| session.ours) {
            let asked = Asked::new(Method::POST, "auth/token/revoke-self").namespace(&place.namespace).token(&session.token);
            if session.exchange.once(&asked).await.is_err() {
                tracing::info!("a token of a store of secrets could not be given back; it ends by itself");
            }
        }
    }

    async fn session(&mut self, place: &'a VaultPlace, reference: &SecretRef) -> Result<&Session, StepError> {
        let known = self.sessions.iter().position(|(known, _)| std::ptr::eq(*known, place));
        let at = match known {
            Some(at) => at,
            None => {
                let session = Session::begin(place, reference).await?;
                self.sessions.push((place, session));
                self.sessions.len() - 1
            }
        };
        Ok(&self.sessions[at].1)
    }
}

impl Session {
    /// Signs in as what the operator says.
    async fn begin(place: &VaultPlace, reference: &SecretRef) -> Result<Self, StepError> {
        let identity = match &place.auth {
            Auth::Cert { certificate_file, key_file, .. } => Some((certificate_file.as_path(), key_file.as_path())),
            _ => None,
        };
        let exchange =
            Exchange::new(place.address(), place.ca_file.as_deref(), identity).map_err(|why| own_fault(reference, &why))?;
        let file = |path: &std::path::Path| credential(path).map_err(|why| own_fault(reference, &why));
        let (mount, body) = match &place.auth {
            Auth::Token { file: path } => return Ok(Self { exchange, token: file(path)?, ours: false }),
            Auth::Approle { mount, role_id, secret_id_file } => {
                (mount, json!({ "role_id": role_id, "secret_id": file(secret_id_file)? }))
            }
            Auth::Jwt { mount, role, file: path } => (mount, json!({ "role": role, "jwt": file(path)? })),
            Auth::Cert { mount, role, .. } => (mount, json!({ "name": role })),
        };
        let mut secrets = Redactor::default();
        ["secret_id", "jwt"].iter().for_each(|part| secrets.learn(&body[*part]));
        let path = format!("auth/{mount}/login");
        let asked = Asked::new(Method::POST, &path).namespace(&place.namespace).body(body);
        let answer = exchange.send(&asked).await.map_err(|why| unavailable(reference, &why))?;
        let token = answer.body["auth"]["client_token"].as_str().filter(|_| answer.status == 200);
        match token {
            Some(token) => Ok(Self { token: token.to_owned(), exchange, ours: true }),
            None => {
                let said = secrets.redact(&said(&answer));
                let why = format!("the store {} does not let this runner in as {}: {said}", reference.store, place.auth.who());
                Err(StepError::new("secret-store-refused", why)
                    .hint("have the operator of the runner look at `auth` of its file"))
            }
        }
    }

    async fn get(&self, place: &VaultPlace, store: &secret_stores::Vault, reference: &SecretRef) -> Result<Data, StepError> {
        // It was checked before, and is what keeps the request where it belongs.
        is_path(&reference.path).map_err(|why| StepError::new("secret-invalid", why))?;
        let versioned = store.kv_version == 2;
        let path = match (versioned, reference.version) {
            (false, _) => format!("{}/{}", store.mount, reference.path),
            (true, None) => format!("{}/data/{}", store.mount, reference.path),
            (true, Some(version)) => format!("{}/data/{}?version={version}", store.mount, reference.path),
        };
        let asked = Asked::new(Method::GET, &path).namespace(&place.namespace).token(&self.token);
        let answer = self.exchange.send(&asked).await.map_err(|why| unavailable(reference, &why))?;
        let shown = reference.shown();
        match answer.status {
            200 => {}
            403 => {
                let why = format!("{} may not read {}", place.auth.who(), shown);
                return Err(StepError::new("secret-denied", why).hint(
                    "give it a policy that allows to read the path, name another secret, or have the operator look at the runner's \
                     credential",
                ));
            }
            404 => return Err(missing(&answer, reference)),
            status => {
                let mut secrets = Redactor::default();
                secrets.learn_text(&self.token);
                let why = format!("{shown}: the store answered {status}: {}", secrets.redact(&said(&answer)));
                return Err(
                    StepError::new("secret-store-refused", why).hint("look at mount and version of the engine in the store")
                );
            }
        }
        let data = if versioned { &answer.body["data"]["data"] } else { &answer.body["data"] };
        let version = answer.body["data"]["metadata"]["version"].as_u64().and_then(|version| u32::try_from(version).ok());
        match (data, version) {
            (Value::Object(values), Some(version)) if versioned => Ok(Data { values: values.clone(), version: Some(version) }),
            (Value::Object(values), _) if !versioned => Ok(Data { values: values.clone(), version: None }),
            _ => {
                let why = format!("{shown}: the answer of the store is not that of version {} of the engine", store.kv_version);
                Err(StepError::new("secret-store-refused", why).hint("look at mount and version of the engine in the store"))
            }
        }
    }
}

impl Auth {
    /// Who the runner is to the store, in words.
    fn who(&self) -> String {
        match self {
            Self::Token { .. } => "the token of this runner".to_owned(),
            Self::Approle { mount, role_id, .. } => format!("the role {role_id} of {mount}"),
            Self::Jwt { mount, role, .. } | Self::Cert { mount, role, .. } => format!("the role {role} of {mount}"),
        }
    }
}

/// A credential in a file, which others write as they like to.
fn credential(path: &std::path::Path) -> Result<String, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    match text.trim() {
        "" => Err(format!("{} is empty", path.display())),
        text => Ok(text.to_owned()),
    }
}

/// What the store says of a refusal, cut short.
fn said(answer: &Answer) -> String {
    let errors = answer.body["errors"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let text = errors.collect::<Vec<_>>().join("; ");
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect();
    if text.is_empty() { format!("status {}", answer.status) } else { text }
}

/// Why there is nothing: no such path, or a version that is gone.
fn missing(answer: &Answer, reference: &SecretRef) -> StepError {
    let metadata = &answer.body["data"]["metadata"];
    let shown = reference.shown();
    let version = metadata["version"].as_u64().or(reference.version.map(u64::from));
    let what = match version {
        Some(version) if metadata["destroyed"] == true => format!("version {version} of {shown} was destroyed"),
        Some(version) if metadata.is_object() => format!("version {version} of {shown} was deleted"),
        Some(version) => format!("there is no version {version} of {shown}"),
        None => format!("there is nothing at {shown}"),
    };
    StepError::new("secret-missing", what).hint("write it there, or name another one; then make a new plan")
}

fn unavailable(reference: &SecretRef, why: &str) -> StepError {
    let why = format!("{}: the store {why}", reference.shown());
    StepError::new("secret-store-unavailable", why).hint("look at the store and at the network, and plan again").retryable()
}

fn own_fault(reference: &SecretRef, why: &str) -> StepError {
    let why = format!("{}: this runner cannot prove itself to the store: {why}", reference.shown());
    StepError::new("secret-store-refused", why).hint("have the operator of the runner look at its file of secrets")
}
