//! BlueprintService.

use std::time::Duration;

use freehold_domain::{
    Error, Result,
    blueprints::{
        Blueprint, BlueprintVersion, Change, ChangeKind, Diagnostic, File, Files, Impact, MAX_SOURCES, Severity, Source,
    },
    names::{BlueprintName, TenantName, VersionName, shown},
};
use freehold_proto::blueprints::v1 as pb;
use freehold_service::blueprints::{self, CreateBlueprint, ImportDraft, Imported, PublishVersion, UpdateBlueprint};
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use super::{Wire, parse, render, wait_end, write};

/// How long the files of a draft may be on their way.
const IMPORT: Duration = Duration::from_secs(115);

#[tonic::async_trait]
impl pb::blueprint_service_server::BlueprintService for Wire {
    async fn create_blueprint(
        &self,
        request: Request<pb::CreateBlueprintRequest>,
    ) -> Result<Response<pb::CreateBlueprintResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let (write, cmd) = parse::both(write(&body, &body.request_id, body.validate_only, ""), create(body))?;
            let blueprint = blueprints::create(&self.app, &caller, cmd, &write).await?;
            Ok(pb::CreateBlueprintResponse { blueprint: Some(message(&blueprint)) })
        })
        .await
    }

    async fn get_blueprint(
        &self,
        request: Request<pb::GetBlueprintRequest>,
    ) -> Result<Response<pb::GetBlueprintResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let blueprint = blueprints::get(&self.app, &caller, &parse::name("name", &body.name)?).await?;
            Ok(pb::GetBlueprintResponse { blueprint: Some(message(&blueprint)) })
        })
        .await
    }

    async fn list_blueprints(
        &self,
        request: Request<pb::ListBlueprintsRequest>,
    ) -> Result<Response<pb::ListBlueprintsResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let list = format!("blueprints|{}", body.parent);
            let mut fields = parse::Fields::new();
            let parent = fields.text::<TenantName>("parent", &body.parent);
            let page = fields.page(body.page_size, &body.page_token, false, &list)?;
            let listed = blueprints::list(&self.app, &caller, &fields.finish(|| parent)?, page).await?;
            Ok(pb::ListBlueprintsResponse {
                blueprints: listed.items.iter().map(message).collect(),
                next_page_token: parse::next_page_token(listed.next, &list),
            })
        })
        .await
    }

    async fn update_blueprint(
        &self,
        request: Request<pb::UpdateBlueprintRequest>,
    ) -> Result<Response<pb::UpdateBlueprintResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let etag = body.blueprint.as_ref().map(|blueprint| blueprint.etag.as_str()).unwrap_or_default();
            let (write, cmd) = parse::both(write(&body, &body.request_id, body.validate_only, etag), update(body))?;
            let blueprint = blueprints::update(&self.app, &caller, cmd, &write).await?;
            Ok(pb::UpdateBlueprintResponse { blueprint: Some(message(&blueprint)) })
        })
        .await
    }

    async fn delete_blueprint(
        &self,
        request: Request<pb::DeleteBlueprintRequest>,
    ) -> Result<Response<pb::DeleteBlueprintResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let (write, name) = parse::both(write(&body, &body.request_id, false, &body.etag), parse::name("name", &body.name))?;
            blueprints::delete(&self.app, &caller, &name, body.allow_missing, &write).await?;
            Ok(pb::DeleteBlueprintResponse {})
        })
        .await
    }

    async fn get_blueprint_draft(
        &self,
        request: Request<pb::GetBlueprintDraftRequest>,
    ) -> Result<Response<pb::GetBlueprintDraftResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let (blueprint, files) = blueprints::get_draft(&self.app, &caller, &draft_name("name", &body.name)?).await?;
            Ok(pb::GetBlueprintDraftResponse { blueprint_draft: Some(draft(&blueprint, &files)) })
        })
        .await
    }

    async fn update_blueprint_draft(
        &self,
        request: Request<pb::UpdateBlueprintDraftRequest>,
    ) -> Result<Response<pb::UpdateBlueprintDraftResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let etag = body.blueprint_draft.as_ref().map(|draft| draft.etag.as_str()).unwrap_or_default();
            let write = write(&body, &body.request_id, false, etag);
            let given = body.blueprint_draft.unwrap_or_default();
            let subject = parse::both(draft_name("blueprint_draft.name", &given.name), files("blueprint_draft.", given.files));
            let (write, (name, files)) = parse::both(write, subject)?;
            let (blueprint, diagnostics) = blueprints::update_draft(&self.app, &caller, &name, files.clone(), &write).await?;
            Ok(pb::UpdateBlueprintDraftResponse {
                blueprint_draft: Some(draft(&blueprint, &files)),
                diagnostics: diagnostics.into_iter().map(diagnostic).collect(),
            })
        })
        .await
    }

    async fn import_blueprint_draft(
        &self,
        request: Request<pb::ImportBlueprintDraftRequest>,
    ) -> Result<Response<pb::ImportBlueprintDraftResponse>, Status> {
        let end = wait_end(&request, IMPORT);
        self.serve(request, |caller, body| async move {
            let write = write(&body, &body.request_id, false, &body.etag);
            let (write, cmd) = parse::both(write, import(body, end))?;
            let Imported { blueprint, files, diagnostics } = blueprints::import_draft(&self.app, &caller, cmd, &write).await?;
            Ok(pb::ImportBlueprintDraftResponse {
                blueprint_draft: Some(draft(&blueprint, &files)),
                diagnostics: diagnostics.into_iter().map(diagnostic).collect(),
            })
        })
        .await
    }

    async fn validate_blueprint(
        &self,
        request: Request<pb::ValidateBlueprintRequest>,
    ) -> Result<Response<pb::ValidateBlueprintResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let parent = parse::name("parent", &body.parent)?;
            let diagnostics = blueprints::validate(&self.app, &caller, &parent, &files("", body.files)?).await?;
            Ok(pb::ValidateBlueprintResponse { diagnostics: diagnostics.into_iter().map(diagnostic).collect() })
        })
        .await
    }

    async fn publish_blueprint_version(
        &self,
        request: Request<pb::PublishBlueprintVersionRequest>,
    ) -> Result<Response<pb::PublishBlueprintVersionResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let write = write(&body, &body.request_id, body.validate_only, "");
            let mut fields = parse::Fields::new();
            let parent = fields.text("parent", &body.parent);
            let number = fields.check("version", version(&body.version));
            if body.draft_etag.is_empty() {
                fields.wrong("draft_etag", "required: the etag of the draft that was reviewed");
            }
            let notes = fields.prose("notes", body.notes, 4000);
            let cmd =
                fields.finish(|| Some(PublishVersion { parent: parent?, version: number?, draft_etag: body.draft_etag, notes }));
            let (write, cmd) = parse::both(write, cmd)?;
            let (published, files) = blueprints::publish(&self.app, &caller, cmd, &write).await?;
            Ok(pb::PublishBlueprintVersionResponse { blueprint_version: Some(version_message(&published, &files)) })
        })
        .await
    }

    async fn get_blueprint_version(
        &self,
        request: Request<pb::GetBlueprintVersionRequest>,
    ) -> Result<Response<pb::GetBlueprintVersionResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let (found, files) = blueprints::get_version(&self.app, &caller, &parse::name("name", &body.name)?).await?;
            Ok(pb::GetBlueprintVersionResponse { blueprint_version: Some(version_message(&found, &files)) })
        })
        .await
    }

    async fn list_blueprint_versions(
        &self,
        request: Request<pb::ListBlueprintVersionsRequest>,
    ) -> Result<Response<pb::ListBlueprintVersionsResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let list = format!("versions|{}", body.parent);
            let mut fields = parse::Fields::new();
            let parent = fields.text::<BlueprintName>("parent", &body.parent);
            let page = fields.page(body.page_size, &body.page_token, false, &list)?;
            let listed = blueprints::list_versions(&self.app, &caller, &fields.finish(|| parent)?, page).await?;
            Ok(pb::ListBlueprintVersionsResponse {
                blueprint_versions: listed.items.iter().map(|version| version_message(version, &Files::default())).collect(),
                next_page_token: parse::next_page_token(listed.next, &list),
            })
        })
        .await
    }

    async fn diff_blueprint_versions(
        &self,
        request: Request<pb::DiffBlueprintVersionsRequest>,
    ) -> Result<Response<pb::DiffBlueprintVersionsResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let mut fields = parse::Fields::new();
            let parent = fields.text::<BlueprintName>("parent", &body.parent);
            let from = fields.check("from", version(&body.from));
            let to = if body.to == "draft" { None } else { fields.check("to", version(&body.to)) };
            let (parent, from) = fields.finish(|| Some((parent?, from?)))?;
            let named = |version| VersionName { tenant: parent.tenant.clone(), blueprint: parent.blueprint.clone(), version };
            let (changes, all) = blueprints::diff(&self.app, &caller, &named(from), to.map(named).as_ref()).await?;
            Ok(pb::DiffBlueprintVersionsResponse {
                changes: changes.into_iter().map(change).collect(),
                impact: impact(all).into(),
            })
        })
        .await
    }
}

