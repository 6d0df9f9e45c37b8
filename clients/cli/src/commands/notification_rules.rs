//! `freehold notification-rule`

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Subcommand;
use freehold::{Client, NotificationMessage, NotificationSendState};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Guard, Listing, duration, set};
use crate::{document, failure::Failure, input, screen::Screen};

/// What can be done with notification rules.
#[derive(Subcommand, Clone, Debug)]
pub enum NotificationRuleCommand {
    /// Creates a rule
    Create {
        /// Its name: failures
        name: String,
        /// YAML or JSON file with the rule, or - for standard input
        #[arg(long, short, value_name = "FILE")]
        file: PathBuf,
    },
    /// Shows one rule
    Get {
        /// Its name
        name: String,
    },
    /// Lists rules
    List(Listing),
    /// Writes what is in the file, or stops and begins telling
    Update {
        /// Its name
        name: String,
        /// YAML or JSON file with what changes, or - for standard input
        #[arg(long, short, value_name = "FILE", required_unless_present_any = ["enable", "disable"])]
        file: Option<PathBuf>,
        /// Tells again, of what happens from now on
        #[arg(long)]
        enable: bool,
        /// Tells nobody
        #[arg(long, conflicts_with = "enable")]
        disable: bool,
        #[command(flatten)]
        guard: Guard,
    },
    /// Deletes a rule; what is on its way is given up
    Delete {
        /// Its name
        name: String,
        /// Succeeds when there is none
        #[arg(long)]
        allow_missing: bool,
        #[command(flatten)]
        guard: Guard,
    },
    /// Says what a rule would have told of the newest events; sends nothing
    Preview {
        /// YAML or JSON file with the rule, or - for standard input
        #[arg(long, short, value_name = "FILE")]
        file: PathBuf,
    },
    /// Lists what a rule has told, newest first
    Notifications {
        /// Its name
        name: String,
        /// Only those whose first message is in this state: pending, sent, skipped, failed, cancelled
        #[arg(long, value_name = "STATE", value_parser = state)]
        state: Option<NotificationSendState>,
        #[command(flatten)]
        listing: Listing,
    },
    /// Shows one notification with its messages: failures/UID
    Notification {
        /// Its name
        name: String,
    },
    /// Says that you have seen it, so that nobody else is told: failures/UID
    Acknowledge {
        /// Its name
        name: String,
    },
    /// Has messages that failed or were skipped sent again: failures/UID
    Retry {
        /// Its name
        name: String,
    },
}

