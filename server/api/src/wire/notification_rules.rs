//! NotificationService.

use std::time::Duration;

use freehold_domain::{
    Result,
    names::{NotificationRuleName, TenantName},
    notification_rules::{Escalation, MAX_STEPS, Message, NotificationRule, QuietHours, StateChange, Terms},
};
use freehold_proto::integrations::v1 as pb;
use freehold_service::{
    notification_rules::{self, CreateNotificationRule, UpdateNotificationRule},
    notifications,
};
use tonic::{Request, Response, Status};

use super::{Wire, notifications as told, parse, render, write};

const WRITABLE: [&str; 15] = [
    "display_name",
    "labels",
    "below",
    "kinds",
    "filter",
    "group_by",
    "wait",
    "dedup_window",
    "digest_cron",
    "quiet_hours",
    "time_zone",
    "state_change",
    "message",
    "escalations",
    "state",
];

#[tonic::async_trait]
impl pb::notification_service_server::NotificationService for Wire {
    async fn create_notification_rule(
        &self,
        request: Request<pb::CreateNotificationRuleRequest>,
    ) -> Result<Response<pb::CreateNotificationRuleResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let (write, cmd) = parse::both(write(&body, &body.request_id, body.validate_only, ""), create(body))?;
            let rule = notification_rules::create(&self.app, &caller, cmd, &write).await?;
            Ok(pb::CreateNotificationRuleResponse { notification_rule: Some(message(&rule)) })
        })
        .await
    }

    async fn get_notification_rule(
        &self,
        request: Request<pb::GetNotificationRuleRequest>,
    ) -> Result<Response<pb::GetNotificationRuleResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let rule = notification_rules::get(&self.app, &caller, &parse::name("name", &body.name)?).await?;
            Ok(pb::GetNotificationRuleResponse { notification_rule: Some(message(&rule)) })
        })
        .await
    }

    async fn list_notification_rules(
        &self,
        request: Request<pb::ListNotificationRulesRequest>,
    ) -> Result<Response<pb::ListNotificationRulesResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let list = format!("notificationRules|{}", body.parent);
            let mut fields = parse::Fields::new();
            let parent = fields.text::<TenantName>("parent", &body.parent);
            let page = fields.page(body.page_size, &body.page_token, false, &list)?;
            let listed = notification_rules::list(&self.app, &caller, &fields.finish(|| parent)?, page).await?;
            Ok(pb::ListNotificationRulesResponse {
                notification_rules: listed.items.iter().map(message).collect(),
                next_page_token: parse::next_page_token(listed.next, &list),
            })
        })
        .await
    }

    async fn update_notification_rule(
        &self,
        request: Request<pb::UpdateNotificationRuleRequest>,
    ) -> Result<Response<pb::UpdateNotificationRuleResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let etag = body.notification_rule.as_ref().map(|rule| rule.etag.as_str()).unwrap_or_default();
            let (write, cmd) = parse::both(write(&body, &body.request_id, body.validate_only, etag), update(body))?;
            let rule = notification_rules::update(&self.app, &caller, cmd, &write).await?;
            Ok(pb::UpdateNotificationRuleResponse { notification_rule: Some(message(&rule)) })
        })
        .await
    }

    async fn delete_notification_rule(
        &self,
        request: Request<pb::DeleteNotificationRuleRequest>,
    ) -> Result<Response<pb::DeleteNotificationRuleResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let (write, name) = parse::both(write(&body, &body.request_id, false, &body.etag), parse::name("name", &body.name))?;
            notification_rules::delete(&self.app, &caller, &name, body.allow_missing, &write).await?;
            Ok(pb::DeleteNotificationRuleResponse {})
        })
        .await
    }

    async fn preview_notification_rule(
        &self,
        request: Request<pb::PreviewNotificationRuleRequest>,
    ) -> Result<Response<pb::PreviewNotificationRuleResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let mut fields = parse::Fields::new();
            let parent = fields.text::<TenantName>("parent", &body.parent);
            let terms = terms(&mut fields, &body.notification_rule.unwrap_or_default());
            let (parent, terms) = fields.finish(|| Some((parent?, terms?)))?;
            let preview = notification_rules::preview(&self.app, &caller, &parent, terms).await?;
            let count = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
            Ok(pb::PreviewNotificationRuleResponse {
                notifications: preview.notifications.iter().map(told::previewed).collect(),
                notification_count: count(preview.notification_count),
                event_count: count(preview.events_read),
                wanted_event_count: count(preview.events_matched),
                oldest_event_time: preview.oldest.map(render::time),
            })
        })
        .await
    }

    async fn list_notifications(
        &self,
        request: Request<pb::ListNotificationsRequest>,
    ) -> Result<Response<pb::ListNotificationsResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let list = format!("notifications|{}|{}", body.parent, body.state);
            let mut fields = parse::Fields::new();
            let parent = fields.text::<NotificationRuleName>("parent", &body.parent);
            let state = fields.check("state", told::state(body.state)).flatten();
            let page = fields.page(body.page_size, &body.page_token, true, &list)?;
            let listed = notifications::list(&self.app, &caller, &fields.finish(|| parent)?, state, page).await?;
            Ok(pb::ListNotificationsResponse {
                notifications: listed.items.iter().map(told::message).collect(),
                next_page_token: parse::next_page_token(listed.next, &list),
            })
        })
        .await
    }

    async fn get_notification(
        &self,
        request: Request<pb::GetNotificationRequest>,
    ) -> Result<Response<pb::GetNotificationResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let found = notifications::get(&self.app, &caller, &parse::name("name", &body.name)?).await?;
            Ok(pb::GetNotificationResponse { notification: Some(told::message(&found)) })
        })
        .await
    }

    async fn acknowledge_notification(
        &self,
        request: Request<pb::AcknowledgeNotificationRequest>,
    ) -> Result<Response<pb::AcknowledgeNotificationResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let (write, name) = parse::both(write(&body, &body.request_id, false, ""), parse::name("name", &body.name))?;
            let found = notifications::acknowledge(&self.app, &caller, &name, &write).await?;
            Ok(pb::AcknowledgeNotificationResponse { notification: Some(told::message(&found)) })
        })
        .await
    }

    async fn retry_notification(
        &self,
        request: Request<pb::RetryNotificationRequest>,
    ) -> Result<Response<pb::RetryNotificationResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let (write, name) = parse::both(write(&body, &body.request_id, false, ""), parse::name("name", &body.name))?;
            let found = notifications::retry(&self.app, &caller, &name, &write).await?;
            Ok(pb::RetryNotificationResponse { notification: Some(told::message(&found)) })
        })
        .await
    }
}

