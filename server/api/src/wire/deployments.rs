//! DeploymentService.

use freehold_domain::{
    Result,
    dependencies::MAX_UPSTREAMS,
    deployments::{Condition, ConditionKind, Deployment, Revision},
    names::{DeploymentName, EnvironmentName},
};
use freehold_proto::deployments::v1 as pb;
use freehold_service::{
    abandonment, dependencies,
    deployments::{self, CreateDeployment, Expiry, UpdateDeployment},
    lifetimes,
};
use tonic::{Request, Response, Status};

use super::{Wire, dependencies as needs, drift, drift_policy, parse, render, write};

#[tonic::async_trait]
impl pb::deployment_service_server::DeploymentService for Wire {
    async fn create_deployment(
        &self,
        request: Request<pb::CreateDeploymentRequest>,
    ) -> Result<Response<pb::CreateDeploymentResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let (write, cmd) = parse::both(write(&body, &body.request_id, body.validate_only, ""), create(body))?;
            let deployment = deployments::create(&self.app, &caller, cmd, &write).await?;
            Ok(pb::CreateDeploymentResponse { deployment: Some(message(&deployment)) })
        })
        .await
    }

    async fn get_deployment(
        &self,
        request: Request<pb::GetDeploymentRequest>,
    ) -> Result<Response<pb::GetDeploymentResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let deployment = deployments::get(&self.app, &caller, &parse::name("name", &body.name)?).await?;
            Ok(pb::GetDeploymentResponse { deployment: Some(message(&deployment)) })
        })
        .await
    }

    async fn list_deployments(
        &self,
        request: Request<pb::ListDeploymentsRequest>,
    ) -> Result<Response<pb::ListDeploymentsResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let list = format!("deployments|{}", body.parent);
            let mut fields = parse::Fields::new();
            let parent = fields.text::<EnvironmentName>("parent", &body.parent);
            let page = fields.page(body.page_size, &body.page_token, false, &list)?;
            let listed = deployments::list(&self.app, &caller, &fields.finish(|| parent)?, page).await?;
            Ok(pb::ListDeploymentsResponse {
                deployments: listed.items.iter().map(message).collect(),
                next_page_token: parse::next_page_token(listed.next, &list),
            })
        })
        .await
    }

    async fn update_deployment(
        &self,
        request: Request<pb::UpdateDeploymentRequest>,
    ) -> Result<Response<pb::UpdateDeploymentResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let etag = body.deployment.as_ref().map(|deployment| deployment.etag.as_str()).unwrap_or_default();
            let (write, cmd) = parse::both(write(&body, &body.request_id, body.validate_only, etag), update(body))?;
            let deployment = deployments::update(&self.app, &caller, cmd, &write).await?;
            Ok(pb::UpdateDeploymentResponse { deployment: Some(message(&deployment)) })
        })
        .await
    }

    async fn delete_deployment(
        &self,
        request: Request<pb::DeleteDeploymentRequest>,
    ) -> Result<Response<pb::DeleteDeploymentResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let (write, name) = parse::both(write(&body, &body.request_id, false, &body.etag), parse::name("name", &body.name))?;
            deployments::delete(&self.app, &caller, &name, body.allow_missing, body.force, &write).await?;
            Ok(pb::DeleteDeploymentResponse {})
        })
        .await
    }

    async fn abandon_deployment(
        &self,
        request: Request<pb::AbandonDeploymentRequest>,
    ) -> Result<Response<pb::AbandonDeploymentResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let write = write(&body, &body.request_id, body.validate_only, &body.etag);
            let mut fields = parse::Fields::new();
            let name = fields.text("name", &body.name);
            let reason = fields.prose("reason", body.reason, 500);
            if reason.trim().is_empty() {
                fields.wrong("reason", "required: why nobody is to look after what it made");
            }
            let (write, name) = parse::both(write, fields.finish(|| name))?;
            let deployment = abandonment::abandon(&self.app, &caller, &name, reason, &write).await?;
            Ok(pb::AbandonDeploymentResponse { deployment: Some(message(&deployment)) })
        })
        .await
    }

    async fn extend_deployment(
        &self,
        request: Request<pb::ExtendDeploymentRequest>,
    ) -> Result<Response<pb::ExtendDeploymentResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let write = write(&body, &body.request_id, body.validate_only, &body.etag);
            let mut fields = parse::Fields::new();
            let name = fields.text("name", &body.name);
            let expire = expiry(&mut fields, "", body.expire_time.as_ref(), body.ttl);
            if body.expire_time.is_none() && body.ttl.is_none() {
                fields.wrong("expire_time", "this or `ttl` is required");
            }
            let (write, (name, expire)) = parse::both(write, fields.finish(|| Some((name?, expire?))))?;
            let deployment = lifetimes::extend(&self.app, &caller, &name, expire, &write).await?;
            Ok(pb::ExtendDeploymentResponse { deployment: Some(message(&deployment)) })
        })
        .await
    }

    async fn get_dependency_graph(
        &self,
        request: Request<pb::GetDependencyGraphRequest>,
    ) -> Result<Response<pb::GetDependencyGraphResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let graph = dependencies::graph(&self.app, &caller, &needs::scope(&body.parent)?).await?;
            Ok(pb::GetDependencyGraphResponse { dependency_graph: Some(needs::graph(graph)) })
        })
        .await
    }

    async fn list_revisions(
        &self,
        request: Request<pb::ListRevisionsRequest>,
    ) -> Result<Response<pb::ListRevisionsResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let list = format!("revisions|{}", body.parent);
            let mut fields = parse::Fields::new();
            let parent = fields.text::<DeploymentName>("parent", &body.parent);
            let page = fields.page(body.page_size, &body.page_token, false, &list)?;
            let (deployment, listed) = deployments::list_revisions(&self.app, &caller, &fields.finish(|| parent)?, page).await?;
            Ok(pb::ListRevisionsResponse {
                revisions: listed.items.iter().map(|(_, revision)| revision_message(&deployment, revision)).collect(),
                next_page_token: parse::next_page_token(listed.next, &list),
            })
        })
        .await
    }
}

