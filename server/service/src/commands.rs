//! What people ask for in other systems: done as the users that they are here, once, and answered where they asked.

use std::{sync::Arc, time::Duration};

use freehold_domain::{
    Error, Reason, Result,
    access::{CallFacts, Caller, Principal, Proof},
    commands::{Ask, Button, Command, Decide, DeploymentPath, HELP, Place as Where, RunPath},
    connections::{InboundMessage, MessageState},
    console::Console,
    events::Event,
    fault,
    names::Id,
    resource::Page,
    run_threads::{View, short_digest},
    runs::{Run, RunKind},
};
use freehold_store::{INSTALLATION, RequestKey, connection_accounts as accounts, connections, inbound_messages, run_threads};
use serde_json::json;

use crate::{
    app::{App, Write},
    audit::denied,
    chat::{BUSY, LEASE, Line, passes},
    connection_accounts::new_code,
    deployments,
    duty::{CLAIMED, carry_out},
    identify, inbound,
    run_threads::slack,
    runs::{self, Review, StartRun, Verdict},
    state,
};

/// What was asked for longer ago than this is not done any more: nobody waits for it, and it may surprise.
const TIMELY: Duration = Duration::from_secs(3600);
/// The pause after a failure that may pass, and the longest that is waited when somebody asks for more.
const PAUSE: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(300);

/// The method of the contract that a command stands for: what it needs, and how it is known in the audit trail.
#[derive(Clone, Copy, Debug)]
pub struct Method {
    /// `package.Service/Method`.
    pub name: &'static str,
    /// The permission that it needs.
    pub permission: &'static str,
    /// It changes nothing.
    pub reads: bool,
}

/// The methods of all commands. They are those of the contract; a test of the listeners holds them together.
pub const METHODS: [Method; 8] = [PLAN, APPROVE, REJECT, CANCEL, BREAK_STATE_LOCK, GET_RUN, GET_DEPLOYMENT, LIST_RUNS];
const PLAN: Method =
    Method { name: "freehold.deployments.v1.RunService/PlanDeployment", permission: "deployments.runs.plan", reads: false };
const APPROVE: Method =
    Method { name: "freehold.deployments.v1.RunService/ApproveRun", permission: "deployments.runs.approve", reads: false };
const REJECT: Method =
    Method { name: "freehold.deployments.v1.RunService/RejectRun", permission: "deployments.runs.approve", reads: false };
const CANCEL: Method =
    Method { name: "freehold.deployments.v1.RunService/CancelRun", permission: "deployments.runs.cancel", reads: false };
const BREAK_STATE_LOCK: Method = Method {
    name: "freehold.deployments.v1.StateService/BreakStateLock",
    permission: "deployments.state.breakLock",
    reads: false,
};
const GET_RUN: Method =
    Method { name: "freehold.deployments.v1.RunService/GetRun", permission: "deployments.runs.get", reads: true };
const LIST_RUNS: Method =
    Method { name: "freehold.deployments.v1.RunService/ListRuns", permission: "deployments.runs.list", reads: true };
const GET_DEPLOYMENT: Method = Method {
    name: "freehold.deployments.v1.DeploymentService/GetDeployment",
    permission: "deployments.deployments.get",
    reads: true,
};

/// What is said to whoever asked.
enum Answer {
    /// The run is shown there, which says it all.
    Shown,
    /// This.
    Said(String),
}

/// Takes what was asked for and does it, each in a task of its own; answers how many were taken.
pub async fn attend(app: &Arc<App>) -> Result<usize> {
    let mut tx = app.store.begin_as("server", INSTALLATION).await?;
    let claims = inbound_messages::claim(&mut tx, fault::time("commands.lease", LEASE), CLAIMED).await?;
    if claims.is_empty() {
        return Ok(0);
    }
    tx.commit(&()).await?;
    let attempt = |app: Arc<App>, claim| async move { attempt(&app, claim).await };
    Ok(carry_out(app, claims, |claim| claim.message.name.to_string(), attempt))
}

/// Waits until this replica knows of something that was asked for, since the last wait.
pub async fn asked(app: &App) {
    app.chat.asked.notified().await;
}