fn create(body: pb::CreateBlueprintRequest) -> Result<CreateBlueprint> {
    let mut fields = parse::Fields::new();
    let parent = fields.text("parent", &body.parent);
    let id = fields.id("blueprint_id", &body.blueprint_id);
    let blueprint = body.blueprint.unwrap_or_default();
    let described = fields.described("blueprint", blueprint.display_name, blueprint.labels);
    let description = fields.prose("blueprint.description", blueprint.description, 1000);
    fields.finish(|| Some(CreateBlueprint { parent: parent?, id, described, description }))
}

fn update(body: pb::UpdateBlueprintRequest) -> Result<UpdateBlueprint> {
    let mask = parse::Mask::new(body.update_mask.as_ref(), &["display_name", "labels", "description"])?;
    let mut fields = parse::Fields::new();
    let blueprint = body.blueprint.unwrap_or_default();
    let name = fields.text("blueprint.name", &blueprint.name);
    let (display_name, labels, description) =
        (!blueprint.display_name.is_empty(), !blueprint.labels.is_empty(), !blueprint.description.is_empty());
    let described = fields.described("blueprint", blueprint.display_name, blueprint.labels);
    let text = fields.prose("blueprint.description", blueprint.description, 1000);
    fields.finish(|| {
        Some(UpdateBlueprint {
            name: name?,
            display_name: mask.take("display_name", display_name, described.display_name),
            labels: mask.take("labels", labels, described.labels),
            description: mask.take("description", description, text),
        })
    })
}