fn create(body: pb::CreateDeploymentRequest) -> Result<CreateDeployment> {
    let mut fields = parse::Fields::new();
    let parent = fields.text("parent", &body.parent);
    let id = fields.id("deployment_id", &body.deployment_id);
    let deployment = body.deployment.unwrap_or_default();
    let described = fields.described("deployment", deployment.display_name, deployment.labels);
    let version = fields.text("deployment.blueprint_version", &deployment.blueprint_version);
    let inputs = fields.object("deployment.inputs", deployment.inputs.unwrap_or_default());
    let depends_on = names(&mut fields, &deployment.depends_on);
    let expire = expiry(&mut fields, "deployment.", deployment.expire_time.as_ref(), deployment.ttl);
    let max_idle = fields.duration("deployment.max_idle", deployment.max_idle);
    let drift_policy = drift_policy::optional(&mut fields, "deployment.drift_policy", deployment.drift_policy);
    fields.finish(|| {
        Some(CreateDeployment {
            parent: parent?,
            id,
            described,
            blueprint_version: version?,
            inputs,
            deletion_protection: deployment.deletion_protection,
            auto_apply: deployment.auto_apply,
            depends_on,
            apply_on_dependency_change: deployment.apply_on_dependency_change,
            require_undrifted_dependencies: deployment.require_undrifted_dependencies,
            expire,
            max_idle,
            drift_policy,
        })
    })
}

/// Deployments, each wrong one by its place.
fn names(fields: &mut parse::Fields, given: &[String]) -> Vec<DeploymentName> {
    let each = given.iter().take(MAX_UPSTREAMS + 1).enumerate();
    each.filter_map(|(index, name)| fields.text(&format!("deployment.depends_on[{index}]"), name)).collect()
}

/// An end, as a time or as a time from now.
fn expiry(
    fields: &mut parse::Fields,
    of: &str,
    time: Option<&prost_types::Timestamp>,
    ttl: Option<prost_types::Duration>,
) -> Option<Expiry> {
    if time.is_some() && ttl.is_some() {
        fields.wrong(&format!("{of}ttl"), "not beside `expire_time`; give one of them");
    }
    let time = fields.time(&format!("{of}expire_time"), time);
    let ttl = fields.duration(&format!("{of}ttl"), ttl);
    time.map(Expiry::At).or(ttl.map(Expiry::In))
}

const WRITABLE: &[&str] = &[
    "display_name",
    "labels",
    "blueprint_version",
    "inputs",
    "deletion_protection",
    "auto_apply",
    "depends_on",
    "apply_on_dependency_change",
    "require_undrifted_dependencies",
    "max_idle",
    "drift_policy",
];

