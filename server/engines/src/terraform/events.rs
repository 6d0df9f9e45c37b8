//! What Terraform says while it works: one JSON object a line, as `-json` prints them.
//!
//! The form is described at <https://developer.hashicorp.com/terraform/internals/machine-readable-ui>; OpenTofu has the same.

use serde::Deserialize;

use crate::{Level, StepError};

/// One line of output.
#[derive(Debug, Deserialize)]
pub(super) struct Event {
    #[serde(rename = "@level", default)]
    level: String,
    #[serde(rename = "@message", default)]
    message: String,
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    hook: Option<Hook>,
    #[serde(default)]
    diagnostic: Option<Diagnostic>,
}

#[derive(Debug, Deserialize)]
struct Hook {
    #[serde(default)]
    resource: Option<HookResource>,
    #[serde(default)]
    action: String,
    #[serde(default)]
    id_value: String,
}

#[derive(Debug, Deserialize)]
struct HookResource {
    #[serde(default)]
    addr: String,
}

/// A warning or an error.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Diagnostic {
    #[serde(default)]
    pub severity: String,
    #[serde(default)]
    pub summary: String,
    #[serde(default)]
    pub detail: String,
    #[serde(default)]
    pub address: Option<String>,
    #[serde(default)]
    range: Option<DiagnosticRange>,
}

#[derive(Clone, Debug, Deserialize)]
struct DiagnosticRange {
    #[serde(default)]
    filename: String,
    #[serde(default)]
    start: Start,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Start {
    #[serde(default)]
    line: u64,
}

/// How far a resource is, by an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moved {
    /// Its change has begun.
    Started,
    /// Its change is made.
    Done,
    /// Its change failed.
    Failed,
}

impl Event {
    /// Reads a line. One that is no JSON is a message in itself: provisioners and crashes print such.
    pub fn read(line: &str) -> Self {
        serde_json::from_str(line).unwrap_or_else(|_| Self {
            level: "info".to_owned(),
            message: line.to_owned(),
            kind: String::new(),
            hook: None,
            diagnostic: None,
        })
    }

    /// The resource that it is about; empty for the run as a whole.
    pub fn address(&self) -> &str {
        let hook = self.hook.as_ref().and_then(|hook| hook.resource.as_ref()).map(|resource| resource.addr.as_str());
        hook.or(self.diagnostic.as_ref().and_then(|diagnostic| diagnostic.address.as_deref())).unwrap_or_default()
    }

    /// What it says, without the name of its resource.
    pub fn text(&self) -> String {
        match &self.diagnostic {
            Some(diagnostic) => diagnostic.text(),
            None => {
                let own = self.message.strip_prefix(self.address()).and_then(|rest| rest.strip_prefix(": "));
                own.unwrap_or(&self.message).to_owned()
            }
        }
    }

    /// What it says of the change of that resource.
    pub fn moved(&self) -> Option<Moved> {
        match self.kind.as_str() {
            "apply_start" => Some(Moved::Started),
            "apply_complete" => Some(Moved::Done),
            "apply_errored" => Some(Moved::Failed),
            _ => None,
        }
    }

    /// What its provider calls a resource that was made; empty when the provider says nothing, or nothing was made.
    pub fn made(&self) -> &str {
        let hook = self.hook.as_ref().filter(|hook| hook.action == "create" && self.kind == "apply_complete");
        hook.map(|hook| hook.id_value.as_str()).unwrap_or_default()
    }

    /// What went wrong, or may.
    pub fn diagnostic(&self) -> Option<&Diagnostic> {
        self.diagnostic.as_ref()
    }

    /// How important it is; nothing for what only says again what the plan says.
    pub fn level(&self) -> Option<Level> {
        match (self.kind.as_str(), self.level.as_str()) {
            ("planned_change" | "outputs" | "version" | "refresh_start" | "apply_progress", _) => None,
            (_, "error") => Some(Level::Error),
            (_, "warn") => Some(Level::Warn),
            (_, "debug" | "trace") => Some(Level::Debug),
            _ => Some(Level::Info),
        }
    }
}

impl Diagnostic {
    /// It keeps the program from its end.
    pub fn is_error(&self) -> bool {
        self.severity == "error"
    }

    /// In one text, with its place.
    pub fn text(&self) -> String {
        let place = match &self.range {
            Some(range) => format!("{}:{}: ", range.filename, range.start.line),
            None => String::new(),
        };
        let detail = self.detail.trim();
        if detail.is_empty() { format!("{place}{}", self.summary) } else { format!("{place}{}: {detail}", self.summary) }
    }

    /// As a failure of this kind.
    pub fn error(&self, code: &str) -> StepError {
        let error = StepError::new(code, self.text()).at(self.address.as_deref().unwrap_or_default());
        if passes(&self.text()) { error.hint("run it again; this may pass by itself").retryable() } else { error }
    }
}

/// Whether a failure is of the kind that passes by itself: a service that is away, slow or overloaded.
fn passes(text: &str) -> bool {
    const SIGNS: [&str; 12] = [
        "timeout",
        "timed out",
        "connection refused",
        "connection reset",
        "no such host",
        "tls handshake",
        "too many requests",
        "rate exceeded",
        "throttl",
        "service unavailable",
        "statuscode: 429",
        "statuscode: 503",
    ];
    let text = text.to_lowercase();
    SIGNS.iter().any(|sign| text.contains(sign))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_for_what_they_say() {
        let started = r#"{"@level":"info","@message":"a: Creating...","type":"apply_start","hook":{"resource":{"addr":"terraform_data.a"},"action":"create"}}"#;
        let event = Event::read(started);
        assert_eq!(
            (event.address(), event.moved(), event.level()),
            ("terraform_data.a", Some(Moved::Started), Some(Level::Info))
        );

        let failed = r#"{"@level":"error","@message":"Error: boom","type":"diagnostic","diagnostic":{"severity":"error","summary":"boom","detail":"dial tcp: connection refused","address":"aws_vpc.a","range":{"filename":"main.tf","start":{"line":3,"column":1,"byte":9}}}}"#;
        let event = Event::read(failed);
        let error = event.diagnostic().expect("it is one").error("apply-failed");
        assert_eq!((error.address.as_str(), error.retryable), ("aws_vpc.a", true));
        assert_eq!(error.message, "main.tf:3: boom: dial tcp: connection refused");

        let noise = Event::read("panic: runtime error");
        assert_eq!((noise.text().as_str(), noise.moved(), noise.level()), ("panic: runtime error", None, Some(Level::Info)));
        assert_eq!(Event::read(r#"{"type":"planned_change","@level":"info"}"#).level(), None);
    }
}
