//! Notifications: gathered by rules, told when it is time, and passed on by connections until they arrive.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
    time::Duration,
};

use freehold_domain::{
    Error, Reason, Result,
    access::{Caller, TenantScope},
    events::{self, Event, Logged},
    fault,
    names::{NotificationName, NotificationRuleName},
    notification_rules::{Compiled, Group, MAX_GROUPS, NotificationRule, OVERFLOW},
    notifications::{Notification, Outcome, SendState},
    resource::{Listed, Page},
    time::{Timestamp, Uid},
};
use freehold_store::{INSTALLATION, Tx, notification_groups, notification_rules as rules, notifications};
use serde_json::json;
use tokio::sync::Notify;

use crate::{
    app::{App, Place, Write},
    connections::target,
    connectors::Call,
    duty::{CLAIMED, carry_out},
    fan_out,
    notification_rules::find,
    webhook_deliveries::chance,
};

/// Groups that are told of in one go.
const TOLD: u32 = 100;
/// How long whoever claims a notification has it, and how long one call may take.
const LEASE: Duration = Duration::from_secs(120);
const CALL: Duration = Duration::from_secs(30);
/// How long a notification is kept after it is over, and a group after something has happened to it.
pub const KEPT: Duration = Duration::from_secs(30 * 86_400);

/// What this replica knows to be due.
#[derive(Default)]
pub(crate) struct Notifications {
    gathered: Notify,
    due: Notify,
}

impl Notifications {
    /// Something was gathered.
    pub(crate) fn wake(&self) {
        self.gathered.notify_one();
    }
}

/// Lists what a rule has told, newest first.
pub async fn list(
    app: &App,
    caller: &Caller,
    parent: &NotificationRuleName,
    state: Option<SendState>,
    page: Page,
) -> Result<Listed<Notification>> {
    let place = app.enter(caller, &parent.tenant_name(), &parent.to_string()).await?;
    let mut db = app.store.read().await?;
    let rule = find(&mut db, &place, parent).await?;
    notifications::list(&mut db, place.scope, rule.meta.uid, state, page).await
}

/// Returns a notification.
pub async fn get(app: &App, caller: &Caller, name: &NotificationName) -> Result<Notification> {
    let place = app.enter(caller, &name.tenant_name(), &name.to_string()).await?;
    let mut db = app.store.read().await?;
    let rule = find(&mut db, &place, &name.notification_rule_name()).await?;
    let found = notifications::get(&mut db, place.scope, rule.meta.uid, name.notification).await?;
    found.ok_or_else(|| Error::not_found(name))
}

/// Says that the caller has seen it: nobody else is told.
pub async fn acknowledge(app: &App, caller: &Caller, name: &NotificationName, write: &Write) -> Result<Notification> {
    change(app, caller, name, write, |notification, now| {
        let new = notification.acknowledge(&caller.principal.to_string(), now);
        Ok(new.then_some("notification.acknowledged"))
    })
    .await
}

/// Has what did not get through sent again.
pub async fn retry(app: &App, caller: &Caller, name: &NotificationName, write: &Write) -> Result<Notification> {
    let retried = change(app, caller, name, write, |notification, now| {
        if notification.retry(now) {
            return Ok(Some("notification.retried"));
        }
        let why = format!("nothing of {name} failed or was skipped; there is nothing to send again");
        let state = notification.state().as_str();
        Err(Error::new(Reason::StateNotAllowed, why).with("state", state).with("allowed_states", "FAILED, SKIPPED"))
    })
    .await?;
    app.notifications.due.notify_one();
    Ok(retried)
}

