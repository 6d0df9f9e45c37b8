//! One conversation with a relay, in steps, so that it is known how far it came.

use std::{net::IpAddr, sync::Arc, time::Duration};

use lettre::transport::smtp::{
    authentication::{Credentials as Login, Mechanism},
    client::{AsyncSmtpConnection, AsyncTokioStream},
    commands::{Data, Mail, Rcpt},
    extension::{ClientId, Extension, MailBodyParameter, MailParameter},
};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};

use super::{
    Settings, Tls,
    message::Written,
    reply::{Stage, failure},
    secret,
};
use crate::{
    ConnectorError, Context, ErrorKind,
    outbound::{Checked, Unresolved, refused},
};

/// Ways to log in, the best first.
const MECHANISMS: [Mechanism; 2] = [Mechanism::Plain, Mechanism::Login];

/// Has the conversation, within the limits of the connection. Without a mail it ends after the login.
pub(super) async fn talk(
    cx: &Context,
    settings: &Settings,
    login: Option<&(String, String)>,
    mail: Option<&Written>,
) -> Result<String, ConnectorError> {
    let limit = cx.deadline.min(Instant::now() + cx.outbound.limits.request);
    let late = |maybe| {
        ConnectorError::new(ErrorKind::Transient, format!("the relay {} did not answer in time", settings.host)).maybe_done(maybe)
    };
    let opened = timeout_at(limit, open(cx, settings, login)).await.map_err(|_| late(false))?;
    let mut relay = opened?;
    let Some(mail) = mail else {
        let name = relay.server_info().name().to_owned();
        // Whether it hears our goodbye does not matter.
        let _ = timeout_at(limit, relay.quit()).await;
        return Ok(name);
    };
    timeout_at(limit, envelope(&mut relay, mail)).await.map_err(|_| late(false))??;
    let said = timeout_at(limit, relay.message(&mail.bytes)).await.map_err(|_| late(true))?;
    let reply = said.map_err(|error| failure(Stage::Content, "", &error))?;
    if !reply.is_positive() {
        return Err(ConnectorError::new(ErrorKind::Permanent, "the relay asks for more after the end of the mail"));
    }
    let _ = timeout_at(limit, relay.quit()).await;
    Ok(format!("{} {}", reply.code(), reply.message().collect::<Vec<_>>().join(" ")))
}

/// Connects to an address that was checked, makes the connection secret, and says who we are.
async fn open(
    cx: &Context,
    settings: &Settings,
    login: Option<&(String, String)>,
) -> Result<AsyncSmtpConnection, ConnectorError> {
    let environment = &cx.outbound.environment;
    if settings.tls == Tls::None && !environment.policy.allows_private() {
        return Err(ConnectorError::unconfigured("mail in the open is only sent inside of a private network; set `tls`"));
    }
    let resolver = Checked { policy: Arc::clone(&environment.policy), lookup: Arc::clone(&environment.lookup) };
    let addresses = resolver.resolve(&settings.host).await.map_err(|error| match error {
        Unresolved::Refused(refusal) => refused(&refusal),
        other => ConnectorError::new(ErrorKind::Transient, other.to_string()),
    })?;
    let stream = connect(settings, cx.outbound.limits.connect, addresses).await?;
    let hello = settings.hello.clone().unwrap_or_else(|| "freehold.invalid".to_owned());
    let stream: Box<dyn AsyncTokioStream> = match settings.tls {
        Tls::None => Box::new(stream),
        Tls::Implicit => Box::new(secret::from_the_beginning(settings, stream).await?),
        Tls::Starttls => Box::new(secret::by_command(settings, &hello, stream).await?),
    };
    let relay = AsyncSmtpConnection::connect_with_transport(stream, &ClientId::Domain(hello)).await;
    let mut relay = relay.map_err(|error| failure(Stage::Hello, "", &error))?;
    if let Some((username, password)) = login {
        let login = Login::new(username.clone(), password.clone());
        relay.auth(&MECHANISMS, &login).await.map_err(|error| failure(Stage::Login, "the login", &error))?;
    }
    Ok(relay)
}

/// The first of these addresses that answers.
async fn connect(settings: &Settings, wait: Duration, addresses: Vec<IpAddr>) -> Result<TcpStream, ConnectorError> {
    let mut why = "it has no address".to_owned();
    for address in addresses {
        match timeout(wait, TcpStream::connect((address, settings.port()))).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => why = error.to_string(),
            Err(_) => "it does not answer".clone_into(&mut why),
        }
    }
    Err(ConnectorError::new(ErrorKind::Transient, format!("the relay {} cannot be reached: {why}", settings.host)))
}

/// Says who it is from and who it is for. One receiver that is refused keeps it from all: half a delivery could not be repeated.
async fn envelope(relay: &mut AsyncSmtpConnection, mail: &Written) -> Result<(), ConnectorError> {
    let mut options = Vec::new();
    let mut addresses = mail.envelope.to().iter().chain(mail.envelope.from());
    if addresses.any(|address| !AsRef::<str>::as_ref(address).is_ascii()) {
        if !relay.server_info().supports_feature(Extension::SmtpUtfEight) {
            return Err(ConnectorError::new(ErrorKind::Invalid, "the relay takes no addresses with letters beyond ASCII"));
        }
        options.push(MailParameter::SmtpUtfEight);
    }
    if !mail.bytes.is_ascii() {
        options.push(MailParameter::Body(MailBodyParameter::EightBitMime));
    }
    let from = Mail::new(mail.envelope.from().cloned(), options);
    relay.command(from).await.map_err(|error| failure(Stage::Sender, "the sender", &error))?;
    for receiver in mail.envelope.to() {
        let said = relay.command(Rcpt::new(receiver.clone(), Vec::new())).await;
        said.map_err(|error| failure(Stage::Receiver, receiver.as_ref(), &error))?;
    }
    relay.command(Data).await.map_err(|error| failure(Stage::Sender, "the mail", &error))?;
    Ok(())
}
