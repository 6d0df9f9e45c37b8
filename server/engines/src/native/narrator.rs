//! The sink with a filter before it: no line and no error leaves with a secret in it.

use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use crate::{Level, Redactor, Sink, StepError, native::Attributes};

/// Tells what happens, without secrets.
pub(super) struct Narrator<'a> {
    sink: &'a dyn Sink,
    redactor: Mutex<Redactor>,
}

impl<'a> Narrator<'a> {
    pub fn new(sink: &'a dyn Sink) -> Self {
        Self { sink, redactor: Mutex::default() }
    }

    /// Learns a secret.
    pub fn learn(&self, secret: &Value) {
        self.redactor.lock().unwrap_or_else(PoisonError::into_inner).learn(secret);
    }

    /// Learns those of the attributes that are secret.
    pub fn learn_attributes<'n>(&self, attributes: &Attributes, sensitive: impl IntoIterator<Item = &'n str>) {
        sensitive.into_iter().filter_map(|name| attributes.get(name)).for_each(|secret| self.learn(secret));
    }

    pub fn log(&self, level: Level, address: &str, text: &str) {
        self.sink.log(level, address, &self.redact(text));
    }

    pub fn redact(&self, text: &str) -> String {
        self.redactor.lock().unwrap_or_else(PoisonError::into_inner).redact(text)
    }

    /// The error as it may leave.
    pub fn clean(&self, error: StepError) -> StepError {
        StepError { message: self.redact(&error.message), hint: self.redact(&error.hint), ..error }
    }
}

#[cfg(test)]
mod tests {
    use futures::future::{BoxFuture, FutureExt, ready};

    use super::*;
    use crate::{JournalEntry, SinkError, Snapshot};

    #[derive(Default)]
    struct Lines(Mutex<Vec<String>>);

    impl Sink for Lines {
        fn record<'a>(&'a self, _: &'a [JournalEntry], _: Option<&'a Snapshot>) -> BoxFuture<'a, Result<(), SinkError>> {
            ready(Ok(())).boxed()
        }

        fn log(&self, _: Level, _: &str, text: &str) {
            self.0.lock().expect("not poisoned").push(text.to_owned());
        }

        fn cancelled(&self) -> bool {
            false
        }
    }

    #[test]
    fn what_is_secret_by_its_attribute_leaves_in_no_line() {
        let lines = Lines::default();
        let narrator = Narrator::new(&lines);
        let attributes = Attributes::from([("password".to_owned(), "open sesame".into()), ("name".to_owned(), "cave".into())]);
        narrator.learn_attributes(&attributes, ["password"]);

        narrator.log(Level::Info, "x", "cave says open sesame");

        assert_eq!(*lines.0.lock().expect("not poisoned"), ["cave says (hidden)"]);
    }
}
