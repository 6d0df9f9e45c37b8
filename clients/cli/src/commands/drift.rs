//! `freehold drift`

use std::time::Duration;

use clap::{
    ArgGroup, Args, Subcommand,
    builder::{PossibleValuesParser, TypedValueParser},
};
use freehold::{Client, DriftClass, DriftItemState, DriftPolicy, DriftRemediation, Timestamp};

use super::{Guard, Labels, Listing, duration, set};
use crate::{failure::Failure, screen::Screen};

/// Where nobody has said anything, each deployment is looked at once in this time.
const DAY: Duration = Duration::from_secs(86_400);

/// What can be done about drift.
#[derive(Subcommand, Clone, Debug)]
pub enum DriftCommand {
    /// Lists what is not as it was made, and what is, once it is so again
    List {
        /// A deployment, shop/dev/web, an environment, shop/dev, or nothing for all of the tenant
        #[arg(default_value = "")]
        of: String,
        /// Only items in this state; can be given several times. Without it, all that are not resolved
        #[arg(long, value_name = "STATE", value_parser = states())]
        state: Vec<DriftItemState>,
        /// Only items of this class; can be given several times
        #[arg(long, value_name = "CLASS", value_parser = classes())]
        class: Vec<DriftClass>,
        /// Resolved ones too
        #[arg(long, conflicts_with = "state")]
        all: bool,
        #[command(flatten)]
        listing: Listing,
    },
    /// Shows one item
    Show {
        /// Its name: shop/dev/web/ITEM
        name: String,
    },
    /// Says that you know of an item; it alarms nobody any more while it stays
    Ack {
        /// Its name
        name: String,
        /// What you know of it
        #[arg(long, value_name = "TEXT")]
        note: Option<String>,
        #[command(flatten)]
        guard: Guard,
    },
    /// Lets an item stay for a time, as it is now
    Accept {
        /// Its name
        name: String,
        #[command(flatten)]
        term: Term,
        /// Whatever its value becomes; otherwise another value opens it again
        #[arg(long)]
        any_value: bool,
        #[command(flatten)]
        guard: Guard,
    },
    /// Gives an item to somebody, and says where they work on it
    #[command(group = ArgGroup::new("change").required(true).multiple(true).args(["owner", "ticket"]))]
    Assign {
        /// Its name
        name: String,
        /// Who has it: users/ada; empty for nobody
        #[arg(long, value_name = "MEMBER")]
        owner: Option<String>,
        /// Where they work on it; empty for nowhere
        #[arg(long, value_name = "TEXT")]
        ticket: Option<String>,
        #[command(flatten)]
        guard: Guard,
    },
    /// Drift that may stay, for a time
    #[command(subcommand)]
    Exception(ExceptionCommand),
    /// When an environment or a deployment is looked at, and what is done about what is found
    Policy(Policy),
}

/// What can be done with exceptions.
#[derive(Subcommand, Clone, Debug)]
pub enum ExceptionCommand {
    /// Creates one, which covers what is right by all that is said. Patterns have * for any text
    #[command(group = ArgGroup::new("covers").required(true).multiple(true).args(["deployment", "labels", "kind", "address", "path", "value"]))]
    Create {
        /// Full names of deployments: */environments/dev/deployments/*
        #[arg(long, value_name = "PATTERN")]
        deployment: Option<String>,
        #[command(flatten)]
        labels: Labels,
        /// Types of resources: file
        #[arg(long = "type", value_name = "PATTERN")]
        kind: Option<String>,
        /// Addresses of resources: file.cache_*
        #[arg(long, value_name = "PATTERN")]
        address: Option<String>,
        /// Attributes: tags
        #[arg(long, value_name = "PATTERN")]
        path: Option<String>,
        /// Values as they are
        #[arg(long, value_name = "PATTERN")]
        value: Option<String>,
        #[command(flatten)]
        term: Term,
    },
    /// Shows one exception
    Show {
        /// Its name, as `list` shows it
        name: String,
    },
    /// Lists the exceptions of the tenant
    List(Listing),
    /// Ends an exception now; what it covered is opened again
    Delete {
        /// Its name
        name: String,
    },
}

/// How long something may stay, why, and who answers for it.
#[derive(Args, Clone, Debug)]
pub struct Term {
    /// Why it may stay
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// For how long, at most 366
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u16).range(1..=366))]
    days: u16,
    /// Who answers for that: users/ada; you, if not said
    #[arg(long, value_name = "MEMBER")]
    owner: Option<String>,
}