async fn attempt(app: &App, claim: inbound_messages::Claim) -> Result<()> {
    let Some(_turn) = app.deliveries.turn(claim.connection) else { return again(app, &claim, BUSY).await };
    let line = match Line::open(app, claim.tenant, claim.connection).await {
        Ok(line) => line,
        Err(error) if passes(&error) => return again(app, &claim, PAUSE).await,
        Err(error) => return end(app, claim, Some(&error), None).await,
    };
    let payload = inbound::open(&line.place, claim.message.name.inbound_message, &claim.payload)?;
    let Some(ask) = app.connectors.ask(&line.connection.connector, &claim.message.kind, &payload) else {
        return end(app, claim, None, None).await;
    };
    // What another system tells of again may be much older than its message.
    if app.now().since(ask.time.unwrap_or(claim.message.received).min(claim.message.received)) > TIMELY {
        let late = Error::new(Reason::DeadlineExceeded, "it was asked for too long ago; ask again");
        return end(app, claim, Some(&late), None).await;
    }
    let done = answer(app, &line, &claim.message, &ask).await;
    fault::point("commands.done");
    if let Err(error) = &done
        && error.reason() == Reason::Internal
    {
        tracing::error!(message = %claim.message.name, error = error.chain(), "what was asked for met a fault of ours");
    }
    let said = match &done {
        Err(error) if passes(error) => return again(app, &claim, pause(error)).await,
        Err(error) => say(app, &line, &claim.message, &ask, error.message()).await,
        Ok(Answer::Said(text)) => say(app, &line, &claim.message, &ask, text).await,
        Ok(Answer::Shown) => Ok(()),
    };
    match said {
        // What it asks for was done under its own key, and is not done twice.
        Err(error) if passes(&error) => again(app, &claim, pause(&error)).await,
        said => end(app, claim, done.err().as_ref(), said.err().as_ref()).await,
    }
}

fn pause(error: &Error) -> Duration {
    error.retry_delay().unwrap_or(PAUSE).clamp(PAUSE, LONGEST)
}

/// Leaves it for later.
async fn again(app: &App, claim: &inbound_messages::Claim, pause: Duration) -> Result<()> {
    let mut tx = app.store.begin_as("server", claim.tenant).await?;
    inbound_messages::report(&mut tx, claim, Some(pause)).await?;
    tx.commit(&()).await
}

/// Writes down what has become of it, and whether somebody could be told.
async fn end(app: &App, mut claim: inbound_messages::Claim, failed: Option<&Error>, untold: Option<&Error>) -> Result<()> {
    let message = &mut claim.message;
    message.state = if failed.is_some() { MessageState::Failed } else { MessageState::Handled };
    let untold = untold.map(|error| format!("the answer could not be given: {}", error.message()));
    message.error = failed.map(|error| error.message().to_owned()).into_iter().chain(untold).collect::<Vec<_>>().join("; ");
    let mut tx = app.store.begin_as("server", claim.tenant).await?;
    if !inbound_messages::report(&mut tx, &claim, None).await? {
        return Ok(());
    }
    if let Some((_, connection)) = connections::find(&mut tx, claim.connection).await? {
        let kind = if failed.is_some() { "connection.message_failed" } else { "connection.message_handled" };
        let facts = json!({ "message": claim.message.name.to_string(), "error": claim.message.error });
        tx.announce(Event::new(kind, &connection.name, claim.connection, connection.meta.version).with(facts));
    }
    tx.commit(&()).await
}

/// Does what was asked for, as the user whose account it is.
async fn answer(app: &App, line: &Line, message: &InboundMessage, ask: &Ask) -> Result<Answer> {
    let connection = &line.connection;
    match &ask.command {
        Command::Help(None) => return Ok(Answer::Said(HELP.to_owned())),
        Command::Help(Some(why)) => return Ok(Answer::Said(format!("{why}.\n\n{HELP}"))),
        Command::Link => {
            let code = new_code(app, &line.place, connection, &ask.account).await?;
            let id = &connection.name.connection;
            return Ok(Answer::Said(format!(
                "Run `freehold connection link {id}` as yourself within ten minutes and give it this code: `{code}`. {} \
                 acts as whoever gives it.",
                ask.account.display_name
            )));
        }
        _ => {}
    }
    let linked = {
        let mut db = app.store.read().await?;
        accounts::by_external_id(&mut db, line.place.scope, connection.meta.uid, &ask.account.id).await?
    };
    let Some(account) = linked else {
        let why = format!("{} is not linked to a user of Freehold; write `link` to do that", ask.account.display_name);
        return Err(Error::new(Reason::CredentialsMissing, why));
    };
    app.count_call(&line.place.tenant.name).await?;
    let asker = Asker { app, line, principal: account.principal, message };
    match &ask.command {
        Command::Status(None) => Ok(Answer::Said(format!("You are {} here.", asker.principal))),
        Command::Status(Some(path)) => asker.status(path).await,
        Command::Plan(path) => asker.start(path, false, ask).await,
        Command::Apply(path) => asker.start(path, true, ask).await,
        Command::Decide(decide) => asker.decide(decide).await,
        Command::Cancel(path) => asker.cancel(path).await,
        Command::Unlock(path) => asker.unlock(path, ask).await,
        Command::Discuss(button) => asker.discuss(button, ask).await,
        Command::Help(_) | Command::Link => Err(Error::internal("it was answered before")),
    }
}