fn create(body: pb::CreateNotificationRuleRequest) -> Result<CreateNotificationRule> {
    let mut fields = parse::Fields::new();
    let parent = fields.text("parent", &body.parent);
    let id = fields.id("notification_rule_id", &body.notification_rule_id);
    let rule = body.notification_rule.unwrap_or_default();
    let described = fields.described("notification_rule", rule.display_name.clone(), rule.labels.clone());
    let terms = terms(&mut fields, &rule);
    let enabled = rule.state() != pb::NotificationRuleState::Disabled;
    fields.finish(|| Some(CreateNotificationRule { parent: parent?, id, described, terms: terms?, enabled }))
}

fn update(body: pb::UpdateNotificationRuleRequest) -> Result<UpdateNotificationRule> {
    let mask = parse::Mask::new(body.update_mask.as_ref(), &WRITABLE)?;
    let mut fields = parse::Fields::new();
    let rule = body.notification_rule.unwrap_or_default();
    let name = fields.text("notification_rule.name", &rule.name);
    let described = fields.described("notification_rule", rule.display_name.clone(), rule.labels.clone());
    let enabled = match rule.state() {
        pb::NotificationRuleState::Enabled => Some(true),
        pb::NotificationRuleState::Disabled => Some(false),
        pb::NotificationRuleState::Unspecified => None,
    };
    if enabled.is_none() && mask.writes("state", false) {
        fields.wrong("notification_rule.state", "ENABLED or DISABLED");
    }
    let message = mask.writes("message", rule.message.is_some()).then(|| one(&mut fields, "message", rule.message.as_ref()));
    let quiet_hours = mask.writes("quiet_hours", !rule.quiet_hours.is_empty()).then(|| quiet_hours(&mut fields, &rule));
    let escalations = mask.writes("escalations", !rule.escalations.is_empty()).then(|| escalations(&mut fields, &rule));
    let wait = mask.take("wait", rule.wait.is_some(), time(&mut fields, "wait", rule.wait));
    let window = time(&mut fields, "dedup_window", rule.dedup_window);
    let dedup_window = mask.take("dedup_window", rule.dedup_window.is_some(), window);
    fields.finish(|| {
        let text = |field: &str, text: &str| mask.take(field, !text.is_empty(), text.to_owned());
        Some(UpdateNotificationRule {
            name: name?,
            display_name: mask.take("display_name", !rule.display_name.is_empty(), described.display_name),
            labels: mask.take("labels", !rule.labels.is_empty(), described.labels),
            below: text("below", &rule.below),
            filter: text("filter", &rule.filter),
            group_by: text("group_by", &rule.group_by),
            wait,
            dedup_window,
            digest_cron: text("digest_cron", &rule.digest_cron),
            quiet_hours,
            time_zone: text("time_zone", &rule.time_zone),
            state_change: mask.take("state_change", rule.state_change.is_some(), rule.state_change.map(change)),
            message: message.flatten(),
            escalations,
            enabled: mask.take("state", enabled.is_some(), enabled).flatten(),
            kinds: mask.take("kinds", !rule.kinds.is_empty(), rule.kinds),
        })
    })
}