impl Term {
    /// Begins at the last midnight, so that a clock that is a little ahead of the server's does not make it too long.
    fn end(&self) -> Timestamp {
        const SECONDS: i64 = 86_400;
        let now = Timestamp::now().as_second();
        let end = (now / SECONDS + i64::from(self.days)) * SECONDS;
        Timestamp::from_second(end.max(now + SECONDS / 24)).unwrap_or(Timestamp::MAX)
    }
}

/// A policy to show or to set.
#[derive(Args, Clone, Debug)]
pub struct Policy {
    /// An environment, shop/dev, or a deployment, shop/dev/web
    name: String,
    /// One look in this time, from 1h on, at a moment that differs from deployment to deployment
    #[arg(long, value_name = "DURATION", value_parser = duration, conflicts_with = "cron")]
    every: Option<Duration>,
    /// Looks at these times: "minute hour day-of-month month day-of-week"
    #[arg(long, value_name = "EXPRESSION")]
    cron: Option<String>,
    /// Time zone of --cron: Europe/Berlin
    #[arg(long, value_name = "ZONE", default_value = "UTC", requires = "cron")]
    time_zone: String,
    /// What is done about what is found
    #[arg(long, value_name = "WHAT", value_parser = remediations())]
    remediation: Option<DriftRemediation>,
    /// A type of resources that auto-safe may put right without a person; can be given several times
    #[arg(long, value_name = "PATTERN")]
    safe_type: Vec<String>,
    /// Whether there are no looks for now
    #[arg(long, value_name = "BOOL")]
    pause: Option<bool>,
    /// Takes the policy away: a deployment is looked at as its environment says, an environment once a day
    #[arg(long, conflicts_with_all = ["every", "cron", "remediation", "safe_type", "pause"])]
    inherit: bool,
}

impl Policy {
    fn is_look(&self) -> bool {
        !self.inherit
            && self.every.is_none()
            && self.cron.is_none()
            && self.remediation.is_none()
            && self.safe_type.is_empty()
            && self.pause.is_none()
    }

    /// The policy there is, with what was given over it.
    fn over(&self, now: Option<DriftPolicy>) -> Option<DriftPolicy> {
        if self.inherit {
            return None;
        }
        let now = now.unwrap_or_else(|| DriftPolicy::every(DAY));
        let base = match (&self.cron, self.every, &now.cron) {
            (Some(cron), ..) => DriftPolicy::cron(cron, &self.time_zone),
            (None, Some(every), _) => DriftPolicy::every(every),
            (None, None, Some(cron)) => DriftPolicy::cron(cron, now.time_zone.as_deref().unwrap_or_default()),
            (None, None, None) => DriftPolicy::every(now.every.unwrap_or(DAY)),
        };
        let safe = if self.safe_type.is_empty() { now.safe_types.clone() } else { self.safe_type.clone() };
        let remediation = self.remediation.unwrap_or(now.remediation);
        Some(base.paused(self.pause.unwrap_or(now.paused)).remediation(remediation).safe_types(safe))
    }

    async fn run(self, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
        let (environments, deployments) = (client.environments(), client.deployments());
        // A short name has a part for each level, a full one two.
        let parts = self.name.split('/').count();
        let (own, environment) = if parts == 3 || parts == 8 {
            let mut deployment = deployments.get(&self.name).send().await?;
            if !self.is_look() {
                let policy = self.over(deployment.drift_policy);
                deployment = deployments.update(&self.name).drift_policy(policy).etag(deployment.etag).send().await?;
            }
            let environment = deployment.name.rsplit_once("/deployments/").map(|(environment, _)| environment.to_owned());
            (deployment.drift_policy, environment.unwrap_or_default())
        } else {
            let environment = environments.get(&self.name).send().await?;
            if !self.is_look() {
                let policy = self.over(environment.drift_policy);
                environments.update(&self.name).drift_policy(policy).etag(environment.etag).send().await?;
            }
            (None, environment.name)
        };
        // What counts, wherever it is said.
        let policy = match own {
            Some(own) => Some(own),
            None => environments.get(environment).send().await?.drift_policy,
        };
        screen.item(&policy.unwrap_or_else(|| DriftPolicy::every(DAY)))
    }
}

fn states() -> impl TypedValueParser<Value = DriftItemState> {
    PossibleValuesParser::new(["open", "acknowledged", "accepted", "remediating", "resolved", "reopened"])
        .try_map(|state| state.parse::<DriftItemState>())
}

