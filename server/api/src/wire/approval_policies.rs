//! ApprovalPolicyService.

use std::time::Duration;

use freehold_domain::{
    Result,
    approvals::{ApprovalPolicy, Approver, MAX_FROM, MAX_RULES, Requirement, Rule},
    names::TenantName,
};
use freehold_proto::approvals::v1 as pb;
use freehold_service::approval_policies::{self, CreateApprovalPolicy, UpdateApprovalPolicy};
use tonic::{Request, Response, Status};

use super::{Wire, parse, render, write};

#[tonic::async_trait]
impl pb::approval_policy_service_server::ApprovalPolicyService for Wire {
    async fn create_approval_policy(
        &self,
        request: Request<pb::CreateApprovalPolicyRequest>,
    ) -> Result<Response<pb::CreateApprovalPolicyResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let (write, cmd) = parse::both(write(&body, &body.request_id, body.validate_only, ""), create(body))?;
            let policy = approval_policies::create(&self.app, &caller, cmd, &write).await?;
            Ok(pb::CreateApprovalPolicyResponse { approval_policy: Some(message(&policy)) })
        })
        .await
    }

    async fn get_approval_policy(
        &self,
        request: Request<pb::GetApprovalPolicyRequest>,
    ) -> Result<Response<pb::GetApprovalPolicyResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let policy = approval_policies::get(&self.app, &caller, &parse::name("name", &body.name)?).await?;
            Ok(pb::GetApprovalPolicyResponse { approval_policy: Some(message(&policy)) })
        })
        .await
    }

    async fn list_approval_policies(
        &self,
        request: Request<pb::ListApprovalPoliciesRequest>,
    ) -> Result<Response<pb::ListApprovalPoliciesResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let list = format!("approvalPolicies|{}", body.parent);
            let mut fields = parse::Fields::new();
            let parent = fields.text::<TenantName>("parent", &body.parent);
            let page = fields.page(body.page_size, &body.page_token, false, &list)?;
            let listed = approval_policies::list(&self.app, &caller, &fields.finish(|| parent)?, page).await?;
            Ok(pb::ListApprovalPoliciesResponse {
                approval_policies: listed.items.iter().map(message).collect(),
                next_page_token: parse::next_page_token(listed.next, &list),
            })
        })
        .await
    }

    async fn update_approval_policy(
        &self,
        request: Request<pb::UpdateApprovalPolicyRequest>,
    ) -> Result<Response<pb::UpdateApprovalPolicyResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let etag = body.approval_policy.as_ref().map(|policy| policy.etag.as_str()).unwrap_or_default();
            let (write, cmd) = parse::both(write(&body, &body.request_id, body.validate_only, etag), update(body))?;
            let policy = approval_policies::update(&self.app, &caller, cmd, &write).await?;
            Ok(pb::UpdateApprovalPolicyResponse { approval_policy: Some(message(&policy)) })
        })
        .await
    }

    async fn delete_approval_policy(
        &self,
        request: Request<pb::DeleteApprovalPolicyRequest>,
    ) -> Result<Response<pb::DeleteApprovalPolicyResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let (write, name) = parse::both(write(&body, &body.request_id, false, &body.etag), parse::name("name", &body.name))?;
            approval_policies::delete(&self.app, &caller, &name, body.allow_missing, &write).await?;
            Ok(pb::DeleteApprovalPolicyResponse {})
        })
        .await
    }
}

fn create(body: pb::CreateApprovalPolicyRequest) -> Result<CreateApprovalPolicy> {
    let mut fields = parse::Fields::new();
    let parent = fields.text("parent", &body.parent);
    let id = fields.id("approval_policy_id", &body.approval_policy_id);
    let policy = body.approval_policy.unwrap_or_default();
    let described = fields.described("approval_policy", policy.display_name, policy.labels);
    let description = fields.prose("approval_policy.description", policy.description, 1000);
    let rules = rules(&mut fields, policy.rules);
    fields.finish(|| Some(CreateApprovalPolicy { parent: parent?, id, described, description, rules }))
}

fn update(body: pb::UpdateApprovalPolicyRequest) -> Result<UpdateApprovalPolicy> {
    let mask = parse::Mask::new(body.update_mask.as_ref(), &["display_name", "labels", "description", "rules"])?;
    let mut fields = parse::Fields::new();
    let policy = body.approval_policy.unwrap_or_default();
    let name = fields.text("approval_policy.name", &policy.name);
    let (display_name, labels) = (!policy.display_name.is_empty(), !policy.labels.is_empty());
    let (description, has_rules) = (!policy.description.is_empty(), !policy.rules.is_empty());
    let described = fields.described("approval_policy", policy.display_name, policy.labels);
    let text = fields.prose("approval_policy.description", policy.description, 1000);
    let rules = rules(&mut fields, policy.rules);
    fields.finish(|| {
        Some(UpdateApprovalPolicy {
            name: name?,
            display_name: mask.take("display_name", display_name, described.display_name),
            labels: mask.take("labels", labels, described.labels),
            description: mask.take("description", description, text),
            rules: mask.take("rules", has_rules, rules),
        })
    })
}