fn import(body: pb::ImportBlueprintDraftRequest, end: Instant) -> Result<ImportDraft> {
    let (name, sources) = parse::both(draft_name("name", &body.name), sources(body.sources))?;
    Ok(ImportDraft { name, sources, end })
}

fn sources(given: Vec<pb::BlueprintSource>) -> Result<Vec<Source>> {
    let mut fields = parse::Fields::new();
    if !(1..=MAX_SOURCES).contains(&given.len()) {
        fields.wrong("sources", format!("{} sources; 1 to {MAX_SOURCES} are taken", given.len()));
    }
    let mut sources = Vec::new();
    for (index, source) in given.into_iter().take(MAX_SOURCES).enumerate() {
        let pb::BlueprintSource { connection, repository, revision, path, directory, commit: _ } = source;
        let connection = fields.text(&format!("sources[{index}].connection"), &connection);
        for (field, why) in Source::check(&repository, &revision, &path, &directory) {
            fields.wrong(&format!("sources[{index}].{field}"), why);
        }
        let commit = String::new();
        sources.push(connection.map(|connection| Source { connection, repository, revision, path, directory, commit }));
    }
    fields.finish(|| sources.into_iter().collect())
}

fn message(blueprint: &Blueprint) -> pb::Blueprint {
    let meta = &blueprint.meta;
    pb::Blueprint {
        name: blueprint.name.to_string(),
        uid: meta.uid.to_string(),
        etag: meta.etag(),
        display_name: meta.display_name.clone(),
        labels: meta.labels.clone(),
        create_time: Some(render::time(meta.create_time)),
        update_time: Some(render::time(meta.update_time)),
        create_principal: meta.creator.clone(),
        description: blueprint.description.clone(),
        latest_version: blueprint.latest_version.clone(),
    }
}