fn classes() -> impl TypedValueParser<Value = DriftClass> {
    PossibleValuesParser::new(["new", "known", "accepted", "expected"]).try_map(|class| class.parse::<DriftClass>())
}

fn remediations() -> impl TypedValueParser<Value = DriftRemediation> {
    PossibleValuesParser::new(["none", "propose", "auto-safe"]).try_map(|what| what.parse::<DriftRemediation>())
}

impl DriftCommand {
    pub(crate) async fn run(self, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
        let drift = client.drift();
        match self {
            Self::List { of, state, class, all, listing } => {
                let unresolved = || DriftItemState::ALL.iter().copied().filter(|state| *state != DriftItemState::Resolved);
                let mut items = drift.items(of).classes(class);
                if !state.is_empty() {
                    items = items.states(state);
                } else if !all {
                    items = items.states(unresolved());
                }
                listing.show(items.list(), screen).await
            }
            Self::Show { name } => screen.item(&drift.get(name).send().await?),
            Self::Ack { name, note, guard } => {
                let mut request = drift.acknowledge(name);
                set!(request.note(note));
                set!(request.etag(guard.etag));
                screen.item(&request.send().await?)
            }
            Self::Accept { name, term, any_value, guard } => {
                let mut request = drift.accept(name, &term.reason, term.end());
                set!(request.owner(term.owner));
                set!(request.any_value() if any_value);
                set!(request.etag(guard.etag));
                let (item, _) = request.send().await?;
                screen.item(&item)
            }
            Self::Assign { name, owner, ticket, guard } => {
                let mut request = drift.assign(name);
                set!(request.owner(owner));
                set!(request.ticket(ticket));
                set!(request.etag(guard.etag));
                screen.item(&request.send().await?)
            }
            Self::Exception(command) => command.run(client, screen).await,
            Self::Policy(policy) => policy.run(client, screen).await,
        }
    }
}

impl ExceptionCommand {
    async fn run(self, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
        let drift = client.drift();
        match self {
            Self::Create { deployment, labels, kind, address, path, value, term } => {
                let mut request = drift.except(&term.reason, term.end());
                set!(request.deployment(deployment));
                set!(request.kind(kind));
                set!(request.address(address));
                set!(request.path(path));
                set!(request.value(value));
                set!(request.owner(term.owner));
                for (key, value) in labels.labels {
                    request = request.label(key, value);
                }
                screen.item(&request.send().await?)
            }
            Self::Show { name } => screen.item(&drift.get_exception(name).send().await?),
            Self::List(listing) => listing.show(drift.exceptions(), screen).await,
            Self::Delete { name } => {
                drift.delete_exception(&name).send().await?;
                screen.done(&format!("drift exception {name} is deleted"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(name: &str) -> Policy {
        Policy {
            name: name.to_owned(),
            every: None,
            cron: None,
            time_zone: "UTC".to_owned(),
            remediation: None,
            safe_type: Vec::new(),
            pause: None,
            inherit: false,
        }
    }

    #[test]
    fn what_is_given_goes_over_the_policy_there_is() {
        let daily = DriftPolicy::every(Duration::from_secs(86_400));
        let paused = Policy { pause: Some(true), ..given("shop/dev") };
        assert_eq!(paused.over(None), Some(daily.clone().paused(true)));
        let cron = DriftPolicy::cron("0 3 * * *", "Europe/Berlin").remediation(DriftRemediation::Propose);
        assert_eq!(paused.over(Some(cron.clone())), Some(cron.clone().paused(true)));
        let hourly = Policy { every: Some(Duration::from_secs(3600)), ..given("shop/dev") };
        let expected = DriftPolicy::every(Duration::from_secs(3600)).remediation(DriftRemediation::Propose);
        assert_eq!(hourly.over(Some(cron.clone())), Some(expected));
        assert_eq!(Policy { inherit: true, ..given("shop/dev") }.over(Some(cron)), None);
        assert!(given("shop/dev").is_look() && !paused.is_look());
    }

    #[test]
    fn a_term_ends_after_so_many_days_at_most() {
        for days in [1, 30, 366] {
            let end = Term { reason: String::new(), days, owner: None }.end();
            let seconds = end.as_second() - Timestamp::now().as_second();
            assert!(seconds > 0 && seconds <= i64::from(days) * 86_400, "{days}: {seconds}");
        }
    }
}
