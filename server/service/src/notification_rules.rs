//! Rules on who is told what of what happens.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use freehold_domain::{
    Error, Result, Violations,
    access::Caller,
    connections::Connector,
    events::{self, Event},
    names::{Id, NotificationRuleName, TenantName, shown},
    notification_rules::{Escalation, Group, Message, NotificationRule, QuietHours, StateChange, Terms, Told},
    notifications::Notification,
    quotas::Dimension,
    resource::{Described, Labels, Listed, Meta, Page},
    time::{Timestamp, Uid},
};
use freehold_store::{Session, Tx, connections, notification_groups, notification_rules, notifications};
use serde_json::Value;

use crate::{
    app::{App, Place, Write},
    connections::USE,
    events::is_visible,
};

/// Events that a preview looks at.
const LOOKED_AT: u32 = 1000;
/// The most notifications that a preview shows.
const SHOWN: usize = 50;
/// Where the request has the rule.
const FIELD: &str = "notification_rule";

/// What a new rule is.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct CreateNotificationRule {
    pub parent: TenantName,
    pub id: Option<Id>,
    pub described: Described,
    pub terms: Terms,
    pub enabled: bool,
}

/// What changes; `None` stays.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct UpdateNotificationRule {
    pub name: NotificationRuleName,
    pub display_name: Option<String>,
    pub labels: Option<Labels>,
    pub below: Option<String>,
    pub kinds: Option<Vec<String>>,
    pub filter: Option<String>,
    pub group_by: Option<String>,
    pub wait: Option<Duration>,
    pub dedup_window: Option<Duration>,
    pub digest_cron: Option<String>,
    pub quiet_hours: Option<Vec<QuietHours>>,
    pub time_zone: Option<String>,
    pub state_change: Option<Option<StateChange>>,
    pub message: Option<Message>,
    pub escalations: Option<Vec<Escalation>>,
    pub enabled: Option<bool>,
}

/// What a rule would have told.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct Preview {
    pub notifications: Vec<Notification>,
    pub notification_count: usize,
    pub events_read: usize,
    pub events_matched: usize,
    pub oldest: Option<Timestamp>,
}

/// Creates a rule.
pub async fn create(app: &App, caller: &Caller, cmd: CreateNotificationRule, write: &Write) -> Result<NotificationRule> {
    let place = app.enter(caller, &cmd.parent, &cmd.parent.to_string()).await?;
    let mut tx = app.store.begin(caller, place.scope, &write.key).await?;
    if let Some(done) = tx.replayed()? {
        return Ok(done);
    }
    let uid = tx.uid();
    let name = NotificationRuleName {
        tenant: cmd.parent.tenant.clone(),
        notification_rule: cmd.id.unwrap_or_else(|| Id::generated("rule", uid)),
    };
    let rule = NotificationRule {
        name,
        meta: Meta::new(uid, cmd.described, &caller.principal, tx.now()),
        disabled: !cmd.enabled,
        since: tx.now(),
        terms: completed(cmd.terms, &cmd.parent),
    };
    expect_right(app, caller, &mut tx, &place, &rule).await?;
    notification_rules::insert(&mut tx, place.scope, &cmd.parent.to_string(), &rule).await?;
    tx.announce(Event::new("notification_rule.created", &rule.name, uid, 1));
    tx.take(Dimension::NotificationRules, 1);
    app.finish(tx, write, &rule).await?;
    Ok(rule)
}

/// Returns a rule.
pub async fn get(app: &App, caller: &Caller, name: &NotificationRuleName) -> Result<Arc<NotificationRule>> {
    let place = app.enter(caller, &name.tenant_name(), &name.to_string()).await?;
    app.store.newest(name, async |db: &mut Session| find(db, &place, name).await).await
}

/// Lists the rules of a tenant.
pub async fn list(app: &App, caller: &Caller, parent: &TenantName, page: Page) -> Result<Listed<NotificationRule>> {
    let place = app.enter(caller, parent, &parent.to_string()).await?;
    notification_rules::list(&mut app.store.read().await?, place.scope, &parent.to_string(), page).await
}

