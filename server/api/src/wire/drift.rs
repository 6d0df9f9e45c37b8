//! DriftService.

use freehold_domain::{
    Result,
    drift::{DriftClass, DriftException, DriftItem, DriftItemState, DriftState, Matcher, pattern},
    names::{DeploymentName, DriftItemName, EnvironmentName, TenantName},
};
use freehold_proto::deployments::v1 as pb;
use freehold_service::drift::{self, AcceptDriftItem, AssignDriftItem, CreateDriftException, Filter, Of, Shown};
use tonic::{Request, Response, Status};

use super::{Wire, parse, render, write};

/// Characters of a reason or a note.
const PROSE: usize = 500;
/// Characters of a ticket.
const TICKET: usize = 200;

#[tonic::async_trait]
impl pb::drift_service_server::DriftService for Wire {
    async fn list_drift_items(
        &self,
        request: Request<pb::ListDriftItemsRequest>,
    ) -> Result<Response<pb::ListDriftItemsResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let list = format!("driftItems|{}|{:?}|{:?}", body.parent, body.states, body.classes);
            let mut fields = parse::Fields::new();
            let of = fields.check("parent", of(&body.parent));
            let states = fields.check("states", body.states.iter().map(|number| item_state(*number)).collect());
            let classes = fields.check("classes", body.classes.iter().map(|number| class(*number)).collect());
            let page = fields.page(body.page_size, &body.page_token, false, &list)?;
            let (of, filter) = fields.finish(|| Some((of?, Filter { states: states?, classes: classes? })))?;
            let listed = drift::list(&self.app, &caller, &of, &filter, page).await?;
            Ok(pb::ListDriftItemsResponse {
                drift_items: listed.items.iter().map(message).collect(),
                next_page_token: parse::next_page_token(listed.next, &list),
            })
        })
        .await
    }

    async fn get_drift_item(
        &self,
        request: Request<pb::GetDriftItemRequest>,
    ) -> Result<Response<pb::GetDriftItemResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let item = drift::get(&self.app, &caller, &parse::name("name", &body.name)?).await?;
            Ok(pb::GetDriftItemResponse { drift_item: Some(message(&item)) })
        })
        .await
    }

    async fn acknowledge_drift_item(
        &self,
        request: Request<pb::AcknowledgeDriftItemRequest>,
    ) -> Result<Response<pb::AcknowledgeDriftItemResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let write = write(&body, &body.request_id, false, &body.etag);
            let (write, (name, note)) = parse::both(write, acknowledge(&body.name, body.note))?;
            let item = drift::acknowledge(&self.app, &caller, &name, note, &write).await?;
            Ok(pb::AcknowledgeDriftItemResponse { drift_item: Some(message(&item)) })
        })
        .await
    }

    async fn accept_drift_item(
        &self,
        request: Request<pb::AcceptDriftItemRequest>,
    ) -> Result<Response<pb::AcceptDriftItemResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let (write, cmd) = parse::both(write(&body, &body.request_id, false, &body.etag), accept(body))?;
            let (item, exception) = drift::accept(&self.app, &caller, cmd, &write).await?;
            Ok(pb::AcceptDriftItemResponse {
                drift_item: Some(message(&item)),
                drift_exception: Some(exception_message(&exception)),
            })
        })
        .await
    }

    async fn assign_drift_item(
        &self,
        request: Request<pb::AssignDriftItemRequest>,
    ) -> Result<Response<pb::AssignDriftItemResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let (write, cmd) = parse::both(write(&body, &body.request_id, false, &body.etag), assign(body))?;
            let item = drift::assign(&self.app, &caller, cmd, &write).await?;
            Ok(pb::AssignDriftItemResponse { drift_item: Some(message(&item)) })
        })
        .await
    }

    async fn create_drift_exception(
        &self,
        request: Request<pb::CreateDriftExceptionRequest>,
    ) -> Result<Response<pb::CreateDriftExceptionResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let (write, cmd) = parse::both(write(&body, &body.request_id, body.validate_only, ""), create(body))?;
            let exception = drift::create_exception(&self.app, &caller, cmd, &write).await?;
            Ok(pb::CreateDriftExceptionResponse { drift_exception: Some(exception_message(&exception)) })
        })
        .await
    }

    async fn get_drift_exception(
        &self,
        request: Request<pb::GetDriftExceptionRequest>,
    ) -> Result<Response<pb::GetDriftExceptionResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let exception = drift::get_exception(&self.app, &caller, &parse::name("name", &body.name)?).await?;
            Ok(pb::GetDriftExceptionResponse { drift_exception: Some(exception_message(&exception)) })
        })
        .await
    }

    async fn list_drift_exceptions(
        &self,
        request: Request<pb::ListDriftExceptionsRequest>,
    ) -> Result<Response<pb::ListDriftExceptionsResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let list = format!("driftExceptions|{}", body.parent);
            let mut fields = parse::Fields::new();
            let parent = fields.text::<TenantName>("parent", &body.parent);
            let page = fields.page(body.page_size, &body.page_token, false, &list)?;
            let listed = drift::list_exceptions(&self.app, &caller, &fields.finish(|| parent)?, page).await?;
            Ok(pb::ListDriftExceptionsResponse {
                drift_exceptions: listed.items.iter().map(exception_message).collect(),
                next_page_token: parse::next_page_token(listed.next, &list),
            })
        })
        .await
    }

    async fn delete_drift_exception(
        &self,
        request: Request<pb::DeleteDriftExceptionRequest>,
    ) -> Result<Response<pb::DeleteDriftExceptionResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let (write, name) = parse::both(write(&body, &body.request_id, false, ""), parse::name("name", &body.name))?;
            drift::delete_exception(&self.app, &caller, &name, &write).await?;
            Ok(pb::DeleteDriftExceptionResponse {})
        })
        .await
    }
}