/// A rule as people write it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Rule {
    display_name: Option<String>,
    labels: Option<BTreeMap<String, String>>,
    below: Option<String>,
    kinds: Option<Vec<String>>,
    filter: Option<String>,
    group_by: Option<String>,
    wait: Option<String>,
    dedup_window: Option<String>,
    digest_cron: Option<String>,
    quiet_hours: Option<Vec<Quiet>>,
    time_zone: Option<String>,
    state_change: Option<Change>,
    message: Option<Message>,
    escalations: Option<Vec<Step>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Quiet {
    start_cron: String,
    duration: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    raised: String,
    recovered: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Message {
    connection: String,
    operation: String,
    #[serde(default)]
    input: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    after: String,
    message: Message,
}

impl Rule {
    fn read(file: &Path) -> Result<Self, Failure> {
        let wrong = |why: String| Failure::usage(format!("{}: {why}", file.display()));
        let value = document::read(&input::text(file)?).map_err(|why| wrong(format!("neither YAML nor JSON: {why}")))?;
        serde_json::from_value(value).map_err(|error| wrong(format!("not a notification rule: {error}")))
    }

    /// Its message, which a new rule needs.
    fn message(&mut self) -> Result<NotificationMessage, Failure> {
        let message = self.message.take().map(NotificationMessage::from);
        message.ok_or_else(|| Failure::usage("the rule has no `message`: give a connection, its operation, and its input"))
    }
}

impl From<Message> for NotificationMessage {
    fn from(message: Message) -> Self {
        let made = Self::new(message.connection, message.operation);
        message.input.into_iter().fold(made, |made, (name, value)| made.input(name, value))
    }
}

fn time(part: &str, text: &str) -> Result<Duration, Failure> {
    duration(text).map_err(|why| Failure::usage(format!("{part}: {why}")))
}

/// Sets what is in the rule on a request.
macro_rules! apply {
    ($request:ident, $rule:ident) => {
        set!($request.below($rule.below));
        set!($request.kinds($rule.kinds));
        set!($request.filter($rule.filter));
        set!($request.group_by($rule.group_by));
        set!($request.digest_cron($rule.digest_cron));
        set!($request.time_zone($rule.time_zone));
        if let Some(text) = &$rule.wait {
            $request = $request.wait(time("wait", text)?);
        }
        if let Some(text) = &$rule.dedup_window {
            $request = $request.dedup_window(time("dedup_window", text)?);
        }
        if let Some(hours) = $rule.quiet_hours {
            let hours = hours.into_iter().map(|quiet| Ok((quiet.start_cron, time("quiet_hours: duration", &quiet.duration)?)));
            $request = $request.quiet_hours(hours.collect::<Result<Vec<_>, Failure>>()?);
        }
        if let Some(change) = $rule.state_change {
            $request = $request.state_change(change.raised, change.recovered);
        }
        if let Some(steps) = $rule.escalations {
            let steps = steps.into_iter().map(|step| Ok((time("escalations: after", &step.after)?, step.message.into())));
            $request = $request.escalations(steps.collect::<Result<Vec<_>, Failure>>()?);
        }
    };
}

impl NotificationRuleCommand {
    pub(crate) async fn run(self, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
        let rules = client.notification_rules();
        match self {
            Self::Create { name, file } => {
                let mut rule = Rule::read(&file)?;
                let mut request = rules.create(name, rule.message()?);
                set!(request.display_name(rule.display_name));
                for (key, value) in rule.labels.unwrap_or_default() {
                    request = request.label(key, value);
                }
                apply!(request, rule);
                screen.item(&request.send().await?)
            }
            Self::Get { name } => screen.item(&rules.get(name).send().await?),
            Self::List(listing) => listing.show(rules.list(), screen).await,
            Self::Update { name, file, enable, disable, guard } => {
                let rule = file.map_or_else(|| Ok(Rule::default()), |file| Rule::read(&file))?;
                let mut request = rules.update(name);
                set!(request.display_name(rule.display_name));
                set!(request.labels(rule.labels));
                set!(request.message(rule.message.map(NotificationMessage::from)));
                apply!(request, rule);
                set!(request.enabled(if enable || disable { Some(enable) } else { None }));
                set!(request.etag(guard.etag));
                screen.item(&request.send().await?)
            }
            Self::Delete { name, allow_missing, guard } => {
                let mut request = rules.delete(&name);
                set!(request.allow_missing() if allow_missing);
                set!(request.etag(guard.etag));
                request.send().await?;
                screen.done(&format!("{name} is deleted."))
            }
            Self::Preview { file } => {
                let mut rule = Rule::read(&file)?;
                let mut request = rules.preview(rule.message()?);
                apply!(request, rule);
                let preview = request.send().await?;
                screen.item_with(&preview, "notifications", &preview.notifications)
            }
            Self::Notifications { name, state, listing } => {
                let mut list = rules.notifications(name);
                set!(list.state(state));
                listing.show(list.list(), screen).await
            }
            Self::Notification { name } => screen.item(&rules.notification(name).send().await?),
            Self::Acknowledge { name } => screen.item(&rules.acknowledge(name).send().await?),
            Self::Retry { name } => screen.item(&rules.retry(name).send().await?),
        }
    }
}

fn state(text: &str) -> Result<NotificationSendState, String> {
    let known = NotificationSendState::ALL.iter().find(|known| known.as_str().eq_ignore_ascii_case(text));
    known.copied().ok_or_else(|| "pending, sent, skipped, failed or cancelled".to_owned())
}
