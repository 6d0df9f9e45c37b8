//! `freehold approval-policy`

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use clap::Subcommand;
use freehold::{ApprovalRule, Client};
use serde::Deserialize;

use super::{Guard, Listing, duration, set};
use crate::{document, failure::Failure, input, screen::Screen};

/// What can be done with approval policies.
#[derive(Subcommand, Clone, Debug)]
pub enum ApprovalPolicyCommand {
    /// Creates a policy
    Create {
        /// Its name: careful
        name: String,
        /// YAML or JSON file with the policy, or - for standard input
        #[arg(long, short, value_name = "FILE")]
        file: PathBuf,
    },
    /// Shows one policy
    Get {
        /// Its name
        name: String,
    },
    /// Lists policies
    List(Listing),
    /// Writes what is in the file
    Update {
        /// Its name
        name: String,
        /// YAML or JSON file with what changes, or - for standard input; rules are replaced as a whole
        #[arg(long, short, value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        guard: Guard,
    },
    /// Deletes a policy that no environment and no project names
    Delete {
        /// Its name
        name: String,
        #[command(flatten)]
        guard: Guard,
    },
}

/// A policy as people write it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Policy {
    display_name: Option<String>,
    description: Option<String>,
    labels: Option<BTreeMap<String, String>>,
    rules: Option<Vec<Rule>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    name: String,
    when: String,
    #[serde(default)]
    require: Requirement,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Requirement {
    approvals: i32,
    from: Vec<String>,
    allow_self_approval: bool,
    max_plan_age: Option<String>,
    expiry: Option<String>,
    comment_required: bool,
}

impl Policy {
    fn read(file: &std::path::Path) -> Result<Self, Failure> {
        let wrong = |why: String| Failure::usage(format!("{}: {why}", file.display()));
        let value = document::read(&input::text(file)?).map_err(|why| wrong(format!("neither YAML nor JSON: {why}")))?;
        serde_json::from_value(value).map_err(|error| wrong(format!("not an approval policy: {error}")))
    }
}

impl Rule {
    fn read(self) -> Result<ApprovalRule, Failure> {
        let Self { name, when, require } = self;
        let time = |part: &str, text: Option<String>| -> Result<Option<Duration>, Failure> {
            let read = text.map(|text| duration(&text)).transpose();
            read.map_err(|why| Failure::usage(format!("rule {name}: {part}: {why}")))
        };
        let (age, expiry) = (time("max_plan_age", require.max_plan_age)?, time("expiry", require.expiry)?);
        let mut rule = ApprovalRule::new(&name, when, require.approvals);
        for approver in require.from {
            rule = rule.from(approver);
        }
        set!(rule.max_plan_age(age));
        set!(rule.expiry(expiry));
        set!(rule.allow_self_approval() if require.allow_self_approval);
        set!(rule.comment_required() if require.comment_required);
        Ok(rule)
    }
}

impl ApprovalPolicyCommand {
    pub(crate) async fn run(self, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
        let policies = client.approval_policies();
        match self {
            Self::Create { name, file } => {
                let policy = Policy::read(&file)?;
                let mut request = policies.create(name);
                set!(request.display_name(policy.display_name));
                set!(request.description(policy.description));
                for (key, value) in policy.labels.unwrap_or_default() {
                    request = request.label(key, value);
                }
                for rule in policy.rules.unwrap_or_default() {
                    request = request.rule(rule.read()?);
                }
                let made = request.send().await?;
                screen.item_with(&made, "rules", &made.rules)
            }
            Self::Get { name } => {
                let policy = policies.get(name).send().await?;
                screen.item_with(&policy, "rules", &policy.rules)
            }
            Self::List(listing) => listing.show(policies.list(), screen).await,
            Self::Update { name, file, guard } => {
                let policy = Policy::read(&file)?;
                let mut request = policies.update(&name);
                set!(request.display_name(policy.display_name));
                set!(request.description(policy.description));
                set!(request.labels(policy.labels));
                if let Some(rules) = policy.rules {
                    request = request.rules(rules.into_iter().map(Rule::read).collect::<Result<Vec<_>, _>>()?);
                }
                set!(request.etag(guard.etag));
                let written = request.send().await?;
                screen.item_with(&written, "rules", &written.rules)
            }
            Self::Delete { name, guard } => {
                let mut request = policies.delete(&name);
                set!(request.etag(guard.etag));
                request.send().await?;
                screen.done(&format!("approval policy {name} is deleted"))
            }
        }
    }
}
