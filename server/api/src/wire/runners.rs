//! RunnerPoolService.

use freehold_domain::{
    Result,
    names::RunnerPoolName,
    runners::{Runner, RunnerPool, RunnerState, SandboxLevel},
    time::Timestamp,
};
use freehold_proto::runners::v1 as pb;
use freehold_service::runners::{self, CreateRunnerPool, UpdateRunnerPool};
use tonic::{Request, Response, Status};

use super::{Wire, parse, render, write};

#[tonic::async_trait]
impl pb::runner_pool_service_server::RunnerPoolService for Wire {
    async fn create_runner_pool(
        &self,
        request: Request<pb::CreateRunnerPoolRequest>,
    ) -> Result<Response<pb::CreateRunnerPoolResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let (write, cmd) = parse::both(write(&body, &body.request_id, body.validate_only, ""), create(body))?;
            let pool = runners::create_pool(&self.app, &caller, cmd, &write).await?;
            Ok(pb::CreateRunnerPoolResponse { runner_pool: Some(message(&pool)) })
        })
        .await
    }

    async fn get_runner_pool(
        &self,
        request: Request<pb::GetRunnerPoolRequest>,
    ) -> Result<Response<pb::GetRunnerPoolResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let pool = runners::get_pool(&self.app, &caller, &parse::name("name", &body.name)?).await?;
            Ok(pb::GetRunnerPoolResponse { runner_pool: Some(message(&pool)) })
        })
        .await
    }

    async fn list_runner_pools(
        &self,
        request: Request<pb::ListRunnerPoolsRequest>,
    ) -> Result<Response<pb::ListRunnerPoolsResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let mut fields = parse::Fields::new();
            let page = fields.page(body.page_size, &body.page_token, false, "runnerPools")?;
            let listed = runners::list_pools(&self.app, &caller, fields.finish(|| Some(page))?).await?;
            Ok(pb::ListRunnerPoolsResponse {
                runner_pools: listed.items.iter().map(message).collect(),
                next_page_token: parse::next_page_token(listed.next, "runnerPools"),
            })
        })
        .await
    }

    async fn update_runner_pool(
        &self,
        request: Request<pb::UpdateRunnerPoolRequest>,
    ) -> Result<Response<pb::UpdateRunnerPoolResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let etag = body.runner_pool.as_ref().map(|pool| pool.etag.as_str()).unwrap_or_default();
            let (write, cmd) = parse::both(write(&body, &body.request_id, body.validate_only, etag), update(body))?;
            let pool = runners::update_pool(&self.app, &caller, cmd, &write).await?;
            Ok(pb::UpdateRunnerPoolResponse { runner_pool: Some(message(&pool)) })
        })
        .await
    }

    async fn create_registration_token(
        &self,
        request: Request<pb::CreateRegistrationTokenRequest>,
    ) -> Result<Response<pb::CreateRegistrationTokenResponse>, Status> {
        self.create_token(request).await
    }

    async fn list_registration_tokens(
        &self,
        request: Request<pb::ListRegistrationTokensRequest>,
    ) -> Result<Response<pb::ListRegistrationTokensResponse>, Status> {
        self.list_tokens(request).await
    }

    async fn revoke_registration_token(
        &self,
        request: Request<pb::RevokeRegistrationTokenRequest>,
    ) -> Result<Response<pb::RevokeRegistrationTokenResponse>, Status> {
        self.revoke_token(request).await
    }

    async fn delete_runner(
        &self,
        request: Request<pb::DeleteRunnerRequest>,
    ) -> Result<Response<pb::DeleteRunnerResponse>, Status> {
        self.remove_runner(request).await
    }

    async fn list_runners(&self, request: Request<pb::ListRunnersRequest>) -> Result<Response<pb::ListRunnersResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let list = format!("runners|{}", body.parent);
            let mut fields = parse::Fields::new();
            let parent = fields.text::<RunnerPoolName>("parent", &body.parent);
            let page = fields.page(body.page_size, &body.page_token, false, &list)?;
            let listed = runners::list(&self.app, &caller, &fields.finish(|| parent)?, page).await?;
            let now = self.app.now();
            Ok(pb::ListRunnersResponse {
                runners: listed.items.iter().map(|runner| runner_message(runner, now)).collect(),
                next_page_token: parse::next_page_token(listed.next, &list),
            })
        })
        .await
    }

    async fn drain_runner(&self, request: Request<pb::DrainRunnerRequest>) -> Result<Response<pb::DrainRunnerResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let (write, name) = parse::both(write(&body, &body.request_id, false, ""), parse::name("name", &body.name))?;
            let runner = runners::drain(&self.app, &caller, &name, true, &write).await?;
            Ok(pb::DrainRunnerResponse { runner: Some(runner_message(&runner, self.app.now())) })
        })
        .await
    }

    async fn resume_runner(
        &self,
        request: Request<pb::ResumeRunnerRequest>,
    ) -> Result<Response<pb::ResumeRunnerResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let (write, name) = parse::both(write(&body, &body.request_id, false, ""), parse::name("name", &body.name))?;
            let runner = runners::drain(&self.app, &caller, &name, false, &write).await?;
            Ok(pb::ResumeRunnerResponse { runner: Some(runner_message(&runner, self.app.now())) })
        })
        .await
    }
}