/// What a rule says, as far as it has a form; whether it makes sense is for the domain to say.
fn terms(fields: &mut parse::Fields, rule: &pb::NotificationRule) -> Option<Terms> {
    let message = one(fields, "message", rule.message.as_ref());
    let (quiet_hours, escalations) = (quiet_hours(fields, rule), escalations(fields, rule));
    let (wait, dedup_window) = (time(fields, "wait", rule.wait), time(fields, "dedup_window", rule.dedup_window));
    Some(Terms {
        below: rule.below.clone(),
        kinds: rule.kinds.clone(),
        filter: rule.filter.clone(),
        group_by: rule.group_by.clone(),
        wait,
        dedup_window,
        digest_cron: rule.digest_cron.clone(),
        quiet_hours,
        time_zone: rule.time_zone.clone(),
        state_change: rule.state_change.clone().map(change),
        message: message?,
        escalations,
    })
}

/// A time; none when it is not given.
fn time(fields: &mut parse::Fields, field: &str, given: Option<prost_types::Duration>) -> Duration {
    let given = given.filter(|given| *given != prost_types::Duration::default());
    fields.duration(&format!("notification_rule.{field}"), given).unwrap_or_default()
}

fn one(fields: &mut parse::Fields, field: &str, given: Option<&pb::NotificationMessage>) -> Option<Message> {
    let at = |part: &str| format!("notification_rule.{field}.{part}");
    let Some(given) = given else {
        fields.wrong(&format!("notification_rule.{field}"), "required: a connection, its operation, and what to send");
        return None;
    };
    let connection = fields.text(&at("connection"), &given.connection);
    if given.operation.is_empty() {
        fields.wrong(&at("operation"), "required: an operation of the connection");
    }
    let input = fields.object(&at("input"), given.input.clone().unwrap_or_default());
    Some(Message { connection: connection?, operation: given.operation.clone(), input })
}

fn quiet_hours(fields: &mut parse::Fields, rule: &pb::NotificationRule) -> Vec<QuietHours> {
    // One more than allowed is enough to be told so.
    let quiet = rule.quiet_hours.iter().take(MAX_STEPS + 1).enumerate();
    let read = quiet.map(|(at, quiet)| QuietHours {
        start_cron: quiet.start_cron.clone(),
        duration: time(fields, &format!("quiet_hours[{at}].duration"), quiet.duration),
    });
    read.collect()
}

fn escalations(fields: &mut parse::Fields, rule: &pb::NotificationRule) -> Vec<Escalation> {
    let escalations = rule.escalations.iter().take(MAX_STEPS + 1).enumerate();
    let read = escalations.filter_map(|(at, escalation)| {
        let after = time(fields, &format!("escalations[{at}].after"), escalation.after);
        let message = one(fields, &format!("escalations[{at}].message"), escalation.message.as_ref())?;
        Some(Escalation { after, message })
    });
    read.collect()
}

fn change(change: pb::StateChange) -> StateChange {
    StateChange { raised: change.raised, recovered: change.recovered }
}

fn message(rule: &NotificationRule) -> pb::NotificationRule {
    let (meta, terms) = (&rule.meta, &rule.terms);
    let state = if rule.disabled { pb::NotificationRuleState::Disabled } else { pb::NotificationRuleState::Enabled };
    let given = |time: Duration| (!time.is_zero()).then(|| render::duration(time));
    pb::NotificationRule {
        name: rule.name.to_string(),
        uid: meta.uid.to_string(),
        etag: meta.etag(),
        display_name: meta.display_name.clone(),
        labels: meta.labels.clone(),
        create_time: Some(render::time(meta.create_time)),
        update_time: Some(render::time(meta.update_time)),
        create_principal: meta.creator.clone(),
        below: terms.below.clone(),
        kinds: terms.kinds.clone(),
        filter: terms.filter.clone(),
        group_by: terms.group_by.clone(),
        wait: given(terms.wait),
        dedup_window: given(terms.dedup_window),
        digest_cron: terms.digest_cron.clone(),
        quiet_hours: terms
            .quiet_hours
            .iter()
            .map(|quiet| pb::QuietHours { start_cron: quiet.start_cron.clone(), duration: given(quiet.duration) })
            .collect(),
        time_zone: terms.time_zone.clone(),
        state_change: terms
            .state_change
            .as_ref()
            .map(|change| pb::StateChange { raised: change.raised.clone(), recovered: change.recovered.clone() }),
        message: Some(one_message(&terms.message)),
        escalations: terms
            .escalations
            .iter()
            .map(|escalation| pb::Escalation { after: given(escalation.after), message: Some(one_message(&escalation.message)) })
            .collect(),
        state: state.into(),
    }
}

fn one_message(message: &Message) -> pb::NotificationMessage {
    pb::NotificationMessage {
        connection: message.connection.to_string(),
        operation: message.operation.clone(),
        input: Some(render::object(&message.input)),
    }
}
