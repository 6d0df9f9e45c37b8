//! EnvironmentService.

use freehold_domain::{
    Result,
    environments::{Environment, EnvironmentKind},
    lifetimes::TtlPolicy,
    names::{ProjectName, RunnerPoolName},
    runners::DEFAULT_POOL,
};
use freehold_proto::tenants::v1 as pb;
use freehold_service::environments::{self, CreateEnvironment, UpdateEnvironment};
use tonic::{Request, Response, Status};

use super::{Wire, drift_policy, parse, render, write};

#[tonic::async_trait]
impl pb::environment_service_server::EnvironmentService for Wire {
    async fn create_environment(
        &self,
        request: Request<pb::CreateEnvironmentRequest>,
    ) -> Result<Response<pb::CreateEnvironmentResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let (write, cmd) = parse::both(write(&body, &body.request_id, body.validate_only, ""), create(body))?;
            let environment = environments::create(&self.app, &caller, cmd, &write).await?;
            Ok(pb::CreateEnvironmentResponse { environment: Some(message(&environment)) })
        })
        .await
    }

    async fn get_environment(
        &self,
        request: Request<pb::GetEnvironmentRequest>,
    ) -> Result<Response<pb::GetEnvironmentResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let environment = environments::get(&self.app, &caller, &parse::name("name", &body.name)?).await?;
            Ok(pb::GetEnvironmentResponse { environment: Some(message(&environment)) })
        })
        .await
    }

    async fn list_environments(
        &self,
        request: Request<pb::ListEnvironmentsRequest>,
    ) -> Result<Response<pb::ListEnvironmentsResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let list = format!("environments|{}", body.parent);
            let mut fields = parse::Fields::new();
            let parent = fields.text::<ProjectName>("parent", &body.parent);
            let page = fields.page(body.page_size, &body.page_token, false, &list)?;
            let listed = environments::list(&self.app, &caller, &fields.finish(|| parent)?, page).await?;
            Ok(pb::ListEnvironmentsResponse {
                environments: listed.items.iter().map(message).collect(),
                next_page_token: parse::next_page_token(listed.next, &list),
            })
        })
        .await
    }

    async fn update_environment(
        &self,
        request: Request<pb::UpdateEnvironmentRequest>,
    ) -> Result<Response<pb::UpdateEnvironmentResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let etag = body.environment.as_ref().map(|environment| environment.etag.as_str()).unwrap_or_default();
            let (write, cmd) = parse::both(write(&body, &body.request_id, body.validate_only, etag), update(body))?;
            let environment = environments::update(&self.app, &caller, cmd, &write).await?;
            Ok(pb::UpdateEnvironmentResponse { environment: Some(message(&environment)) })
        })
        .await
    }

    async fn delete_environment(
        &self,
        request: Request<pb::DeleteEnvironmentRequest>,
    ) -> Result<Response<pb::DeleteEnvironmentResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let (write, name) = parse::both(write(&body, &body.request_id, false, &body.etag), parse::name("name", &body.name))?;
            environments::delete(&self.app, &caller, &name, body.allow_missing, &write).await?;
            Ok(pb::DeleteEnvironmentResponse {})
        })
        .await
    }
}

fn create(body: pb::CreateEnvironmentRequest) -> Result<CreateEnvironment> {
    let mut fields = parse::Fields::new();
    let parent = fields.text("parent", &body.parent);
    let id = fields.id("environment_id", &body.environment_id);
    let environment = body.environment.unwrap_or_default();
    let (kind, runner_pool) = (kind(&mut fields, environment.kind), pool(&mut fields, &environment.runner_pool));
    let described = fields.described("environment", environment.display_name, environment.labels);
    let default = fields.duration("environment.default_ttl", environment.default_ttl);
    let max = fields.duration("environment.max_ttl", environment.max_ttl);
    let approval_policy = fields.optional("environment.approval_policy", &environment.approval_policy);
    let drift_policy = drift_policy::optional(&mut fields, "environment.drift_policy", environment.drift_policy);
    fields.finish(|| {
        Some(CreateEnvironment {
            parent: parent?,
            id,
            described,
            kind: kind?,
            runner_pool: runner_pool?,
            allow_self_approval: environment.allow_self_approval,
            require_approval: environment.require_approval,
            require_undrifted_dependencies: environment.require_undrifted_dependencies,
            ttl: TtlPolicy { default, max },
            approval_policy,
            drift_policy,
        })
    })
}

const WRITABLE: &[&str] = &[
    "display_name",
    "labels",
    "kind",
    "runner_pool",
    "allow_self_approval",
    "require_approval",
    "approval_policy",
    "require_undrifted_dependencies",
    "default_ttl",
    "max_ttl",
    "drift_policy",
];

