//! What people ask Freehold to do, in the words that they type into other systems.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{
    names::{DeploymentName, Id, RunName, shown},
    resource::prose,
    time::{Timestamp, Uid},
};

/// What the buttons under a plan are called where it is shown.
pub const APPROVE: &str = "freehold.approve";
/// As [`APPROVE`].
pub const REJECT: &str = "freehold.reject";
/// As [`APPROVE`]: asks for a dialog in which to do either, with a comment.
pub const DISCUSS: &str = "freehold.discuss";
/// What the fields of that dialog are called: one of the names above, and a text.
pub const DECISION: &str = "freehold.decision";
/// As [`DECISION`].
pub const DECISION_COMMENT: &str = "freehold.comment";
/// The word that a command in a comment begins with.
const PREFIX: &str = "/freehold";
/// Characters of a command that are read.
const LONGEST: usize = 1000;
/// Characters of a comment to a decision, as everywhere.
pub const MAX_COMMENT: usize = 500;
/// Hexadecimal digits of a digest that are enough to name it.
pub const SHORT_DIGEST: usize = 12;

/// What can be asked for, for people.
pub const HELP: &str = "\
help – this\n\
link – connects this account with a user of Freehold\n\
status [PROJECT/ENVIRONMENT/DEPLOYMENT] – who you are here, or how a deployment is\n\
plan PROJECT/ENVIRONMENT/DEPLOYMENT – begins a run, which waits for an approval once it has a plan\n\
apply PROJECT/ENVIRONMENT/DEPLOYMENT – begins a run that is applied at once where nobody has to approve it\n\
approve PROJECT/ENVIRONMENT/DEPLOYMENT/RUN [DIGEST] [COMMENT] – approves the plan of a run\n\
reject PROJECT/ENVIRONMENT/DEPLOYMENT/RUN [DIGEST] [COMMENT] – rejects it\n\
cancel PROJECT/ENVIRONMENT/DEPLOYMENT/RUN – stops a run\n\
unlock PROJECT/ENVIRONMENT/DEPLOYMENT – breaks the lock that somebody holds on its state";

/// A command that somebody has typed, or a button that somebody has pressed. Whether that person may is for the caller to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Says what can be asked for; what was not understood, if that is why.
    Help(Option<String>),
    /// Makes a code that connects the account with a user.
    Link,
    /// Says how a deployment is, or who the caller is.
    Status(Option<DeploymentPath>),
    /// Begins a run.
    Plan(DeploymentPath),
    /// Begins a run that needs nobody's word where the environment lets it.
    Apply(DeploymentPath),
    /// Approves or rejects the plan of a run.
    Decide(Decide),
    /// Stops a run.
    Cancel(RunPath),
    /// Breaks the lock that a person holds on the state of a deployment.
    Unlock(DeploymentPath),
    /// Asks for a dialog in which to decide.
    Discuss(Button),
}

/// A decision on the plan of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decide {
    /// It is right.
    pub approve: bool,
    /// The run.
    pub run: RunPath,
    /// Digest of the plan that was seen, or how it begins; `None` when it was not said.
    pub digest: Option<String>,
    /// Why.
    pub comment: String,
}

/// A deployment as people write it, without the tenant: `shop/dev/web`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are the parts of the name")]
pub struct DeploymentPath {
    pub project: Id,
    pub environment: Id,
    pub deployment: Id,
}

/// A run as people write it, without the tenant: `shop/dev/web/{uid}`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are the parts of the name")]
pub struct RunPath {
    pub deployment: DeploymentPath,
    pub run: Uid,
}

/// What a button carries: who presses it decides on this plan and no other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Button {
    /// The run, as people write it.
    pub run: String,
    /// Digest of its plan.
    pub digest: String,
    /// Where the button is, in what a dialog carries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
}

impl Command {
    /// What follows the name of Freehold. What is not understood asks for help.
    pub fn parse(text: &str) -> Self {
        let text: String = text.chars().take(LONGEST).collect();
        let mut words = text.split_whitespace();
        let word = words.next().unwrap_or_default().to_lowercase();
        let rest: Vec<&str> = words.collect();
        Self::read(&word, &rest).unwrap_or_else(|why| Self::Help(Some(why)))
    }

    fn read(word: &str, rest: &[&str]) -> Result<Self, String> {
        let deployment = || match rest {
            [path] => path.parse(),
            _ => Err(format!("`{word}` takes one deployment: {word} project/environment/deployment")),
        };
        match word {
            "link" => Ok(Self::Link),
            "status" if rest.is_empty() => Ok(Self::Status(None)),
            "status" => deployment().map(|path| Self::Status(Some(path))),
            "plan" => deployment().map(Self::Plan),
            "apply" => deployment().map(Self::Apply),
            "unlock" => deployment().map(Self::Unlock),
            "cancel" => match rest {
                [run] => run.parse().map(Self::Cancel),
                _ => Err("`cancel` takes one run".to_owned()),
            },
            "approve" | "reject" => {
                let (run, rest) = rest.split_first().ok_or_else(|| format!("`{word}` takes a run"))?;
                let digest = rest.first().filter(|word| is_digest(word)).map(|word| (*word).to_owned());
                let comment = rest[usize::from(digest.is_some())..].join(" ");
                Decide::new(word == "approve", run, digest, comment).map(Self::Decide)
            }
            "" | "help" => Ok(Self::Help(None)),
            other => Err(format!("there is no command `{}`", shown(other))),
        }
    }