fn create(body: pb::CreateRunnerPoolRequest) -> Result<CreateRunnerPool> {
    let mut fields = parse::Fields::new();
    let id = fields.id("runner_pool_id", &body.runner_pool_id);
    let pool = body.runner_pool.unwrap_or_default();
    let described = fields.described("runner_pool", pool.display_name, pool.labels);
    let required_sandbox = fields.check("runner_pool.required_sandbox", sandbox_level(pool.required_sandbox));
    fields.finish(|| Some(CreateRunnerPool { id, described, required_sandbox: required_sandbox? }))
}

fn update(body: pb::UpdateRunnerPoolRequest) -> Result<UpdateRunnerPool> {
    let mask = parse::Mask::new(body.update_mask.as_ref(), &["display_name", "labels", "required_sandbox"])?;
    let mut fields = parse::Fields::new();
    let pool = body.runner_pool.unwrap_or_default();
    let name = fields.text("runner_pool.name", &pool.name);
    let (display_name, labels, demands) = (!pool.display_name.is_empty(), !pool.labels.is_empty(), pool.required_sandbox != 0);
    let described = fields.described("runner_pool", pool.display_name, pool.labels);
    let required_sandbox = fields.check("runner_pool.required_sandbox", sandbox_level(pool.required_sandbox));
    fields.finish(|| {
        Some(UpdateRunnerPool {
            name: name?,
            display_name: mask.take("display_name", display_name, described.display_name),
            labels: mask.take("labels", labels, described.labels),
            required_sandbox: mask.take("required_sandbox", demands, required_sandbox?),
        })
    })
}

fn sandbox_level(number: i32) -> Result<SandboxLevel, String> {
    match pb::SandboxLevel::try_from(number) {
        Ok(pb::SandboxLevel::Unspecified) => Ok(SandboxLevel::None),
        Ok(pb::SandboxLevel::Isolated) => Ok(SandboxLevel::Isolated),
        Err(_) => Err("SANDBOX_LEVEL_ISOLATED, or nothing".to_owned()),
    }
}

fn message(pool: &RunnerPool) -> pb::RunnerPool {
    let meta = &pool.meta;
    pb::RunnerPool {
        name: pool.name.to_string(),
        uid: meta.uid.to_string(),
        etag: meta.etag(),
        display_name: meta.display_name.clone(),
        labels: meta.labels.clone(),
        create_time: Some(render::time(meta.create_time)),
        update_time: Some(render::time(meta.update_time)),
        create_principal: meta.creator.clone(),
        required_sandbox: match pool.required_sandbox {
            SandboxLevel::None => pb::SandboxLevel::Unspecified.into(),
            SandboxLevel::Isolated => pb::SandboxLevel::Isolated.into(),
        },
    }
}

fn runner_message(runner: &Runner, now: Timestamp) -> pb::Runner {
    let state = match runner.state(now) {
        RunnerState::Online => pb::RunnerState::Online,
        RunnerState::Draining => pb::RunnerState::Draining,
        RunnerState::Offline => pb::RunnerState::Offline,
    };
    pb::Runner {
        name: runner.name.to_string(),
        version: runner.version.clone(),
        engines: runner.engines.clone(),
        capacity: runner.capacity,
        running: runner.running,
        state: state.into(),
        last_seen_time: Some(render::time(runner.last_seen_time)),
        create_time: Some(render::time(runner.create_time)),
        sandbox: runner.sandbox.clone(),
        platform: runner.platform.clone(),
        engine_versions: runner.engine_versions.clone(),
        labels: runner.labels.clone(),
    }
}