fn update(body: pb::UpdateEnvironmentRequest) -> Result<UpdateEnvironment> {
    let mask = parse::Mask::new(body.update_mask.as_ref(), WRITABLE)?;
    let mut fields = parse::Fields::new();
    let given = body.environment.unwrap_or_default();
    let name = fields.text("environment.name", &given.name);
    let (kind, runner_pool) = (kind(&mut fields, given.kind), pool(&mut fields, &given.runner_pool));
    let (display_name, labels) = (!given.display_name.is_empty(), !given.labels.is_empty());
    let described = fields.described("environment", given.display_name, given.labels);
    let undrifted = given.require_undrifted_dependencies;
    let (sets_default, sets_max) = (given.default_ttl.is_some(), given.max_ttl.is_some());
    let default_ttl = fields.duration("environment.default_ttl", given.default_ttl);
    let max_ttl = fields.duration("environment.max_ttl", given.max_ttl);
    let policy = fields.optional("environment.approval_policy", &given.approval_policy);
    let looks = given.drift_policy.is_some();
    let drift_policy = drift_policy::optional(&mut fields, "environment.drift_policy", given.drift_policy);
    fields.finish(|| {
        Some(UpdateEnvironment {
            name: name?,
            display_name: mask.take("display_name", display_name, described.display_name),
            labels: mask.take("labels", labels, described.labels),
            kind: mask.take("kind", given.kind != 0, kind?),
            runner_pool: mask.take("runner_pool", !given.runner_pool.is_empty(), runner_pool?),
            allow_self_approval: mask.take("allow_self_approval", given.allow_self_approval, given.allow_self_approval),
            require_approval: mask.take("require_approval", given.require_approval, given.require_approval),
            require_undrifted_dependencies: mask.take("require_undrifted_dependencies", undrifted, undrifted),
            default_ttl: mask.take("default_ttl", sets_default, default_ttl),
            max_ttl: mask.take("max_ttl", sets_max, max_ttl),
            approval_policy: mask.take("approval_policy", !given.approval_policy.is_empty(), policy),
            drift_policy: mask.take("drift_policy", looks, drift_policy),
        })
    })
}

/// Development, unless something else is said.
fn kind(fields: &mut parse::Fields, number: i32) -> Option<EnvironmentKind> {
    let kind = pb::EnvironmentKind::try_from(number).map(|kind| match kind {
        pb::EnvironmentKind::Unspecified | pb::EnvironmentKind::Dev => EnvironmentKind::Dev,
        pb::EnvironmentKind::Test => EnvironmentKind::Test,
        pb::EnvironmentKind::Staging => EnvironmentKind::Staging,
        pb::EnvironmentKind::Prod => EnvironmentKind::Prod,
    });
    fields.check("environment.kind", kind.map_err(|_| format!("{number} is none of DEV (1), TEST (2), STAGING (3) and PROD (4)")))
}

/// The default pool, unless another is named.
fn pool(fields: &mut parse::Fields, name: &str) -> Option<RunnerPoolName> {
    fields.text("environment.runner_pool", if name.is_empty() { DEFAULT_POOL } else { name })
}

fn message(environment: &Environment) -> pb::Environment {
    let meta = &environment.meta;
    let kind = match environment.kind {
        EnvironmentKind::Dev => pb::EnvironmentKind::Dev,
        EnvironmentKind::Test => pb::EnvironmentKind::Test,
        EnvironmentKind::Staging => pb::EnvironmentKind::Staging,
        EnvironmentKind::Prod => pb::EnvironmentKind::Prod,
    };
    pb::Environment {
        name: environment.name.to_string(),
        uid: meta.uid.to_string(),
        etag: meta.etag(),
        display_name: meta.display_name.clone(),
        labels: meta.labels.clone(),
        create_time: Some(render::time(meta.create_time)),
        update_time: Some(render::time(meta.update_time)),
        create_principal: meta.creator.clone(),
        kind: kind.into(),
        runner_pool: environment.runner_pool.to_string(),
        allow_self_approval: environment.allow_self_approval,
        require_approval: environment.require_approval,
        require_undrifted_dependencies: environment.require_undrifted_dependencies,
        default_ttl: environment.ttl.default.map(render::duration),
        max_ttl: environment.ttl.max.map(render::duration),
        approval_policy: environment.approval_policy.as_ref().map(ToString::to_string).unwrap_or_default(),
        drift_policy: environment.drift_policy.as_ref().map(drift_policy::message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEV: &str = "tenants/acme/projects/shop/environments/dev";

    fn request(environment: pb::Environment, paths: &[&str]) -> pb::UpdateEnvironmentRequest {
        let paths: Vec<String> = paths.iter().map(ToString::to_string).collect();
        pb::UpdateEnvironmentRequest {
            environment: Some(pb::Environment { name: DEV.to_owned(), ..environment }),
            update_mask: Some(prost_types::FieldMask { paths }),
            ..Default::default()
        }
    }

    #[test]
    fn a_new_environment_is_for_development_on_the_default_pool() {
        let parent = "tenants/acme/projects/shop".to_owned();
        let cmd = create(pb::CreateEnvironmentRequest { parent, ..Default::default() }).expect("valid");
        assert_eq!((cmd.kind, cmd.runner_pool.to_string().as_str()), (EnvironmentKind::Dev, DEFAULT_POOL));
    }

    #[test]
    fn an_update_writes_what_is_set_or_what_the_mask_names() {
        let set = update(request(pb::Environment { require_approval: true, ..Default::default() }, &[])).expect("valid");
        assert_eq!((set.require_approval, set.allow_self_approval, set.kind), (Some(true), None, None));

        let masked = update(request(pb::Environment::default(), &["require_approval", "kind"])).expect("valid");
        assert_eq!((masked.require_approval, masked.kind, masked.runner_pool), (Some(false), Some(EnvironmentKind::Dev), None));

        let error = update(request(pb::Environment::default(), &["name"])).expect_err("names cannot be written");
        assert_eq!(error.reason(), freehold_domain::Reason::MaskInvalid);
    }

    #[test]
    fn every_wrong_field_is_named_at_once() {
        let wrong = pb::Environment { kind: 9, runner_pool: "default".to_owned(), ..Default::default() };
        let body =
            pb::CreateEnvironmentRequest { parent: "tenants/acme".to_owned(), environment: Some(wrong), ..Default::default() };
        let error = create(body).expect_err("three fields are wrong");
        let fields: Vec<&str> = error.violations().iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(fields, ["parent", "environment.kind", "environment.runner_pool"]);
    }
}