fn update(body: pb::UpdateDeploymentRequest) -> Result<UpdateDeployment> {
    let mask = parse::Mask::new(body.update_mask.as_ref(), WRITABLE)?;
    let mut fields = parse::Fields::new();
    let given = body.deployment.unwrap_or_default();
    let name = fields.text("deployment.name", &given.name);
    let (display_name, labels) = (!given.display_name.is_empty(), !given.labels.is_empty());
    let described = fields.described("deployment", given.display_name, given.labels);
    let writes_version = mask.writes("blueprint_version", !given.blueprint_version.is_empty());
    let version = if writes_version { fields.text("deployment.blueprint_version", &given.blueprint_version) } else { None };
    let has_inputs = given.inputs.is_some();
    let inputs = fields.object("deployment.inputs", given.inputs.unwrap_or_default());
    let (has_needs, has_idle) = (!given.depends_on.is_empty(), given.max_idle.is_some());
    let depends_on = names(&mut fields, &given.depends_on);
    let max_idle = fields.duration("deployment.max_idle", given.max_idle);
    let (automatic, undrifted) = (given.apply_on_dependency_change, given.require_undrifted_dependencies);
    let has_policy = given.drift_policy.is_some();
    let policy = drift_policy::optional(&mut fields, "deployment.drift_policy", given.drift_policy);
    fields.finish(|| {
        Some(UpdateDeployment {
            name: name?,
            display_name: mask.take("display_name", display_name, described.display_name),
            labels: mask.take("labels", labels, described.labels),
            blueprint_version: version,
            inputs: mask.take("inputs", has_inputs, inputs),
            deletion_protection: mask.take("deletion_protection", given.deletion_protection, given.deletion_protection),
            auto_apply: mask.take("auto_apply", given.auto_apply, given.auto_apply),
            depends_on: mask.take("depends_on", has_needs, depends_on),
            apply_on_dependency_change: mask.take("apply_on_dependency_change", automatic, automatic),
            require_undrifted_dependencies: mask.take("require_undrifted_dependencies", undrifted, undrifted),
            max_idle: mask.take("max_idle", has_idle, max_idle),
            drift_policy: mask.take("drift_policy", has_policy, policy),
        })
    })
}

fn message(deployment: &Deployment) -> pb::Deployment {
    let meta = &deployment.meta;
    let run = |uid: Option<_>| uid.map(|uid| deployment.run_name(uid).to_string()).unwrap_or_default();
    pb::Deployment {
        name: deployment.name.to_string(),
        uid: meta.uid.to_string(),
        etag: meta.etag(),
        display_name: meta.display_name.clone(),
        labels: meta.labels.clone(),
        create_time: Some(render::time(meta.create_time)),
        update_time: Some(render::time(meta.update_time)),
        create_principal: meta.creator.clone(),
        blueprint_version: deployment.blueprint_version.to_string(),
        inputs: Some(render::object(&deployment.inputs)),
        state: needs::state(deployment.state).into(),
        generation: deployment.generation,
        observed_revision: deployment.observed_revision,
        last_run: run(deployment.last_run),
        active_run: run(deployment.active_run),
        drifted: deployment.drifted,
        drift_check_time: deployment.drift_check_time.map(render::time),
        deletion_protection: deployment.deletion_protection,
        state_locked: deployment.state_lock.is_some(),
        auto_apply: deployment.auto_apply,
        drift_policy: deployment.drift_policy.as_ref().map(drift_policy::message),
        drift_state: drift::state(deployment.drift.state).into(),
        drift_reason: deployment.drift.reason.clone(),
        drift_state_time: deployment.drift.time.map(render::time),
        depends_on: deployment.depends_on.iter().map(ToString::to_string).collect(),
        apply_on_dependency_change: deployment.apply_on_dependency_change,
        require_undrifted_dependencies: deployment.require_undrifted_dependencies,
        expire_time: deployment.lifetime.expire_time.map(render::time),
        ttl: None,
        max_idle: deployment.lifetime.max_idle.map(render::duration),
        end_time: deployment.lifetime.end().map(render::time),
        conditions: deployment.conditions.iter().map(|(kind, condition)| condition_message(*kind, condition)).collect(),
        abandonment: deployment.abandonment.as_ref().map(|abandonment| pb::Abandonment {
            principal: abandonment.principal.to_string(),
            reason: abandonment.reason.clone(),
            abandon_time: Some(render::time(abandonment.time)),
            purge_time: Some(render::time(abandonment.purge_time())),
            addresses: abandonment.addresses.clone(),
        }),
    }
}

fn condition_message(kind: ConditionKind, condition: &Condition) -> pb::DeploymentCondition {
    let kind = match kind {
        ConditionKind::DependencyChanged => pb::DeploymentConditionType::DependencyChanged,
        ConditionKind::TtlExpiring => pb::DeploymentConditionType::TtlExpiring,
        ConditionKind::TtlExpired => pb::DeploymentConditionType::TtlExpired,
    };
    pb::DeploymentCondition {
        r#type: kind.into(),
        message: condition.message.clone(),
        since: Some(render::time(condition.since)),
    }
}

fn revision_message(deployment: &Deployment, revision: &Revision) -> pb::Revision {
    pb::Revision {
        number: revision.number,
        blueprint_version: revision.blueprint_version.to_string(),
        inputs: Some(render::object(&revision.inputs)),
        run: deployment.run_name(revision.run).to_string(),
        create_time: Some(render::time(revision.create_time)),
    }
}