/// A user who asks from elsewhere.
struct Asker<'a> {
    app: &'a App,
    line: &'a Line,
    principal: Principal,
    message: &'a InboundMessage,
}

impl Asker<'_> {
    fn tenant(&self) -> &Id {
        &self.line.place.tenant.name.tenant
    }

    /// The user as the caller of a method, with the roles of this moment.
    async fn caller(&self, method: Method) -> Result<Caller> {
        let Self { app, line, principal, message } = self;
        let grants = identify::present_grants(app, &mut app.store.read().await?, &line.place, principal).await?;
        let grants = grants.ok_or_else(|| {
            Error::new(
                Reason::CredentialsMissing,
                format!("{principal} may not sign in any more; ask an administrator of the tenant"),
            )
        })?;
        let known = app.connectors.catalogue().iter().find(|known| known.kind == line.connection.connector);
        let call = CallFacts {
            request_id: message.name.inbound_message.to_string(),
            method: method.name,
            permission: method.permission,
            reads: method.reads,
            ..CallFacts::default()
        };
        let proof = Proof::Account(known.map_or("connection", |known| known.kind));
        Ok(Caller { principal: principal.clone(), proof, spiffe_id: None, expire_time: None, grants, call })
    }

    /// Under the message's own key: done once, however often the message is claimed.
    fn write(&self) -> Write {
        let uid = self.message.name.inbound_message;
        let mut digest = [0; 32];
        digest[..16].copy_from_slice(uid.0.as_bytes());
        let request_id = (!fault::mutant("request_key")).then_some(uid);
        Write { key: RequestKey { request_id, digest }, validate_only: false, etag: None }
    }

    /// What was refused for want of a permission is in the audit trail, as it is for every caller.
    async fn told<T>(&self, caller: &Caller, done: Result<T>) -> Result<T> {
        if let Err(error) = &done
            && error.reason() == Reason::PermissionMissing
        {
            denied(self.app, caller, error).await;
        }
        done
    }

    async fn start(&self, path: &DeploymentPath, auto_apply: bool, ask: &Ask) -> Result<Answer> {
        let message = self.why(ask);
        let name = path.of(self.tenant());
        let cmd = StartRun { name, kind: RunKind::Apply, target: 0, auto_apply, keep_queued: false, message };
        let caller = self.caller(PLAN).await?;
        let run = self.told(&caller, runs::start(self.app, &caller, cmd, &self.write()).await).await?;
        let Some(place) = &ask.place else { return Ok(Answer::Said(words(&run, &self.app.console))) };
        let mut tx = self.app.store.begin_as("server", self.line.place.scope).await?;
        run_threads::follow(&mut tx, self.line.place.scope, self.line.connection.meta.uid, &run, place).await?;
        tx.commit(&()).await?;
        self.app.chat.touched.notify_one();
        // Where it is shown to all, nobody may be told; who asked is, where that disturbs nobody.
        Ok(if ask.reply_url.is_some() { Answer::Said(words(&run, &self.app.console)) } else { Answer::Shown })
    }

    /// Where it was asked for.
    fn why(&self, ask: &Ask) -> String {
        match &ask.place {
            Some(Where::Github { repo, number }) => format!("asked for in {repo}#{number}"),
            Some(Where::Slack { .. }) | None => format!("asked for by {}", self.line.connection.name.connection),
        }
    }

    async fn cancel(&self, path: &RunPath) -> Result<Answer> {
        let caller = self.caller(CANCEL).await?;
        let run = runs::cancel(self.app, &caller, &path.of(self.tenant()), &self.write()).await;
        let run = self.told(&caller, run).await?;
        Ok(Answer::Said(words(&run, &self.app.console)))
    }

    async fn unlock(&self, path: &DeploymentPath, ask: &Ask) -> Result<Answer> {
        let name = path.of(self.tenant());
        let caller = self.caller(GET_DEPLOYMENT).await?;
        let deployment = self.told(&caller, deployments::get(self.app, &caller, &name).await).await?;
        let Some(lock) = &deployment.state_lock else {
            let short = name.short();
            return Ok(Answer::Said(format!(
                "Nobody holds the state of {short}. A run that is in the way is stopped by `cancel`."
            )));
        };
        let caller = self.caller(BREAK_STATE_LOCK).await?;
        let broken = state::break_lock(self.app, &caller, &name, &lock.id, &self.why(ask), &self.write()).await;
        self.told(&caller, broken).await?;
        Ok(Answer::Said(format!("The lock of {} on the state of {} is broken.", lock.principal, name.short())))
    }

    async fn decide(&self, decide: &Decide) -> Result<Answer> {
        let name = decide.run.of(self.tenant());
        // The digest that a button carries needs no comparing here: the decision itself refuses every one but the present plan's.
        let plan_digest = match &decide.digest {
            Some(digest) if digest.len() > 64 => digest.clone(),
            _ => {
                let caller = self.caller(GET_RUN).await?;
                let run = self.told(&caller, runs::get(self.app, &caller, &name).await).await?;
                decide.digest(run.plan.as_ref().map(|plan| plan.digest.as_str()).unwrap_or_default())
            }
        };
        let review = Review { plan_digest, review_digest: None, comment: decide.comment.clone() };
        let (method, verdict) = if decide.approve { (APPROVE, Verdict::Approve) } else { (REJECT, Verdict::Reject) };
        let caller = self.caller(method).await?;
        let run = runs::decide(self.app, &caller, &name, verdict, review, &self.write()).await;
        let run = self.told(&caller, run).await?;
        let (scope, connection) = (self.line.place.scope, self.line.connection.meta.uid);
        let shown = run_threads::get(&mut self.app.store.read().await?, scope, connection, run.uid()).await?;
        Ok(if shown.is_some() { Answer::Shown } else { Answer::Said(words(&run, &self.app.console)) })
    }

    /// Opens the dialog. Whether its decision is allowed is seen when it is made.
    async fn discuss(&self, button: &Button, ask: &Ask) -> Result<Answer> {
        let channel = match &ask.place {
            Some(Where::Slack { channel }) => Some(channel.clone()),
            Some(Where::Github { .. }) | None => None,
        };
        let view = slack::dialog(&Button { channel, ..button.clone() });
        let opened = self.line.call(self.app, "views.open", json!({ "trigger_id": ask.trigger, "view": view })).await;
        Ok(match opened {
            Ok(_) => Answer::Shown,
            // The moment in which it may be opened is over, most likely.
            Err(error) => Answer::Said(format!(
                "The dialog could not be opened: {}. Press the button again, or write `approve {run} {digest} COMMENT` or `reject {run} \
                 {digest} COMMENT`.",
                error.message(),
                run = button.run,
                digest = short_digest(&button.digest),
            )),
        })
    }

    async fn status(&self, path: &DeploymentPath) -> Result<Answer> {
        let name = path.of(self.tenant());
        let caller = self.caller(GET_DEPLOYMENT).await?;
        let deployment = self.told(&caller, deployments::get(self.app, &caller, &name).await).await?;
        let caller = self.caller(LIST_RUNS).await?;
        let page = Page { size: 1, after: None, newest_first: true };
        let listed = self.told(&caller, runs::list(self.app, &caller, &name, page).await).await?;
        let version = &deployment.blueprint_version;
        let last = listed.items.first().map_or_else(|| "It has no run.".to_owned(), |run| words(run, &self.app.console));
        Ok(Answer::Said(format!(
            "{} is {}, made of {} {}. {last}",
            name.short(),
            deployment.state.as_str(),
            version.blueprint,
            version.version
        )))
    }
}