/// The rules that have a form; whether they make sense is for the domain to say.
fn rules(fields: &mut parse::Fields, rules: Vec<pb::ApprovalRule>) -> Vec<Rule> {
    if rules.len() > MAX_RULES {
        fields.wrong("approval_policy.rules", format!("at most {MAX_RULES} rules"));
        return Vec::new();
    }
    let read = |(index, rule): (usize, pb::ApprovalRule)| {
        let at = |part: &str| format!("approval_policy.rules[{index}].{part}");
        let name = fields.text(&at("name"), &rule.name);
        let require = requirement(fields, &at("require"), rule.require.unwrap_or_default());
        Some(Rule { name: name?, when: rule.when, require: require? })
    };
    rules.into_iter().enumerate().filter_map(read).collect()
}

fn requirement(fields: &mut parse::Fields, field: &str, require: pb::ApprovalRequirement) -> Option<Requirement> {
    let approvals = u32::try_from(require.approvals).map_err(|_| "0 or more".to_owned());
    let approvals = fields.check(&format!("{field}.approvals"), approvals);
    if require.from.len() > MAX_FROM {
        fields.wrong(&format!("{field}.from"), format!("at most {MAX_FROM} roles and principals"));
        return None;
    }
    let from: Vec<Option<Approver>> =
        require.from.iter().enumerate().map(|(index, from)| fields.text(&format!("{field}.from[{index}]"), from)).collect();
    let mut time = |part: &str, time: Option<prost_types::Duration>| match time.map(Duration::try_from) {
        None => Some(None),
        Some(Ok(time)) => Some(Some(time)),
        Some(Err(_)) => {
            fields.wrong(&format!("{field}.{part}"), "one second to a year");
            None
        }
    };
    let (max_plan_age, expiry) = (time("max_plan_age", require.max_plan_age), time("expiry", require.expiry));
    Some(Requirement {
        approvals: approvals?,
        from: from.into_iter().collect::<Option<_>>()?,
        allow_self_approval: require.allow_self_approval,
        max_plan_age: max_plan_age?,
        expiry: expiry?,
        comment_required: require.comment_required,
    })
}

fn message(policy: &ApprovalPolicy) -> pb::ApprovalPolicy {
    let meta = &policy.meta;
    pb::ApprovalPolicy {
        name: policy.name.to_string(),
        uid: meta.uid.to_string(),
        etag: meta.etag(),
        display_name: meta.display_name.clone(),
        labels: meta.labels.clone(),
        create_time: Some(render::time(meta.create_time)),
        update_time: Some(render::time(meta.update_time)),
        create_principal: meta.creator.clone(),
        description: policy.description.clone(),
        rules: policy.rules.iter().map(rule_message).collect(),
        digest: policy.digest(),
    }
}

fn rule_message(rule: &Rule) -> pb::ApprovalRule {
    let require = &rule.require;
    let time = |time: Option<Duration>| time.and_then(|time| prost_types::Duration::try_from(time).ok());
    pb::ApprovalRule {
        name: rule.name.to_string(),
        when: rule.when.clone(),
        require: Some(pb::ApprovalRequirement {
            approvals: i32::try_from(require.approvals).unwrap_or(i32::MAX),
            from: require.from.iter().map(ToString::to_string).collect(),
            allow_self_approval: require.allow_self_approval,
            max_plan_age: time(require.max_plan_age),
            expiry: time(require.expiry),
            comment_required: require.comment_required,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wrong_field_of_every_rule_is_named_at_once() {
        let require = pb::ApprovalRequirement {
            approvals: -1,
            from: vec!["roles/approver".to_owned(), "nobody".to_owned(), String::new()],
            expiry: Some(prost_types::Duration { seconds: -1, nanos: 0 }),
            ..Default::default()
        };
        let rule = pb::ApprovalRule { name: "A".to_owned(), when: String::new(), require: Some(require) };
        let policy = pb::ApprovalPolicy { rules: vec![pb::ApprovalRule::default(), rule], ..Default::default() };
        let body = pb::CreateApprovalPolicyRequest {
            parent: "tenants/acme".to_owned(),
            approval_policy: Some(policy),
            ..Default::default()
        };
        let error = create(body).expect_err("six fields are wrong");
        let fields: Vec<&str> = error.violations().iter().map(|violation| violation.field.as_str()).collect();
        let at = "approval_policy.rules";
        let expected = [
            format!("{at}[0].name"),
            format!("{at}[1].name"),
            format!("{at}[1].require.approvals"),
            format!("{at}[1].require.from[1]"),
            format!("{at}[1].require.from[2]"),
            format!("{at}[1].require.expiry"),
        ];
        assert_eq!(fields, expected);
    }
}