    /// The first line of a comment that begins with `/freehold`. What is quoted or inside of a block of code is somebody else's
    /// word.
    pub fn in_comment(text: &str) -> Option<Self> {
        let mut fenced = false;
        for line in text.lines() {
            if line.trim_start().starts_with("```") || line.trim_start().starts_with("~~~") {
                fenced = !fenced;
                continue;
            }
            let indented = line.starts_with("    ") || line.starts_with('\t');
            let rest = line.trim().strip_prefix(PREFIX).filter(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace));
            if let Some(rest) = rest.filter(|_| !fenced && !indented) {
                return Some(Self::parse(rest));
            }
        }
        None
    }

    /// The decision of whoever pressed a button of this name with this value, or sent a dialog of both with a comment; `None` when
    /// it is no button of ours.
    pub fn pressed(action: &str, value: &str, comment: &str) -> Option<Self> {
        let button: Button = serde_json::from_str(value).ok()?;
        let approve = match action {
            APPROVE => true,
            REJECT => false,
            DISCUSS => return Some(Self::Discuss(button)),
            _ => return None,
        };
        let decide = Decide::new(approve, &button.run, Some(button.digest), comment.to_owned());
        Some(decide.map_or_else(|why| Self::Help(Some(why)), Self::Decide))
    }
}

impl Decide {
    fn new(approve: bool, run: &str, digest: Option<String>, comment: String) -> Result<Self, String> {
        let comment = prose(comment, MAX_COMMENT).map_err(|why| format!("the comment: {why}"))?;
        Ok(Self { approve, run: run.parse()?, digest, comment })
    }

    /// The digest that was meant, given the one of the present plan: that one where it was not said or named by how it begins, and
    /// else what was said.
    pub fn digest(&self, present: &str) -> String {
        match &self.digest {
            None => present.to_owned(),
            Some(said) if hex(present).starts_with(hex(said)) && hex(said).len() >= SHORT_DIGEST => present.to_owned(),
            Some(said) => said.clone(),
        }
    }
}

fn hex(digest: &str) -> &str {
    digest.strip_prefix("sha256:").unwrap_or(digest)
}

/// Whether a word is a digest rather than the beginning of a comment.
fn is_digest(word: &str) -> bool {
    let digits = hex(word);
    word.starts_with("sha256:") || digits.len() >= SHORT_DIGEST && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

impl DeploymentPath {
    /// Its name in a tenant.
    pub fn of(&self, tenant: &Id) -> DeploymentName {
        let Self { project, environment, deployment } = self.clone();
        DeploymentName { tenant: tenant.clone(), project, environment, deployment }
    }
}

impl RunPath {
    /// Its name in a tenant.
    pub fn of(&self, tenant: &Id) -> RunName {
        let DeploymentName { tenant, project, environment, deployment } = self.deployment.of(tenant);
        RunName { tenant, project, environment, deployment, run: self.run }
    }
}

impl FromStr for DeploymentPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split('/').collect();
        let [project, environment, deployment] = parts[..] else {
            return Err(format!("`{}` is no deployment; write it as project/environment/deployment", shown(text)));
        };
        Ok(Self { project: project.parse()?, environment: environment.parse()?, deployment: deployment.parse()? })
    }
}

impl FromStr for RunPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{}` is no run; write it as project/environment/deployment/run", shown(text));
        let (deployment, run) = text.rsplit_once('/').ok_or_else(wrong)?;
        Ok(Self { deployment: deployment.parse().map_err(|_: String| wrong())?, run: run.parse().map_err(|_: String| wrong())? })
    }
}

/// Who has written, as the other system knows them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExternalAccount {
    /// By which the system always means this one: `T0G9PQBBK/W012A3CDE` of Slack, `1` of GitHub.
    pub id: String,
    /// What people call them there; may change, and may be anything.
    pub display_name: String,
}

impl ExternalAccount {
    /// An account, if it has an id that can be kept.
    pub fn new(id: String, display_name: &str) -> Option<Self> {
        let right = (1..=100).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'/');
        right.then(|| Self { id, display_name: shown(display_name) })
    }
}

/// Where in another system people talk about runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "system", rename_all = "snake_case")]
pub enum Place {
    /// A channel.
    Slack {
        /// Its id.
        channel: String,
    },
    /// A pull request.
    Github {
        /// `owner/name`.
        repo: String,
        /// Its number.
        number: u64,
    },
}

/// What a person asks for.
#[derive(Clone, PartialEq, Eq)]
pub struct Ask {
    /// Who.
    pub account: ExternalAccount,
    /// What.
    pub command: Command,
    /// Where.
    pub place: Option<Place>,
    /// Where that one alone is answered; it opens a door, and is shown nowhere.
    pub reply_url: Option<String>,
    /// What opens one dialog, for a moment.
    pub trigger: Option<String>,
    /// When, as the other system says. Absent where it tells of nothing later than at once.
    pub time: Option<Timestamp>,
}

#[cfg(test)]
mod tests;
