//! Which stream of which servers, and how this replica proves who it is.

use std::{path::PathBuf, str::FromStr};

use async_nats::ServerAddr;

/// Where events are published.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Servers of one cluster.
    pub servers: Vec<Server>,
    /// Authorities of their certificates, in PEM; those of the system without it.
    pub ca: Option<PathBuf>,
    /// Certificate and key to prove oneself with, in PEM.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// A user's token and seed, as `nsc` writes them.
    pub credentials: Option<PathBuf>,
    /// Name of the stream.
    pub stream: String,
    /// What subjects begin with.
    pub prefix: String,
    /// Bytes of a stream that is made.
    pub max_bytes: i64,
}

/// Address of a server that is spoken to by TLS.
#[derive(Clone, Debug)]
pub struct Server(pub(super) ServerAddr);

impl FromStr for Server {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let server: ServerAddr = text.parse().map_err(|_| "not of the form tls://host:4222".to_owned())?;
        if server.has_user_pass() {
            return Err(
                "a password does not belong in an address that others can see; use a certificate or credentials".to_owned()
            );
        }
        if server.scheme() == "tls" && !server.host().is_empty() {
            Ok(Self(server))
        } else {
            Err("only TLS is spoken: tls://host:4222".to_owned())
        }
    }
}

/// Reads what subjects begin with: words separated by dots.
///
/// # Errors
/// What is wrong with it.
pub fn prefix(text: &str) -> Result<String, String> {
    if text.split('.').all(is_word) {
        Ok(text.to_owned())
    } else {
        Err("words of letters, digits, - and _, with dots between".to_owned())
    }
}

/// Reads the name of a stream.
///
/// # Errors
/// What is wrong with it.
pub fn stream_name(text: &str) -> Result<String, String> {
    if is_word(text) { Ok(text.to_owned()) } else { Err("letters, digits, - and _".to_owned()) }
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_spoken_to_by_tls_and_addresses_hold_no_password() {
        assert!(Server::from_str("tls://nats.example.org:4222").is_ok());
        for wrong in [
            "nats.example.org:4222",
            "nats://nats.example.org",
            "ws://nats.example.org",
            "tls://ada:secret@nats.example.org",
            "tls://",
        ] {
            assert!(Server::from_str(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn subjects_begin_with_plain_words() {
        assert_eq!(prefix("platform.freehold").as_deref(), Ok("platform.freehold"));
        for wrong in ["", ".", "a..b", "a.", "a.*", "a b", ">"] {
            assert!(prefix(wrong).is_err() && stream_name(wrong).is_err(), "{wrong}");
        }
        assert!(stream_name("a.b").is_err());
    }
}