/// A run in a line.
fn words(run: &Run, console: &Console) -> String {
    let view = View::of(run, console);
    let link = view.link.map(|link| format!(" {link}")).unwrap_or_default();
    format!("{}: {} Run `{}`.{link}", view.title, view.state, run.name.short())
}

/// Answers where it was asked: to that person alone where the system has a way.
async fn say(app: &App, line: &Line, message: &InboundMessage, ask: &Ask, text: &str) -> Result<()> {
    match (&ask.reply_url, &ask.place) {
        (Some(url), _) => {
            let input = json!({ "response_url": url, "response_type": "ephemeral", "replace_original": false,
                                "text": slack::escape(text) });
            line.call(app, "interactions.respond", input).await.map(drop)
        }
        (None, Some(Where::Github { repo, number })) => {
            // By its marker, it is there once however often it is answered.
            let marker = format!("answer/{}", message.name.inbound_message);
            let body = format!("@{} {text}", ask.account.display_name);
            let input = json!({ "repo": repo, "number": number, "marker": marker, "body": body });
            line.call(app, "pulls.comment", input).await.map(drop)
        }
        (None, Some(Where::Slack { channel })) => {
            // An account of Slack is a workspace and a person.
            let user = ask.account.id.rsplit('/').next();
            let input = json!({ "channel": channel, "user": user, "text": slack::escape(text) });
            line.call(app, "messages.ephemeral", input).await.map(drop)
        }
        (None, None) => Ok(()),
    }
}
