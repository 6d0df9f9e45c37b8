//! One call: on which connection, with which settings and secrets, until when.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use freehold_domain::{redact::Redactor, time::Timestamp};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;

use crate::{
    ConnectorError, CredentialSource, Credentials, ErrorKind, Halt,
    error::scrub,
    outbound::{A_DAY, Answer, Dialect, Outbound, Request},
};

/// How long a call may take when nobody says.
const PATIENCE: Duration = Duration::from_secs(60);

/// One call of a connector.
pub struct Context {
    pub(crate) outbound: Arc<Outbound>,
    pub(crate) settings: Value,
    pub(crate) deadline: Instant,
    pub(crate) key: Option<String>,
    pub(crate) dry_run: bool,
    credentials: Arc<dyn CredentialSource>,
    redactor: Mutex<Redactor>,
}

impl Context {
    /// A call on a connection. It may take a minute.
    pub fn new(outbound: Arc<Outbound>, settings: Value, credentials: Arc<dyn CredentialSource>) -> Self {
        Self {
            outbound,
            settings,
            deadline: Instant::now() + PATIENCE,
            key: None,
            dry_run: false,
            credentials,
            redactor: Mutex::default(),
        }
    }

    /// Gives it so much time, a day at most, with all its requests and all its waits.
    #[must_use]
    pub fn within(mut self, time: Duration) -> Self {
        self.deadline = Instant::now() + time.min(A_DAY);
        self
    }

    /// Names it, so that a receiver that knows keys drops a repeat. Another call needs another key.
    #[must_use]
    pub fn keyed(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Sends nothing that changes something.
    #[must_use]
    pub fn dry_run(mut self) -> Self {
        self.dry_run = true;
        self
    }

    /// The time.
    pub(crate) fn now(&self) -> Timestamp {
        self.outbound.environment.clock.now()
    }

    /// The settings as their type.
    pub(crate) fn settings<T: DeserializeOwned>(&self) -> Result<T, ConnectorError> {
        read(self.settings.clone(), "the settings of the connection")
    }

    /// The secrets, which are known from then on to everything that hides secrets.
    pub(crate) async fn credentials(&self, fresh: bool) -> Result<Credentials, ConnectorError> {
        let credentials = self.credentials.get(fresh).await?;
        credentials.teach(&mut self.redactor());
        Ok(credentials)
    }

    /// Hides a secret that was not given, but made or received on the way.
    pub(crate) fn learn(&self, secret: &str) {
        self.redactor().learn_text(secret);
    }

    /// Sends a request that is made with the secrets, and once more with fresh ones if the vendor does not accept those.
    pub(crate) async fn send_with(
        &self,
        dialect: &dyn Dialect,
        build: impl Fn(&Credentials) -> Result<Request, ConnectorError> + Send + Sync,
    ) -> Result<Answer, Halt> {
        let request = build(&self.credentials(false).await?)?;
        match self.send(dialect, request).await {
            Err(halt) if halt.failure().is_some_and(|error| error.kind == ErrorKind::Auth) => {
                let request = build(&self.credentials(true).await?)?;
                self.send(dialect, request).await
            }
            other => other,
        }
    }

    /// Sends a request on the connection of this call.
    pub(crate) async fn send(&self, dialect: &dyn Dialect, request: Request) -> Result<Answer, Halt> {
        self.outbound.send(self, dialect, request).await
    }

    /// The end of a call: no secret leaves it in a text of an error, and a dry run is an answer.
    pub(crate) async fn finish(&self, result: Result<Value, Halt>) -> Result<Value, ConnectorError> {
        match result {
            Err(Halt::Dry(mut would)) => {
                self.know_all().await;
                scrub(&mut would, &self.redactor());
                Ok(would)
            }
            result => self.settle(result).await,
        }
    }

    /// The end of a call whose answer is no JSON, so that nothing can be said of a dry run.
    pub(crate) async fn settle<T>(&self, result: Result<T, Halt>) -> Result<T, ConnectorError> {
        match result {
            Ok(value) => Ok(value),
            Err(Halt::Failed(error)) => {
                self.know_all().await;
                Err(error.scrubbed(&self.redactor()))
            }
            Err(Halt::Dry(_)) => Err(ConnectorError::new(ErrorKind::Invalid, "this changes something, and has no dry run")),
        }
    }

    /// Knows also those secrets that the call did not need: a vendor may repeat any of them.
    async fn know_all(&self) {
        // Without them there is nothing that could have been sent.
        let _ = self.credentials(false).await;
    }

    fn redactor(&self) -> std::sync::MutexGuard<'_, Redactor> {
        self.redactor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A value as its type. Whatever a schema lets through and a type does not is told as wrong input.
pub(crate) fn read<T: DeserializeOwned>(value: Value, what: &str) -> Result<T, ConnectorError> {
    serde_json::from_value(value)
        .map_err(|error| ConnectorError::new(ErrorKind::Invalid, format!("{what} cannot be read: {error}")))
}
