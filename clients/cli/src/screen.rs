//! Where results, progress and errors go: results to standard output, all else to standard error.

use std::io::{self, BufRead as _, IsTerminal as _, Write};

use anstyle::{AnsiColor, Style};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::oneshot;

use crate::{
    Output,
    failure::Failure,
    show::{Show, json, short},
    table::{clean, table},
    yaml::yaml,
};

/// The terminal, or what stands in its place.
pub(crate) struct Screen {
    output: Output,
    quiet: bool,
    out: Box<dyn Write>,
    err: Box<dyn Write>,
}

impl Screen {
    /// The standard streams, with colours where they are terminals that want them.
    pub(crate) fn standard(output: Output, quiet: bool) -> Self {
        Self { output, quiet, out: Box::new(anstream::stdout()), err: Box::new(anstream::stderr()) }
    }

    /// Results are for people.
    pub(crate) fn is_for_people(&self) -> bool {
        self.output == Output::Table
    }

    /// Shows one resource: all its fields.
    pub(crate) fn item(&mut self, item: &impl Serialize) -> Result<(), Failure> {
        let value = value(item)?;
        match self.output {
            Output::Table => self.print(&fields(&value)),
            _ => self.value(&value),
        }
    }

    /// Shows one resource, a list in it as a table.
    pub(crate) fn item_with<T: Show>(&mut self, item: &impl Serialize, name: &str, list: &[T]) -> Result<(), Failure> {
        let mut value = value(item)?;
        match (self.output, value.as_object_mut()) {
            (Output::Table, Some(all)) => {
                all.remove(name);
                let rows = list.iter().map(Show::row).collect::<Vec<_>>();
                self.print(&format!("{}\n{}", fields(&value), table(T::HEAD, &rows)))
            }
            _ => self.value(&value),
        }
    }

    /// Shows resources as a table.
    pub(crate) fn list<T: Show>(&mut self, items: &[T]) -> Result<(), Failure> {
        match self.output {
            Output::Table if items.is_empty() => {
                self.note("There is none.");
                Ok(())
            }
            Output::Table => self.print(&table(T::HEAD, &items.iter().map(Show::row).collect::<Vec<_>>())),
            _ => self.value(&value(&items)?),
        }
    }

    /// Shows one part of a stream: a line for people, or an object for programs.
    pub(crate) fn event(&mut self, event: &impl Serialize, line: impl FnOnce() -> String) -> Result<(), Failure> {
        match self.output {
            Output::Table => self.print(&(line() + "\n")),
            Output::Json => self.print(&(value(event)?.to_string() + "\n")),
            Output::Yaml => self.print(&format!("---\n{}", yaml(&value(event)?))),
        }
    }

    /// Writes a text as it is, for whoever keeps it in a file.
    pub(crate) fn verbatim(&mut self, text: &str) -> Result<(), Failure> {
        self.print(text)
    }

    /// Shows a text for people in place of a resource for programs.
    pub(crate) fn text(&mut self, item: &impl Serialize, text: impl FnOnce() -> String) -> Result<(), Failure> {
        match self.output {
            Output::Table => self.print(&text()),
            _ => self.value(&value(item)?),
        }
    }

    /// Shows a text that is not the result itself: where results go for people, where notes go for programs. It is seen for
    /// sure when somebody is to decide on it.
    pub(crate) fn aside(&mut self, text: &str, decides: bool) -> Result<(), Failure> {
        match self.output {
            Output::Table => self.print(text)?,
            _ if decides => self.say(text),
            _ => self.note(text),
        }
        Ok(())
    }

    fn value(&mut self, value: &Value) -> Result<(), Failure> {
        match self.output {
            Output::Yaml => self.print(&yaml(value)),
            _ => self.print(&format!("{value:#}\n")),
        }
    }

    fn print(&mut self, text: &str) -> Result<(), Failure> {
        self.out.write_all(text.as_bytes())?;
        Ok(self.out.flush()?)
    }

    /// Says what goes on, unless nobody wants to know.
    pub(crate) fn note(&mut self, text: &str) {
        if !self.quiet {
            self.say(text);
        }
    }

    /// Says something that must be seen. A terminal that has gone away is no reason to fail.
    pub(crate) fn say(&mut self, text: &str) {
        let _ = writeln!(self.err, "{text}");
    }