/// Changes a rule. What it has gathered is told by what it says now.
pub async fn update(app: &App, caller: &Caller, cmd: UpdateNotificationRule, write: &Write) -> Result<NotificationRule> {
    let place = app.enter(caller, &cmd.name.tenant_name(), &cmd.name.to_string()).await?;
    let mut tx = app.store.begin(caller, place.scope, &write.key).await?;
    if let Some(done) = tx.replayed()? {
        return Ok(done);
    }
    let mut rule = find(&mut tx, &place, &cmd.name).await?;
    rule.meta.expect_etag(write.etag.as_deref())?;
    let before = rule.clone();
    rule.meta.describe(cmd.display_name, cmd.labels);
    let terms = rule.terms;
    let terms = Terms {
        below: cmd.below.unwrap_or(terms.below),
        kinds: cmd.kinds.unwrap_or(terms.kinds),
        filter: cmd.filter.unwrap_or(terms.filter),
        group_by: cmd.group_by.unwrap_or(terms.group_by),
        wait: cmd.wait.unwrap_or(terms.wait),
        dedup_window: cmd.dedup_window.unwrap_or(terms.dedup_window),
        digest_cron: cmd.digest_cron.unwrap_or(terms.digest_cron),
        quiet_hours: cmd.quiet_hours.unwrap_or(terms.quiet_hours),
        time_zone: cmd.time_zone.unwrap_or(terms.time_zone),
        state_change: cmd.state_change.unwrap_or(terms.state_change),
        message: cmd.message.unwrap_or(terms.message),
        escalations: cmd.escalations.unwrap_or(terms.escalations),
    };
    rule.terms = completed(terms, &cmd.name.tenant_name());
    if let Some(enabled) = cmd.enabled
        && enabled == rule.disabled
    {
        (rule.disabled, rule.since) = (!enabled, tx.now());
    }
    expect_right(app, caller, &mut tx, &place, &rule).await?;
    if rule != before {
        let kind = match (before.disabled, rule.disabled) {
            (false, true) => "notification_rule.disabled",
            (true, false) => "notification_rule.enabled",
            _ => "notification_rule.updated",
        };
        rule.meta.touch(tx.now());
        notification_rules::update(&mut tx, place.scope, &rule).await?;
        tx.announce(Event::new(kind, &rule.name, rule.meta.uid, rule.meta.version));
    }
    app.finish(tx, write, &rule).await?;
    Ok(rule)
}

/// Deletes a rule with what it has gathered and told. What is on its way is given up.
pub async fn delete(app: &App, caller: &Caller, name: &NotificationRuleName, allow_missing: bool, write: &Write) -> Result<()> {
    let place = app.enter(caller, &name.tenant_name(), &name.to_string()).await?;
    let mut tx = app.store.begin(caller, place.scope, &write.key).await?;
    if tx.replayed::<()>()?.is_some() {
        return Ok(());
    }
    let rule = match notification_rules::get(&mut tx, place.scope, name).await? {
        None if allow_missing => return app.finish(tx, write, &()).await,
        None => return Err(Error::not_found(name)),
        Some(rule) => rule,
    };
    rule.meta.expect_etag(write.etag.as_deref())?;
    notification_rules::delete(&mut tx, place.scope, &rule).await?;
    notification_groups::delete_all(&mut tx, place.scope, rule.meta.uid).await?;
    notifications::delete_all(&mut tx, place.scope, rule.meta.uid).await?;
    tx.announce(Event::new("notification_rule.deleted", name, rule.meta.uid, rule.meta.version + 1));
    tx.take(Dimension::NotificationRules, -1);
    app.finish(tx, write, &()).await
}