/// A deployment, or all of an environment or of a tenant.
fn of(parent: &str) -> Result<Of, String> {
    let name = parent.parse::<DeploymentName>().map(Of::Deployment);
    let Some(wild) = parent.strip_suffix("/deployments/-") else { return name };
    match wild.strip_suffix("/projects/-/environments/-") {
        Some(tenant) => tenant.parse::<TenantName>().map(Of::Tenant),
        None => wild.parse::<EnvironmentName>().map(Of::Environment),
    }
}

fn acknowledge(name: &str, note: String) -> Result<(DriftItemName, String)> {
    let mut fields = parse::Fields::new();
    let name = fields.text("name", name);
    let note = fields.prose("note", note, PROSE);
    fields.finish(|| Some((name?, note)))
}

fn accept(body: pb::AcceptDriftItemRequest) -> Result<AcceptDriftItem> {
    let mut fields = parse::Fields::new();
    let name = fields.text("name", &body.name);
    let reason = reason(&mut fields, "reason", body.reason);
    let owner = fields.optional("owner", &body.owner);
    let expire_time = end(&mut fields, "expire_time", body.expire_time.as_ref());
    fields.finish(|| Some(AcceptDriftItem { name: name?, reason, owner, expire_time: expire_time?, any_value: body.any_value }))
}

fn assign(body: pb::AssignDriftItemRequest) -> Result<AssignDriftItem> {
    let mut fields = parse::Fields::new();
    let name = fields.text("name", &body.name);
    let owner = body.owner.map(|owner| fields.optional("owner", &owner));
    let ticket = body.ticket.map(|ticket| fields.prose("ticket", ticket, TICKET));
    if owner.is_none() && ticket.is_none() {
        fields.wrong("owner", "give an owner, a ticket, or both");
    }
    fields.finish(|| Some(AssignDriftItem { name: name?, owner, ticket }))
}