/// Changes one, and announces what that was.
async fn change(
    app: &App,
    caller: &Caller,
    name: &NotificationName,
    write: &Write,
    change: impl FnOnce(&mut Notification, Timestamp) -> Result<Option<&'static str>>,
) -> Result<Notification> {
    let place = app.enter(caller, &name.tenant_name(), &name.to_string()).await?;
    let mut tx = app.store.begin(caller, place.scope, &write.key).await?;
    if let Some(done) = tx.replayed()? {
        return Ok(done);
    }
    let rule = find(&mut tx, &place, &name.notification_rule_name()).await?;
    let held = notifications::hold(&mut tx, place.scope, rule.meta.uid, name.notification).await?;
    let mut notification = held.ok_or_else(|| Error::not_found(name))?;
    if let Some(kind) = change(&mut notification, tx.now())? {
        notifications::update(&mut tx, place.scope, &notification).await?;
        tx.announce(event(kind, &notification));
    }
    app.finish(tx, write, &notification).await?;
    Ok(notification)
}

fn event(kind: &str, notification: &Notification) -> Event {
    let version = notification.sends.iter().map(|send| i64::from(send.attempt_count)).sum();
    let facts = json!({
        "group": notification.group,
        "alarm": notification.alarm,
        "count": notification.count,
        "state": notification.state(),
    });
    Event::new(kind, &notification.name, notification.name.notification, version).with(facts)
}

/// Notes events in the groups of the rules that want them. The caller holds the place in the log, so nobody else does so meanwhile.
pub(crate) async fn gather(tx: &mut Tx, notices: &[(Arc<(NotificationRule, Compiled)>, &Logged)]) -> Result<()> {
    let now = tx.now();
    let mut groups: BTreeMap<(Uid, Uid, String), (Group, bool)> = BTreeMap::new();
    let mut gathering: BTreeMap<Uid, usize> = BTreeMap::new();
    for (rule, logged) in notices {
        let (rule, compiled) = &**rule;
        let (tenant, uid) = (TenantScope(logged.tenant), rule.meta.uid);
        let facts = events::facts(logged);
        let mut key = (tenant.0, uid, compiled.group(&facts));
        if !groups.contains_key(&key) {
            let mut group = notification_groups::get(tx, tenant, uid, &key.2).await?;
            if group.as_ref().is_none_or(|group| group.gathered.is_none()) {
                let count = match gathering.entry(uid) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(unknown) => {
                        let count = notification_groups::gathering(tx, tenant, uid).await?;
                        unknown.insert(usize::try_from(count).unwrap_or_default())
                    }
                };
                if *count >= MAX_GROUPS {
                    key.2 = OVERFLOW.to_owned();
                    group = notification_groups::get(tx, tenant, uid, OVERFLOW).await?;
                } else {
                    *count += 1;
                }
            }
            if !groups.contains_key(&key) {
                let group = group.unwrap_or_else(|| Group { key: key.2.clone(), ..Group::default() });
                groups.insert(key.clone(), (group, false));
            }
        }
        if let Some((group, changed)) = groups.get_mut(&key) {
            *changed |= compiled.notice(group, &facts, logged.announced.time, now);
        }
    }
    for ((tenant, rule, _), (group, changed)) in &groups {
        if *changed {
            notification_groups::put(tx, TenantScope(*tenant), *rule, group).await?;
        }
    }
    Ok(())
}

/// Makes notifications of the groups whose time has come; answers whether there may be more.
pub async fn tell(app: &App) -> Result<bool> {
    if !notification_groups::any_due(&mut app.store.read().await?, app.now()).await? {
        return Ok(false);
    }
    let mut tx = app.store.begin_as("server", INSTALLATION).await?;
    // Whoever gathers holds it as well: a group is changed by one of them at a time.
    fan_out::hold(&mut tx).await?;
    let due = notification_groups::due(&mut tx, TOLD).await?;
    let now = tx.now();
    for notification_groups::Due { tenant, rule, mut group } in due.iter().cloned() {
        let found = rules::by_uid(&mut tx, tenant, rule).await?;
        let Some(found) = found.filter(|rule| !rule.disabled) else {
            group.gathered = None;
            notification_groups::put(&mut tx, tenant, rule, &group).await?;
            continue;
        };
        let uid = tx.uid();
        if let Some(told) = found.compiled().tell(&mut group, &found.name, uid, now, &app.console) {
            notifications::insert(&mut tx, tenant, rule, &told.notification).await?;
            if let Some(over) = told.over
                && let Some(mut raised) = notifications::hold(&mut tx, tenant, rule, over).await?
            {
                raised.end_escalations();
                notifications::update(&mut tx, tenant, &raised).await?;
            }
        }
        notification_groups::put(&mut tx, tenant, rule, &group).await?;
    }
    fault::point("notifications.decided");
    tx.commit(&()).await?;
    app.notifications.due.notify_one();
    Ok(due.len() == TOLD as usize)
}

