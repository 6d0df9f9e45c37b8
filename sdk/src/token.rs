//! The token that goes with every call.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use freehold_proto::iam::v1::{ExchangeTokenRequest, ExchangeTokenResponse};
use http::HeaderValue;
use jiff::Timestamp;
use prost::Message as _;
use tokio::{sync::Mutex, time::Instant};

use crate::{Code, Error, channel::Wire, credentials::TokenSource, error::Result, wire::Lift};

/// A token is taken to last at least this long.
const SHORTEST_LIFE: Duration = Duration::from_secs(60);

/// Where the `authorization` header comes from.
pub(crate) enum Tokens {
    /// Always the same.
    Fixed(HeaderValue),
    /// From an API key.
    Exchanged(Exchanged),
}

/// Tokens exchanged for an API key: kept, renewed at four fifths of their life, by one call at a time.
pub(crate) struct Exchanged {
    key: String,
    kept: ArcSwapOption<Token>,
    exchange: Mutex<()>,
}

struct Token {
    header: HeaderValue,
    renew_at: Instant,
    ends_at: Instant,
}

impl Tokens {
    pub(crate) fn new(source: &TokenSource) -> Result<Self> {
        match source {
            TokenSource::Bearer(token) => Ok(Self::Fixed(bearer(token)?)),
            TokenSource::ApiKey(key) => {
                Ok(Self::Exchanged(Exchanged { key: key.clone(), kept: ArcSwapOption::empty(), exchange: Mutex::default() }))
            }
        }
    }

    /// The header for a call made now.
    pub(crate) async fn header(&self, wire: &Arc<Wire>) -> Result<HeaderValue> {
        match self {
            Self::Fixed(header) => Ok(header.clone()),
            Self::Exchanged(exchanged) => exchanged.header(wire).await,
        }
    }

    /// The server says that the token has expired. Returns whether there can be another one.
    pub(crate) fn refused(&self) -> bool {
        match self {
            Self::Fixed(_) => false,
            Self::Exchanged(exchanged) => {
                exchanged.kept.store(None);
                true
            }
        }
    }
}

impl Exchanged {
    async fn header(&self, wire: &Arc<Wire>) -> Result<HeaderValue> {
        let now = Instant::now();
        if let Some(token) = self.kept.load().as_ref() {
            if now < token.renew_at {
                return Ok(token.header.clone());
            }
            if now < token.ends_at {
                // One call renews it; the others go on with what is still good.
                if let Ok(_turn) = self.exchange.try_lock()
                    && let Err(error) = self.renew(wire).await
                {
                    tracing::warn!(%error, "the token could not be renewed yet");
                }
                return Ok(self.kept.load().as_ref().map_or_else(|| token.header.clone(), |kept| kept.header.clone()));
            }
        }
        let _turn = self.exchange.lock().await;
        match self.kept.load().as_ref().filter(|token| Instant::now() < token.renew_at) {
            Some(token) => Ok(token.header.clone()),
            None => self.renew(wire).await,
        }
    }

    async fn renew(&self, wire: &Arc<Wire>) -> Result<HeaderValue> {
        let request = ExchangeTokenRequest { api_key: self.key.clone(), ..Default::default() };
        let answer = Box::pin(wire.exchange(request.encode_to_vec().into())).await?;
        let answer = ExchangeTokenResponse::decode(answer)
            .map_err(|error| Error::new(Code::Internal, format!("the token cannot be read: {error}")))?;
        let header = bearer(&answer.token)?;
        let life = answer
            .expire_time
            .map(Lift::<Timestamp>::lift)
            .map_or(Duration::ZERO, |end| Duration::try_from(end.duration_since(Timestamp::now())).unwrap_or_default());
        // A clock that is ahead of the server's must not make every call an exchange; an end that comes sooner is noticed anyway.
        let life = life.max(SHORTEST_LIFE);
        let now = Instant::now();
        self.kept.store(Some(Arc::new(Token { header: header.clone(), renew_at: now + life.mul_f64(0.8), ends_at: now + life })));
        Ok(header)
    }
}

fn bearer(token: &str) -> Result<HeaderValue> {
    let mut header = HeaderValue::from_str(&format!("Bearer {token}"))
        .map_err(|_| Error::new(Code::InvalidArgument, "the token has characters that no token has; check FREEHOLD_TOKEN"))?;
    header.set_sensitive(true);
    Ok(header)
}