fn version(text: &str) -> std::result::Result<semver::Version, String> {
    semver::Version::parse(text).map_err(|why| format!("`{}` is not a semantic version such as 1.2.3: {why}", shown(text)))
}

fn draft_name(field: &str, name: &str) -> Result<BlueprintName> {
    let blueprint = name.strip_suffix("/draft").ok_or_else(|| {
        Error::field(field, format!("`{}` is not of the form `tenants/{{tenant}}/blueprints/{{blueprint}}/draft`", shown(name)))
    })?;
    parse::name(field, blueprint)
}

fn files(of: &str, files: Vec<pb::BlueprintFile>) -> Result<Files> {
    let files = files.into_iter().map(|file| File { path: file.path, content: file.content }).collect();
    Files::new(files).map_err(|mut violations| {
        for violation in &mut violations {
            violation.field.insert_str(0, of);
        }
        Error::invalid(violations)
    })
}

fn file_messages(files: &Files) -> Vec<pb::BlueprintFile> {
    files.iter().map(|(path, content)| pb::BlueprintFile { path: path.to_owned(), content: content.to_vec() }).collect()
}

fn draft(blueprint: &Blueprint, files: &Files) -> pb::BlueprintDraft {
    let facts = blueprint.draft.as_ref();
    pb::BlueprintDraft {
        name: format!("{}/draft", blueprint.name),
        etag: blueprint.draft_etag(),
        files: file_messages(files),
        digest: facts.map(|draft| draft.digest.clone()).unwrap_or_default(),
        update_time: facts.map(|draft| render::time(draft.update_time)),
        sources: facts.map(|draft| source_messages(&draft.sources)).unwrap_or_default(),
    }
}

fn source_messages(sources: &[Source]) -> Vec<pb::BlueprintSource> {
    let message = |source: &Source| {
        let Source { connection, repository, revision, path, directory, commit } = source.clone();
        pb::BlueprintSource { connection: connection.to_string(), repository, revision, path, directory, commit }
    };
    sources.iter().map(message).collect()
}

fn version_message(version: &BlueprintVersion, files: &Files) -> pb::BlueprintVersion {
    pb::BlueprintVersion {
        name: version.name.to_string(),
        uid: version.uid().to_string(),
        version: version.name.version.to_string(),
        digest: version.digest.clone(),
        engine: version.engine.clone(),
        files: file_messages(files),
        input_schema: version.input_schema.clone(),
        outputs: version.outputs.clone(),
        notes: version.notes.clone(),
        create_time: Some(render::time(version.meta.create_time)),
        create_principal: version.meta.creator.clone(),
        sources: source_messages(&version.sources),
    }
}

fn diagnostic(diagnostic: Diagnostic) -> pb::Diagnostic {
    let severity = match diagnostic.severity {
        Severity::Error => pb::Severity::Error,
        Severity::Warning => pb::Severity::Warning,
    };
    let number = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
    pb::Diagnostic {
        severity: severity.into(),
        code: diagnostic.code.to_owned(),
        message: diagnostic.message,
        path: diagnostic.path,
        line: number(diagnostic.line),
        column: number(diagnostic.column),
        end_line: number(diagnostic.end_line),
        end_column: number(diagnostic.end_column),
    }
}

fn impact(impact: Impact) -> pb::VersionImpact {
    match impact {
        Impact::Patch => pb::VersionImpact::Patch,
        Impact::Minor => pb::VersionImpact::Minor,
        Impact::Major => pb::VersionImpact::Major,
    }
}

fn change(change: Change) -> pb::BlueprintChange {
    let kind = match change.kind {
        ChangeKind::Added => pb::BlueprintChangeKind::Added,
        ChangeKind::Removed => pb::BlueprintChangeKind::Removed,
        ChangeKind::Changed => pb::BlueprintChangeKind::Changed,
    };
    pb::BlueprintChange {
        path: change.path,
        kind: kind.into(),
        before: change.before.unwrap_or_default(),
        after: change.after.unwrap_or_default(),
        impact: impact(change.impact).into(),
    }
}