fn create(body: pb::CreateDriftExceptionRequest) -> Result<CreateDriftException> {
    let mut fields = parse::Fields::new();
    let parent = fields.text("parent", &body.parent);
    let exception = body.drift_exception.unwrap_or_default();
    let given = exception.matcher.unwrap_or_default();
    let mut glob =
        |field: &str, text: &str| fields.check(&format!("drift_exception.matcher.{field}"), pattern(text)).unwrap_or_default();
    let matcher = Matcher {
        deployment: glob("deployment", &given.deployment),
        kind: glob("type", &given.r#type),
        address: glob("address", &given.address),
        path: glob("path", &given.path),
        value: glob("value", &given.value),
        labels: fields.labels("drift_exception.matcher.labels", given.labels),
        pinned: false,
    };
    if matcher.is_everything() {
        fields
            .wrong("drift_exception.matcher", "say what it covers: a deployment, labels, a type, an address, a path or a value");
    }
    let reason = reason(&mut fields, "drift_exception.reason", exception.reason);
    let owner = fields.optional("drift_exception.owner", &exception.owner);
    let expire_time = end(&mut fields, "drift_exception.expire_time", exception.expire_time.as_ref());
    fields.finish(|| Some(CreateDriftException { parent: parent?, matcher, reason, owner, expire_time: expire_time? }))
}

fn reason(fields: &mut parse::Fields, field: &str, text: String) -> String {
    if text.trim().is_empty() {
        fields.wrong(field, "required: why it may stay");
    }
    fields.prose(field, text, PROSE)
}

fn end(
    fields: &mut parse::Fields,
    field: &str,
    time: Option<&prost_types::Timestamp>,
) -> Option<freehold_domain::time::Timestamp> {
    let time = time.ok_or_else(|| "required: when it is to be looked at again, at most a year from now".to_owned());
    fields.check(field, time.and_then(parse::time))
}

const STATES: [(DriftItemState, pb::DriftItemState); 6] = [
    (DriftItemState::Open, pb::DriftItemState::Open),
    (DriftItemState::Acknowledged, pb::DriftItemState::Acknowledged),
    (DriftItemState::Accepted, pb::DriftItemState::Accepted),
    (DriftItemState::Remediating, pb::DriftItemState::Remediating),
    (DriftItemState::Resolved, pb::DriftItemState::Resolved),
    (DriftItemState::Reopened, pb::DriftItemState::Reopened),
];

const CLASSES: [(DriftClass, pb::DriftClass); 4] = [
    (DriftClass::New, pb::DriftClass::New),
    (DriftClass::Known, pb::DriftClass::Known),
    (DriftClass::Accepted, pb::DriftClass::Accepted),
    (DriftClass::Expected, pb::DriftClass::Expected),
];

fn item_state(number: i32) -> Result<DriftItemState, String> {
    let known = STATES.iter().find(|(_, message)| i32::from(*message) == number);
    known.map(|(state, _)| *state).ok_or_else(|| format!("{number} is no state of an item"))
}

fn class(number: i32) -> Result<DriftClass, String> {
    let known = CLASSES.iter().find(|(_, message)| i32::from(*message) == number);
    known.map(|(class, _)| *class).ok_or_else(|| format!("{number} is no class of an item"))
}

/// How a look for drift ended, as the contract says it.
pub(super) fn state(state: DriftState) -> pb::DriftState {
    match state {
        DriftState::Unchecked => pb::DriftState::Unchecked,
        DriftState::Clean => pb::DriftState::Clean,
        DriftState::Drifted => pb::DriftState::Drifted,
        DriftState::Errored => pb::DriftState::Errored,
        DriftState::Skipped => pb::DriftState::Skipped,
    }
}

fn message(Shown { item, values }: &Shown) -> pb::DriftItem {
    let DriftItem { name, .. } = item;
    let run = |uid| {
        let DeploymentName { tenant, project, environment, deployment } = name.deployment_name();
        freehold_domain::names::RunName { tenant, project, environment, deployment, run: uid }.to_string()
    };
    let exception =
        |uid| freehold_domain::names::DriftExceptionName { tenant: name.tenant.clone(), drift_exception: uid }.to_string();
    let state = STATES.iter().find(|(state, _)| *state == item.state).map_or(pb::DriftItemState::Unspecified, |(_, is)| *is);
    let class = CLASSES.iter().find(|(class, _)| *class == item.class).map_or(pb::DriftClass::Unspecified, |(_, is)| *is);
    pb::DriftItem {
        name: name.to_string(),
        uid: item.uid().to_string(),
        etag: item.etag(),
        address: item.address.clone(),
        r#type: item.kind.clone(),
        path: item.path.clone(),
        before: values.before.clone(),
        after: values.after.clone(),
        sensitive: values.sensitive,
        cut: values.cut,
        class: class.into(),
        state: state.into(),
        fingerprint: item.fingerprint.clone(),
        first_seen_time: Some(render::time(item.first_seen_time)),
        last_seen_time: Some(render::time(item.last_seen_time)),
        count: item.count,
        last_run: run(item.run),
        cause: Some(match item.cause {
            Some(uid) => pb::DriftCause { kind: pb::DriftCauseKind::Run.into(), run: run(uid) },
            None => pb::DriftCause { kind: pb::DriftCauseKind::Unknown.into(), run: String::new() },
        }),
        owner: item.owner.as_ref().map(ToString::to_string).unwrap_or_default(),
        ticket: item.ticket.clone(),
        acknowledge_principal: item.acknowledged_by.as_ref().map(ToString::to_string).unwrap_or_default(),
        note: item.note.clone(),
        exception: item.exception.map(exception).unwrap_or_default(),
        remediation_run: item.remedy.map(run).unwrap_or_default(),
        update_time: Some(render::time(item.update_time)),
        resolve_time: item.resolve_time.map(render::time),
    }
}

fn exception_message(exception: &DriftException) -> pb::DriftException {
    let Matcher { deployment, labels, kind, address, path, value, pinned } = &exception.matcher;
    pb::DriftException {
        name: exception.name.to_string(),
        uid: exception.uid().to_string(),
        matcher: Some(pb::DriftMatcher {
            deployment: deployment.clone(),
            labels: labels.clone(),
            r#type: kind.clone(),
            address: address.clone(),
            path: path.clone(),
            value: value.clone(),
            pinned: *pinned,
        }),
        reason: exception.reason.clone(),
        owner: exception.owner.to_string(),
        expire_time: Some(render::time(exception.expire_time)),
        create_time: Some(render::time(exception.create_time)),
        create_principal: exception.creator.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parent_is_a_deployment_or_all_of_an_environment_or_a_tenant() {
        let dev = "tenants/acme/projects/shop/environments/dev";
        assert_eq!(
            of(&format!("{dev}/deployments/web")),
            Ok(Of::Deployment(format!("{dev}/deployments/web").parse().expect("valid")))
        );
        assert_eq!(of(&format!("{dev}/deployments/-")), Ok(Of::Environment(dev.parse().expect("valid"))));
        let all = "tenants/acme/projects/-/environments/-/deployments/-";
        assert_eq!(of(all), Ok(Of::Tenant("tenants/acme".parse().expect("valid"))));
        for wrong in [
            "",
            "tenants/acme",
            dev,
            "tenants/-/projects/-/environments/-/deployments/-",
            "tenants/acme/projects/shop/environments/-/deployments/-",
        ] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_wrong_field_of_an_exception_is_named_at_once() {
        let error = create(pb::CreateDriftExceptionRequest::default()).expect_err("everything is missing");
        let fields: Vec<&str> = error.violations().iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(fields, ["parent", "drift_exception.matcher", "drift_exception.reason", "drift_exception.expire_time"]);
        let nobody = accept(pb::AcceptDriftItemRequest { owner: "ada".to_owned(), ..Default::default() }).expect_err("wrong");
        let fields: Vec<&str> = nobody.violations().iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(fields, ["name", "reason", "owner", "expire_time"]);
        assert!(assign(pb::AssignDriftItemRequest::default()).is_err());
    }
}
