//! The stream of the messages: what is at its end, and what comes next.
//!
//! Each message says after which one it wants to be stored. A stream that lacks one takes none of those after it, so what it has
//! is the log without a gap, in order; and one that was sent late, by a replica that has lost its turn, comes too late.

use std::{fmt, time::Duration};

use async_nats::{
    Client, ConnectOptions,
    connection::State,
    jetstream::{
        Context,
        context::{ContextBuilder, PublishAckFuture, PublishErrorKind},
        message::PublishMessage,
        stream::{Config, RawMessageErrorKind, StorageType},
    },
};
use freehold_domain::{events::Logged, fault, time::Uid};

use super::{
    Settings,
    envelope::{CONTENT_TYPE, Envelope},
};

/// How long NATS may take for an answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// How long a new stream keeps a message: as long as the log keeps an event.
const KEPT: Duration = Duration::from_secs(7 * 86_400);
/// How long a new stream remembers ids, and drops what comes with one of them.
const DUPLICATES: Duration = Duration::from_secs(120);
/// What headers take of a message at most.
const HEADERS: usize = 1024;
/// The header that a message is known by.
const MESSAGE_ID: &str = "Nats-Msg-Id";

/// Why NATS does not take events, for the log.
#[derive(Debug)]
pub(super) struct Away(String);

impl Away {
    pub(super) fn new(what: &str, error: impl fmt::Display) -> Self {
        Self(format!("{what}: {error}"))
    }
}

impl fmt::Display for Away {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What became of messages.
pub(super) struct Taken {
    /// So many of them, from the first, are in the stream.
    pub(super) count: usize,
    /// Why the next one is not.
    pub(super) refused: Option<Refusal>,
}

/// Why a message is not in the stream.
pub(super) enum Refusal {
    /// It does not follow what is there.
    Order,
    /// NATS cannot.
    Away(Away),
}

/// A connection, and the stream behind it.
pub(super) struct Stream<'a> {
    settings: &'a Settings,
    trust_domain: &'a str,
    client: Client,
    context: Context,
    /// Number of the last message.
    end: u64,
    /// What was sent last was there before.
    repeats: bool,
}

impl<'a> Stream<'a> {
    /// Connects. Files are read anew each time, so that renewed certificates are used.
    pub(super) async fn connect(settings: &'a Settings, trust_domain: &'a str) -> Result<Self, Away> {
        let mut options = ConnectOptions::new()
            .name("freehold")
            .require_tls(true)
            .connection_timeout(PATIENCE)
            .request_timeout(Some(PATIENCE))
            .ping_interval(Duration::from_secs(10))
            // A connection that has ended is made anew from outside, where it is found out first what the stream has.
            .max_reconnects(settings.servers.len());
        if let Some(ca) = &settings.ca {
            options = options.add_root_certificates(ca.clone());
        }
        if let Some((certificate, key)) = &settings.certificate {
            options = options.add_client_certificate(certificate.clone(), key.clone());
        }
        if let Some(file) = &settings.credentials {
            options = options.credentials_file(file).await.map_err(|error| Away::new("the credentials cannot be used", error))?;
        }
        let servers: Vec<_> = settings.servers.iter().map(|server| server.0.clone()).collect();
        let connected = options.connect(servers).await;
        let client = connected.map_err(|error| Away::new("it cannot be connected to", error))?;
        let context = ContextBuilder::new().timeout(PATIENCE).build(client.clone());
        Ok(Self { settings, trust_domain, client, context, end: 0, repeats: false })
    }

    /// Whether the connection is there.
    pub(super) fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// Looks at the stream, which is made if there is none; answers which event is at its end.
    pub(super) async fn end(&mut self) -> Result<Option<Uid>, Away> {
        let settings = self.settings;
        let wanted = Config {
            name: settings.stream.clone(),
            description: Some("What happens in Freehold".to_owned()),
            subjects: vec![format!("{}.>", settings.prefix)],
            storage: StorageType::File,
            max_age: KEPT,
            max_bytes: settings.max_bytes,
            duplicate_window: DUPLICATES,
            ..Default::default()
        };
        let unusable = |error: &dyn fmt::Display| Away::new(&format!("the stream `{}` cannot be used", settings.stream), error);
        let stream = self.context.get_or_create_stream(wanted).await.map_err(|error| unusable(&error))?;
        self.end = stream.cached_info().state.last_sequence;
        self.repeats = false;
        match stream.get_last_raw_message_by_subject(&format!("{}.>", settings.prefix)).await {
            Ok(last) => Ok(last.headers.get(MESSAGE_ID).and_then(|id| id.as_str().parse().ok())),
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(unusable(&error)),
        }
    }

    /// Publishes events that follow each other, and waits until they are stored.
    pub(super) async fn publish(&mut self, events: &[Logged]) -> Taken {
        let mut waiting = Vec::with_capacity(events.len());
        let mut refused = None;
        for (before, logged) in (0_u64..).zip(events) {
            // What is there already does not make the stream longer.
            let after = if self.repeats { self.end } else { self.end + before };
            match self.send(logged, after).await {
                Ok(answer) => waiting.push(answer),
                Err(away) => {
                    refused = Some(Refusal::Away(away));
                    break;
                }
            }
        }
        let sent = waiting.len();
        if fault::mutant("ack") {
            return Taken { count: sent, refused };
        }
        fault::point("nats.sent");
        for (count, answer) in waiting.into_iter().enumerate() {
            match answer.await {
                Ok(stored) => {
                    self.repeats = stored.duplicate;
                    if !stored.duplicate {
                        self.end = stored.sequence;
                    }
                }
                Err(error) if error.kind() == PublishErrorKind::WrongLastSequence => {
                    return Taken { count, refused: Some(Refusal::Order) };
                }
                Err(error) => return Taken { count, refused: Some(Refusal::Away(Away::new("an event is not stored", error))) },
            }
        }
        Taken { count: sent, refused }
    }

    async fn send(&self, logged: &Logged, after: u64) -> Result<PublishAckFuture, Away> {
        let most = self.client.server_info().max_payload.saturating_sub(HEADERS);
        let Envelope { subject, body } = Envelope::new(&self.settings.prefix, self.trust_domain, logged, most);
        let mut message = PublishMessage::build().payload(body.into()).message_id(logged.uid.to_string());
        message = message.header("content-type", CONTENT_TYPE).expected_stream(&self.settings.stream);
        if !fault::mutant("ack") {
            message = message.expected_last_sequence(after);
        }
        self.context.send_publish(subject, message).await.map_err(|error| Away::new("an event cannot be sent", error))
    }
}
