//! DeploymentService.

use freehold_domain::{
    Result,
    deployments::{Deployment, DeploymentState, Revision},
    names::{DeploymentName, EnvironmentName},
};
use freehold_proto::deployments::v1 as pb;
use freehold_service::deployments::{self, CreateDeployment, UpdateDeployment};
use tonic::{Request, Response, Status};

use super::{Wire, drift, drift_policy, parse, render, write};

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
            drift_policy,
        })
    })
}

const WRITABLE: &[&str] =
    &["display_name", "labels", "blueprint_version", "inputs", "deletion_protection", "auto_apply", "drift_policy"];

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
            drift_policy: mask.take("drift_policy", has_policy, policy),
        })
    })
}

fn message(deployment: &Deployment) -> pb::Deployment {
    let meta = &deployment.meta;
    let state = match deployment.state {
        DeploymentState::New => pb::DeploymentState::New,
        DeploymentState::Active => pb::DeploymentState::Active,
        DeploymentState::Partial => pb::DeploymentState::Partial,
        DeploymentState::Destroyed => pb::DeploymentState::Destroyed,
    };
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
        state: state.into(),
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
