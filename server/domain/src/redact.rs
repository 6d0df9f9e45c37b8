//! Takes secrets out of texts that people read.

use std::collections::BTreeSet;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use serde_json::Value;

/// What a secret is replaced by.
const MASK: &str = "(hidden)";
/// Shorter texts are in every line; to hide them would hide the line, and say what they are.
const SHORTEST: usize = 3;
/// Shortest piece of base64 that is taken for a secret.
const SHORTEST_ENCODED: usize = 6;

/// Knows secrets, and replaces them in texts: as they are, in JSON, in URLs, and in base64 wherever they begin in it.
///
/// Secrets of one or two characters are not replaced.
#[derive(Default)]
pub struct Redactor {
    /// Longest first, so that a secret inside another one does not leave the rest of it.
    patterns: Vec<String>,
    known: BTreeSet<String>,
}

impl Redactor {
    /// Learns every text and number in a value.
    pub fn learn(&mut self, value: &Value) {
        match value {
            Value::String(text) => self.learn_text(text),
            Value::Number(number) => self.learn_text(&number.to_string()),
            Value::Array(items) => items.iter().for_each(|item| self.learn(item)),
            Value::Object(fields) => fields.values().for_each(|field| self.learn(field)),
            Value::Null | Value::Bool(_) => {}
        }
    }

    /// Learns a text, and each long line of it, because logs are written by the line.
    pub fn learn_text(&mut self, secret: &str) {
        if secret.len() < SHORTEST || !self.known.insert(secret.to_owned()) {
            return;
        }
        let mut forms = forms(secret);
        for line in secret.lines().map(str::trim).filter(|line| line.len() >= 8 && *line != secret) {
            forms.extend(self::forms(line));
        }
        self.patterns.extend(forms);
        self.patterns.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        self.patterns.dedup();
    }

    /// The text without secrets.
    pub fn redact(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for pattern in &self.patterns {
            if text.contains(pattern.as_str()) {
                text = text.replace(pattern.as_str(), MASK);
            }
        }
        text
    }
}

fn forms(secret: &str) -> Vec<String> {
    let mut forms = vec![secret.to_owned()];
    let json = Value::String(secret.to_owned()).to_string();
    forms.push(json[1..json.len() - 1].to_owned());
    forms.push(percent_encoded(secret, false));
    forms.push(percent_encoded(secret, true));
    // Inside a longer text base64 depends on where the secret begins; what all such texts share is found by shifting it.
    for shift in 0..3 {
        let mut bytes = vec![0; shift];
        bytes.extend_from_slice(secret.as_bytes());
        let first = [0, 2, 3][shift];
        let last = bytes.len() * 8 / 6;
        for encoded in [STANDARD_NO_PAD.encode(&bytes), URL_SAFE_NO_PAD.encode(&bytes)] {
            if let Some(piece) = encoded.get(first..last).filter(|piece| piece.len() >= SHORTEST_ENCODED) {
                forms.push(piece.to_owned());
            }
        }
    }
    forms
}

/// A text as URLs carry it (RFC 3986, section 2), with upper-case hex digits or lower-case ones.
pub fn percent_encoded(text: &str, lower: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte as char),
            _ if lower => out.push_str(&format!("%{byte:02x}")),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_secret_is_hidden_in_every_form_it_travels_in() {
        let secret = "p\"w/ö+d 42!";
        let mut redactor = Redactor::default();
        redactor.learn(&json!({ "nested": [secret, 1234567] }));

        let json = Value::String(secret.to_owned()).to_string();
        let mut texts =
            vec![secret.to_owned(), json, percent_encoded(secret, true), percent_encoded(secret, false), "1234567".into()];
        for prefix in ["", "u:", "us:", "user:"] {
            texts.push(STANDARD.encode(format!("{prefix}{secret}")));
            texts.push(STANDARD.encode(format!("{prefix}{secret}and more")));
            texts.push(URL_SAFE_NO_PAD.encode(format!("{prefix}{secret}")));
        }

        for text in texts {
            let line = format!("before {text} after");
            let redacted = redactor.redact(&line);
            assert!(redacted.contains(MASK), "{line} became {redacted}");
            assert!(!redacted.contains(&text), "{line} became {redacted}");
            assert!(redacted.starts_with("before ") && redacted.ends_with(" after"), "{line} became {redacted}");
        }
    }

    #[test]
    fn lines_of_a_long_secret_are_hidden_one_by_one() {
        let mut redactor = Redactor::default();
        redactor.learn_text("-----BEGIN KEY-----\nabcdefghijkl\n-----END KEY-----\n");

        assert_eq!(redactor.redact("line 2: abcdefghijkl"), format!("line 2: {MASK}"));
    }
}