    /// Says that something was done, for commands without another result.
    pub(crate) fn done(&mut self, text: &str) -> Result<(), Failure> {
        if self.is_for_people() {
            self.note(text);
        }
        Ok(())
    }

    pub(crate) fn failure(&mut self, failure: &Failure) {
        // Nothing went wrong: somebody wanted it to end.
        if let Failure::Interrupted(what) = failure {
            return self.say(&format!("\n{what}"));
        }
        let red = AnsiColor::Red.on_default().bold();
        self.say(&format!("{}error:{} {failure}", red.render(), red.render_reset()));
    }

    /// Whether there is somebody to ask.
    pub(crate) fn can_ask(&self) -> bool {
        io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    /// Asks; only `yes` is yes.
    pub(crate) async fn ask(&mut self, question: &str) -> Result<bool, Failure> {
        let bold = Style::new().bold();
        write!(self.err, "\n{}{question}{} Only `yes` is accepted: ", bold.render(), bold.render_reset())?;
        self.err.flush()?;
        // Nobody waits for a thread of its own when the program ends, as it does when somebody answers with Ctrl-C.
        let (answered, answer) = oneshot::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            answered.send(io::stdin().lock().read_line(&mut line).map(|_| line))
        });
        let answer = answer.await.map_err(io::Error::other)??;
        Ok(answer.trim() == "yes")
    }

    /// Asks before something that cannot be undone, unless `--yes` has answered already.
    pub(crate) async fn confirm(&mut self, yes: bool, question: &str) -> Result<(), Failure> {
        match () {
            () if yes => Ok(()),
            () if !self.can_ask() => Err(Failure::usage("there is no terminal to ask on; add --yes if you mean it")),
            () if self.ask(question).await? => Ok(()),
            () => Err(Failure::Found("nothing was done".to_owned())),
        }
    }
}

fn value(item: &impl Serialize) -> Result<Value, Failure> {
    serde_json::to_value(item).map_err(|error| Failure::Output(error.into()))
}

/// All fields that are set, one a line, with what is nested indented below.
fn fields(value: &Value) -> String {
    let Value::Object(all) = value else { return json(&Some(value.clone())) + "\n" };
    let set: Vec<_> = all.iter().filter(|(_, value)| !is_empty(value)).collect();
    let width = set.iter().map(|(key, _)| key.len() + 1).max().unwrap_or(0);
    let mut out = String::new();
    for (key, value) in set {
        let title = format!("{}:", key.replace('_', " "));
        match value {
            Value::Object(_) | Value::Array(_) => {
                out.push_str(&format!("{title}\n"));
                out.extend(yaml(value).lines().map(|line| format!("  {line}\n")));
            }
            // The name as it can be typed, too: the full one is seldom what a person wants to copy.
            Value::String(name) if key == "name" && short(name) != *name => {
                out.push_str(&format!("{title:width$} {} ({})\n", clean(&short(name)), clean(name)));
            }
            value => out.push_str(&format!("{title:width$} {}\n", clean(&json(&Some(value.clone()))))),
        }
    }
    out
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// A screen for tests, whose two streams can be read without colours.
#[cfg(test)]
pub(crate) mod fake {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// What was written to one stream.
    #[derive(Clone, Default)]
    pub(crate) struct Written(Arc<Mutex<Vec<u8>>>);

    impl Written {
        pub(crate) fn text(&self) -> String {
            let bytes = self.0.lock().expect("a lock");
            anstream::adapter::strip_str(std::str::from_utf8(&bytes).expect("text")).to_string()
        }
    }

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("a lock").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    pub(crate) fn screen(output: Output, quiet: bool) -> (Screen, Written, Written) {
        let (out, err) = (Written::default(), Written::default());
        (Screen { output, quiet, out: Box::new(out.clone()), err: Box::new(err.clone()) }, out, err)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_resource_shows_what_is_set() {
        let value = json!({
            "name": "tenants/acme/projects/shop",
            "display_name": "Web shop",
            "labels": {"team": "a b"},
            "description": "",
            "update_time": null,
            "used": 0,
        });
        assert_eq!(
            fields(&value),
            "\
name:         shop (tenants/acme/projects/shop)
display name: Web shop
labels:
  team: \"a b\"
used:         0
"
        );
    }
}
