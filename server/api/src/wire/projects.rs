//! ProjectService.

use freehold_domain::{Result, names::TenantName, projects::Project};
use freehold_proto::tenants::v1 as pb;
use freehold_service::projects::{self, CreateProject, UpdateProject};
use tonic::{Request, Response, Status};

use super::{Wire, parse, render, write};

#[tonic::async_trait]
impl pb::project_service_server::ProjectService for Wire {
    async fn create_project(
        &self,
        request: Request<pb::CreateProjectRequest>,
    ) -> Result<Response<pb::CreateProjectResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let (write, cmd) = parse::both(write(&body, &body.request_id, body.validate_only, ""), create(body))?;
            let project = projects::create(&self.app, &caller, cmd, &write).await?;
            Ok(pb::CreateProjectResponse { project: Some(message(&project)) })
        })
        .await
    }

    async fn get_project(&self, request: Request<pb::GetProjectRequest>) -> Result<Response<pb::GetProjectResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let project = projects::get(&self.app, &caller, &parse::name("name", &body.name)?).await?;
            Ok(pb::GetProjectResponse { project: Some(message(&project)) })
        })
        .await
    }

    async fn list_projects(
        &self,
        request: Request<pb::ListProjectsRequest>,
    ) -> Result<Response<pb::ListProjectsResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let list = format!("projects|{}", body.parent);
            let mut fields = parse::Fields::new();
            let parent = fields.text::<TenantName>("parent", &body.parent);
            let page = fields.page(body.page_size, &body.page_token, false, &list)?;
            let listed = projects::list(&self.app, &caller, &fields.finish(|| parent)?, page).await?;
            Ok(pb::ListProjectsResponse {
                projects: listed.items.iter().map(message).collect(),
                next_page_token: parse::next_page_token(listed.next, &list),
            })
        })
        .await
    }

    async fn update_project(
        &self,
        request: Request<pb::UpdateProjectRequest>,
    ) -> Result<Response<pb::UpdateProjectResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let etag = body.project.as_ref().map(|project| project.etag.as_str()).unwrap_or_default();
            let (write, cmd) = parse::both(write(&body, &body.request_id, body.validate_only, etag), update(body))?;
            let project = projects::update(&self.app, &caller, cmd, &write).await?;
            Ok(pb::UpdateProjectResponse { project: Some(message(&project)) })
        })
        .await
    }

    async fn delete_project(
        &self,
        request: Request<pb::DeleteProjectRequest>,
    ) -> Result<Response<pb::DeleteProjectResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let (write, name) = parse::both(write(&body, &body.request_id, false, &body.etag), parse::name("name", &body.name))?;
            projects::delete(&self.app, &caller, &name, body.allow_missing, &write).await?;
            Ok(pb::DeleteProjectResponse {})
        })
        .await
    }
}

fn create(body: pb::CreateProjectRequest) -> Result<CreateProject> {
    let mut fields = parse::Fields::new();
    let parent = fields.text("parent", &body.parent);
    let id = fields.id("project_id", &body.project_id);
    let project = body.project.unwrap_or_default();
    let described = fields.described("project", project.display_name, project.labels);
    let description = fields.prose("project.description", project.description, 1000);
    let approval_policy = fields.optional("project.approval_policy", &project.approval_policy);
    fields.finish(|| Some(CreateProject { parent: parent?, id, described, description, approval_policy }))
}

fn update(body: pb::UpdateProjectRequest) -> Result<UpdateProject> {
    let mask = parse::Mask::new(body.update_mask.as_ref(), &["display_name", "labels", "description", "approval_policy"])?;
    let mut fields = parse::Fields::new();
    let project = body.project.unwrap_or_default();
    let name = fields.text("project.name", &project.name);
    let (display_name, labels, description) =
        (!project.display_name.is_empty(), !project.labels.is_empty(), !project.description.is_empty());
    let described = fields.described("project", project.display_name, project.labels);
    let text = fields.prose("project.description", project.description, 1000);
    let policy = fields.optional("project.approval_policy", &project.approval_policy);
    fields.finish(|| {
        Some(UpdateProject {
            name: name?,
            display_name: mask.take("display_name", display_name, described.display_name),
            labels: mask.take("labels", labels, described.labels),
            description: mask.take("description", description, text),
            approval_policy: mask.take("approval_policy", !project.approval_policy.is_empty(), policy),
        })
    })
}

fn message(project: &Project) -> pb::Project {
    let meta = &project.meta;
    pb::Project {
        name: project.name.to_string(),
        uid: meta.uid.to_string(),
        etag: meta.etag(),
        display_name: meta.display_name.clone(),
        labels: meta.labels.clone(),
        create_time: Some(render::time(meta.create_time)),
        update_time: Some(render::time(meta.update_time)),
        create_principal: meta.creator.clone(),
        description: project.description.clone(),
        approval_policy: project.approval_policy.as_ref().map(ToString::to_string).unwrap_or_default(),
    }
}