/// Plays the newest events that the caller may see into a rule, and answers what it would have told. Nothing is written or sent.
pub async fn preview(app: &App, caller: &Caller, parent: &TenantName, terms: Terms) -> Result<Preview> {
    let place = app.enter(caller, parent, &parent.to_string()).await?;
    let terms = completed(terms, parent);
    let mut wrong = Violations::new();
    let compiled = terms.compile(&parent.to_string(), FIELD, &mut wrong);
    wrong.finish()?;
    app.store.place_events().await?;
    let read = freehold_store::events::newest(&mut app.store.read().await?, place.scope, LOOKED_AT).await?;
    let name =
        NotificationRuleName { tenant: parent.tenant.clone(), notification_rule: Id::generated("preview", Uid::default()) };
    let now = app.now();
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    let mut told: Vec<(Timestamp, Notification)> = Vec::new();
    let mut tell = |group: &mut Group, until: Timestamp| {
        if let Some(due) = group.gathered.as_ref().map(|gathered| gathered.due).filter(|due| *due <= until)
            && let Some(Told { notification, .. }) = compiled.tell(group, &name, Uid::default(), due, &app.console)
        {
            told.push((due, notification));
        }
    };
    let mut events_matched = 0;
    for logged in read.iter().filter(|logged| is_visible(caller, logged, now) && compiled.wants(logged)) {
        events_matched += 1;
        let facts = events::facts(logged);
        let time = logged.announced.time;
        let key = compiled.group(&facts);
        let group = groups.entry(key.clone()).or_insert_with(|| Group { key, ..Group::default() });
        tell(group, time);
        compiled.notice(group, &facts, time, time);
    }
    groups.values_mut().for_each(|group| tell(group, Timestamp::from_micros(i64::MAX)));
    told.sort_by_key(|(due, _)| *due);
    Ok(Preview {
        notification_count: told.len(),
        notifications: told.into_iter().rev().take(SHOWN).rev().map(|(_, notification)| notification).collect(),
        events_read: read.len(),
        events_matched,
        oldest: read.first().map(|logged| logged.announced.time),
    })
}

pub(crate) async fn find(db: &mut Session, place: &Place, name: &NotificationRuleName) -> Result<NotificationRule> {
    notification_rules::get(db, place.scope, name).await?.ok_or_else(|| Error::not_found(name))
}

/// With what is left out: a rule is about its whole tenant.
fn completed(terms: Terms, tenant: &TenantName) -> Terms {
    if terms.below.is_empty() { Terms { below: tenant.to_string(), ..terms } } else { terms }
}

/// Everything that is wrong with a rule. Who writes it must be allowed to use its connections, because from then on it uses them.
async fn expect_right(app: &App, caller: &Caller, tx: &mut Tx, place: &Place, rule: &NotificationRule) -> Result<()> {
    let mut wrong = Violations::new();
    let terms = &rule.terms;
    terms.compile(&rule.name.tenant_name().to_string(), FIELD, &mut wrong);
    let escalations = terms.escalations.iter().enumerate();
    let escalations = escalations.map(|(at, one)| (format!("{FIELD}.escalations[{at}].message"), &one.message));
    for (field, message) in std::iter::once((format!("{FIELD}.message"), &terms.message)).chain(escalations) {
        let name = &message.connection;
        if name.tenant != rule.name.tenant {
            wrong.add(format!("{field}.connection"), format!("a connection of {}", rule.name.tenant_name()));
            continue;
        }
        caller.require_permission(USE, &name.to_string(), app.now())?;
        let Some(connection) = connections::get(tx, place.scope, name).await? else {
            wrong.add(format!("{field}.connection"), format!("{name} does not exist; create it first"));
            continue;
        };
        if let Some(connector) = app.connectors.catalogue().iter().find(|known| known.kind == connection.connector) {
            check_message(connector, message, &field, &mut wrong);
        }
    }
    wrong.finish()
}

/// What can be said of an input before its templates are filled: which operation it is for, and which parts that one has.
fn check_message(connector: &Connector, message: &Message, field: &str, wrong: &mut Violations) {
    let Some(operation) = connector.operations.iter().find(|known| known.name == message.operation) else {
        let names = connector.operations.iter().map(|known| known.name).collect::<Vec<_>>().join(", ");
        let kind = connector.kind;
        wrong.add(format!("{field}.operation"), format!("{kind} has no such operation; there are {names}"));
        return;
    };
    let names = |part: &str| operation.input.get(part).and_then(Value::as_object).map(|fields| fields.keys().cloned().collect());
    let known: Option<BTreeSet<String>> = names("properties");
    if let Some(known) = &known
        && operation.input.get("additionalProperties") == Some(&Value::Bool(false))
    {
        for key in message.input.keys().filter(|key| !known.contains(*key)) {
            let names = known.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
            wrong.add(format!("{field}.input.{}", shown(key)), format!("{} has no such part; there are {names}", operation.name));
        }
    }
    let required = operation.input.get("required").and_then(Value::as_array).into_iter().flatten();
    for key in required.filter_map(Value::as_str).filter(|key| !message.input.contains_key(*key)) {
        wrong.add(format!("{field}.input.{key}"), format!("required by {}", operation.name));
    }
}
