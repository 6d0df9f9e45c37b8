//! Access that a person grants at the vendor.

use std::{fmt, time::Duration};

use freehold_domain::time::Timestamp;
use futures::future::{BoxFuture, FutureExt as _, ready};
use serde_json::Value;

use crate::{ConnectorError, Context, Credentials, ErrorKind};

/// What a grant brings. Store the credentials beside those that the connection has.
#[derive(Clone, Debug, PartialEq)]
pub struct Grant {
    /// The slots to fill.
    pub credentials: Credentials,
    /// When to call [`OAuth::refresh`] at the latest.
    pub expires: Option<Timestamp>,
    /// Whom and what it is for; no secret is in it.
    pub facts: Value,
}

/// A grant by a code that a person types in elsewhere (RFC 8628).
#[derive(Clone, PartialEq, Eq)]
pub struct DeviceCode {
    /// What the person types.
    pub user_code: String,
    /// Where.
    pub verification_uri: String,
    /// What to poll with; a secret.
    pub device_code: String,
    /// How long to wait between two polls.
    pub interval: Duration,
    /// How long the code is good.
    pub expires_in: Duration,
}

/// Without what is a secret.
impl fmt::Debug for DeviceCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user_code, verification_uri, interval, expires_in, .. } = self;
        let mut shown = f.debug_struct("DeviceCode");
        shown.field("user_code", user_code).field("verification_uri", verification_uri);
        shown.field("interval", interval).field("expires_in", expires_in).finish_non_exhaustive()
    }
}

/// What polling for a grant found.
#[derive(Clone, Debug, PartialEq)]
pub enum Polled {
    /// The person has not decided; poll again after this.
    Pending(Duration),
    /// The person has granted it.
    Granted(Box<Grant>),
}

/// How access is granted by OAuth 2. The id of the client is a setting `client_id` of the connection, its secret the credential
/// `client_secret`.
pub trait OAuth: Send + Sync {
    /// Where to send the person. `state` comes back with the code; compare it.
    ///
    /// # Errors
    /// When the settings name no client.
    fn authorize_url(&self, settings: &Value, redirect: &str, state: &str) -> Result<String, ConnectorError>;

    /// Turns the code that the person came back with into credentials.
    fn exchange<'a>(&'a self, cx: &'a Context, code: &'a str, redirect: &'a str) -> BoxFuture<'a, Result<Grant, ConnectorError>>;

    /// Turns the credential `refresh_token` into new ones. The old ones are worth nothing afterwards.
    fn refresh<'a>(&'a self, cx: &'a Context) -> BoxFuture<'a, Result<Grant, ConnectorError>>;

    /// Begins a grant on a machine without a browser.
    fn device_code<'a>(&'a self, _cx: &'a Context) -> BoxFuture<'a, Result<DeviceCode, ConnectorError>> {
        ready(Err(no_device())).boxed()
    }

    /// Asks whether the person has granted it.
    fn poll<'a>(&'a self, _cx: &'a Context, _device_code: &'a str) -> BoxFuture<'a, Result<Polled, ConnectorError>> {
        ready(Err(no_device())).boxed()
    }
}

fn no_device() -> ConnectorError {
    ConnectorError::new(ErrorKind::Invalid, "this vendor grants nothing by codes for devices; use a browser")
}
