//! A mail as bytes.

use std::time::{Duration, SystemTime};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use freehold_domain::Violation;
use lettre::{
    Message,
    address::Envelope,
    message::{
        Attachment, Mailbox, MultiPart, SinglePart,
        header::{ContentType, HeaderName, HeaderValue},
    },
};
use serde::Deserialize;

use super::Settings;
use crate::{ConnectorError, Context, ErrorKind, signature};

/// Most bytes of all attachments.
const MOST: usize = 20 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mail {
    to: Vec<String>,
    #[serde(default)]
    cc: Vec<String>,
    #[serde(default)]
    bcc: Vec<String>,
    subject: String,
    text: String,
    html: Option<String>,
    #[serde(default)]
    attachments: Vec<File>,
    in_reply_to: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    content_type: String,
    base64: String,
}

/// A mail that can be sent, as often as it takes.
pub(super) struct Written {
    pub id: String,
    /// Whether its id is that of what it tells, so that receivers know a repeat.
    pub keyed: bool,
    pub envelope: Envelope,
    pub bytes: Vec<u8>,
}

/// Writes a mail. Its id follows from the key of the call, and its boundaries do not matter to whoever compares ids.
pub(super) fn write(cx: &Context, settings: &Settings, mail: &Mail) -> Result<Written, ConnectorError> {
    let mut wrong = Vec::new();
    let mut people = |field: &str, all: &[String]| -> Vec<Mailbox> {
        let read = |(index, text): (usize, &String)| match text.parse() {
            Ok(mailbox) => Some(mailbox),
            Err(_) => {
                wrong.push(Violation::new(format!("{field}[{index}]"), "is no address of mail; write `Name <address>`"));
                None
            }
        };
        all.iter().enumerate().filter_map(read).collect()
    };
    let (to, cc, bcc) = (people("to", &mail.to), people("cc", &mail.cc), people("bcc", &mail.bcc));
    let files = files(mail, &mut wrong);
    if !wrong.is_empty() {
        return Err(ConnectorError::invalid(wrong));
    }
    let from: Mailbox = settings.from.parse().map_err(|_| ConnectorError::unconfigured("`from` is no address of mail"))?;
    let unique = match &cx.key {
        Some(key) => signature::digest(key.as_bytes()),
        None => cx.outbound.environment.random.uid().to_string(),
    };
    let id = format!("<{unique}@{}>", from.email.domain());
    let since = Duration::from_micros(u64::try_from(cx.now().as_micros()).unwrap_or_default());
    let mut builder = Message::builder()
        .from(from)
        .subject(mail.subject.clone())
        .date(SystemTime::UNIX_EPOCH + since)
        .message_id(Some(id.clone()))
        // So that nobody's absence answers.
        .raw_header(HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned()));
    for (people, add) in [
        (to, lettre::message::MessageBuilder::to as fn(_, _) -> _),
        (cc, lettre::message::MessageBuilder::cc),
        (bcc, lettre::message::MessageBuilder::bcc),
    ] {
        builder = people.into_iter().fold(builder, add);
    }
    if let Some(reply_to) = settings.reply_to.as_ref().and_then(|text| text.parse().ok()) {
        builder = builder.reply_to(reply_to);
    }
    if let Some(earlier) = &mail.in_reply_to {
        builder = builder.in_reply_to(earlier.clone()).references(earlier.clone());
    }
    let message = match (&mail.html, files.is_empty()) {
        (None, true) => builder.singlepart(SinglePart::plain(mail.text.clone())),
        (Some(html), true) => builder.multipart(MultiPart::alternative_plain_html(mail.text.clone(), html.clone())),
        (html, false) => {
            let mixed = MultiPart::mixed();
            let first = match html {
                Some(html) => mixed.multipart(MultiPart::alternative_plain_html(mail.text.clone(), html.clone())),
                None => mixed.singlepart(SinglePart::plain(mail.text.clone())),
            };
            builder.multipart(files.into_iter().fold(first, MultiPart::singlepart))
        }
    };
    let message =
        message.map_err(|error| ConnectorError::new(ErrorKind::Invalid, format!("the mail cannot be written: {error}")))?;
    Ok(Written { id, keyed: cx.key.is_some(), envelope: message.envelope().clone(), bytes: message.formatted() })
}

fn files(mail: &Mail, wrong: &mut Vec<Violation>) -> Vec<SinglePart> {
    let (mut files, mut total) = (Vec::new(), 0);
    for (index, file) in mail.attachments.iter().enumerate() {
        let mut complain = |field: &str, what: &str| wrong.push(Violation::new(format!("attachments[{index}].{field}"), what));
        let Ok(bytes) = STANDARD.decode(&file.base64) else {
            complain("base64", "is not base64 with padding");
            continue;
        };
        total += bytes.len();
        if total > MOST {
            complain("base64", "is too much: all attachments together have 20 MiB at most");
        }
        match ContentType::parse(&file.content_type) {
            Ok(kind) => files.push(Attachment::new(file.name.clone()).body(bytes, kind)),
            Err(_) => complain("content_type", "is no type of content, for example `application/pdf`"),
        }
    }
    files
}