/// Waits until this replica has gathered something, since the last wait.
pub async fn gathered(app: &App) {
    app.notifications.gathered.notified().await;
}

/// Takes what is due and passes it on, each in a task of its own; answers how many were taken.
pub async fn deliver(app: &Arc<App>) -> Result<usize> {
    let mut tx = app.store.begin_as("server", INSTALLATION).await?;
    let claims = notifications::claim(&mut tx, fault::time("notifications.lease", LEASE), CLAIMED).await?;
    if claims.is_empty() {
        return Ok(0);
    }
    tx.commit(&()).await?;
    let attempt = |app: Arc<App>, claim| async move { attempt(&app, claim).await };
    Ok(carry_out(app, claims, |claim| claim.notification.name.to_string(), attempt))
}

/// Waits until this replica knows of something that is due, since the last wait.
pub async fn due(app: &App) {
    app.notifications.due.notified().await;
}

async fn attempt(app: &App, mut claim: notifications::Claim) -> Result<()> {
    let Some(step) = claim.notification.next() else { return Ok(()) };
    let place = {
        let mut db = app.store.read().await?;
        app.place_by_scope(&mut db, claim.tenant).await?
    };
    let outcome = send(app, &place, &claim.notification, step).await;
    fault::point("notifications.delivered");
    let mut tx = app.store.begin_as("server", claim.tenant).await?;
    let now = tx.now();
    let before = claim.notification.sends[step].state;
    claim.notification.sends[step].tried(outcome, chance(app.random.as_ref()), now);
    if !notifications::report(&mut tx, &claim).await? {
        return Ok(());
    }
    let kind = match claim.notification.sends[step].state {
        state if state == before => None,
        SendState::Sent => Some("notification.sent"),
        SendState::Skipped => Some("notification.skipped"),
        SendState::Failed => Some("notification.failed"),
        SendState::Pending | SendState::Cancelled => None,
    };
    if let Some(kind) = kind {
        tx.announce(event(kind, &claim.notification));
    }
    tx.commit(&()).await?;
    app.metrics.notification_tried(claim.notification.sends[step].state);
    Ok(())
}

/// Calls the other system once.
async fn send(app: &App, place: &Place, notification: &Notification, step: usize) -> Outcome {
    let send = &notification.sends[step];
    let (connection, target) = match target(app, place, &send.connection).await {
        Ok(found) => found,
        Err(error) => return failed(&error),
    };
    if let Err(error) = connection.expect_enabled() {
        return failed(&error);
    }
    if connection.dry_run {
        return Outcome::Skipped(format!("{} changes nothing: it is in dry run", connection.name));
    }
    let call = Call {
        operation: send.operation.clone(),
        input: send.input.clone(),
        key: Some(notification.key(step)),
        dry_run: false,
        time: CALL,
    };
    match app.connectors.invoke(&target, call).await {
        Ok(_) => Outcome::Sent,
        Err(error) => failed(&error),
    }
}

/// What a failure means for a message that nobody waits for. Credentials that are refused may be mended before it is given up.
fn failed(error: &Error) -> Outcome {
    let why = error.message().to_owned();
    match error.reason() {
        Reason::ConnectionUnconfigured | Reason::ResourceNotFound => Outcome::Skipped(why),
        Reason::FieldInvalid | Reason::VendorRefused | Reason::VendorNotFound => Outcome::Failed(why),
        _ => Outcome::Later(why, error.retry_delay()),
    }
}
