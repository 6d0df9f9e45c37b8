//! Blueprints: drafts that change, versions that never do.

mod import;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use freehold_domain::{
    Error, Reason, Result, Violation,
    access::Caller,
    blueprints::{
        self as language, Blueprint, BlueprintVersion, Change, Diagnostic, Document, Draft, File, Files, Impact, Severity, Source,
    },
    events::Event,
    names::{BlueprintName, Id, TenantName, VersionName},
    quotas::Dimension,
    resource::{Described, Labels, Listed, Meta, Page},
    time::Uid,
};
use freehold_store::{
    Session, Tx, blueprint_versions, blueprints,
    payloads::{self, Kind},
};
use semver::Version;
use serde_json::json;

use crate::app::{App, Place, Validator, Write};

pub(crate) use import::AT_ONCE;
pub use import::{ImportDraft, Imported, import_draft};

/// Parsed versions that are kept at hand. They never change, so neither do these.
const PARSED: usize = 128;

/// Documents of published versions by their uid.
#[derive(Default)]
pub(crate) struct Parsed(Mutex<HashMap<Uid, Arc<Document>>>);

/// What a new blueprint is.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct CreateBlueprint {
    pub parent: TenantName,
    pub id: Option<Id>,
    pub described: Described,
    pub description: String,
}

/// What changes; `None` stays.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct UpdateBlueprint {
    pub name: BlueprintName,
    pub display_name: Option<String>,
    pub labels: Option<Labels>,
    pub description: Option<String>,
}

/// What is to be published.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct PublishVersion {
    pub parent: BlueprintName,
    pub version: Version,
    pub draft_etag: String,
    pub notes: String,
}

/// Creates a blueprint.
pub async fn create(app: &App, caller: &Caller, cmd: CreateBlueprint, write: &Write) -> Result<Blueprint> {
    let place = app.enter(caller, &cmd.parent, &cmd.parent.to_string()).await?;
    let mut tx = app.store.begin(caller, place.scope, &write.key).await?;
    if let Some(done) = tx.replayed()? {
        return Ok(done);
    }
    let uid = tx.uid();
    let blueprint = Blueprint {
        name: BlueprintName {
            tenant: cmd.parent.tenant.clone(),
            blueprint: cmd.id.unwrap_or_else(|| Id::generated("blueprint", uid)),
        },
        meta: Meta::new(uid, cmd.described, &caller.principal, tx.now()),
        description: cmd.description,
        latest_version: String::new(),
        draft: None,
    };
    blueprints::insert(&mut tx, place.scope, &cmd.parent.to_string(), &blueprint).await?;
    tx.announce(Event::new("blueprint.created", &blueprint.name, uid, 1));
    tx.take(Dimension::Blueprints, 1);
    app.finish(tx, write, &blueprint).await?;
    Ok(blueprint)
}

/// Returns a blueprint.
pub async fn get(app: &App, caller: &Caller, name: &BlueprintName) -> Result<Arc<Blueprint>> {
    let place = app.enter(caller, &name.tenant_name(), &name.to_string()).await?;
    app.store.newest(name, async |db: &mut Session| find(db, &place, name).await).await
}

/// Lists the blueprints of a tenant.
pub async fn list(app: &App, caller: &Caller, parent: &TenantName, page: Page) -> Result<Listed<Blueprint>> {
    let place = app.enter(caller, parent, &parent.to_string()).await?;
    blueprints::list(&mut app.store.read().await?, place.scope, &parent.to_string(), page).await
}

/// Changes what is said of a blueprint.
pub async fn update(app: &App, caller: &Caller, cmd: UpdateBlueprint, write: &Write) -> Result<Blueprint> {
    let place = app.enter(caller, &cmd.name.tenant_name(), &cmd.name.to_string()).await?;
    let mut tx = app.store.begin(caller, place.scope, &write.key).await?;
    if let Some(done) = tx.replayed()? {
        return Ok(done);
    }
    let mut blueprint = find(&mut tx, &place, &cmd.name).await?;
    blueprint.meta.expect_etag(write.etag.as_deref())?;
    let before = blueprint.clone();
    blueprint.meta.describe(cmd.display_name, cmd.labels);
    if let Some(description) = cmd.description {
        blueprint.description = description;
    }
    if blueprint != before {
        blueprint.meta.touch(tx.now());
        blueprints::update(&mut tx, place.scope, &blueprint).await?;
        tx.announce(Event::new("blueprint.updated", &blueprint.name, blueprint.meta.uid, blueprint.meta.version));
    }
    app.finish(tx, write, &blueprint).await?;
    Ok(blueprint)
}

/// Deletes a blueprint that no deployment uses, with its versions.
pub async fn delete(app: &App, caller: &Caller, name: &BlueprintName, allow_missing: bool, write: &Write) -> Result<()> {
    let place = app.enter(caller, &name.tenant_name(), &name.to_string()).await?;
    let mut tx = app.store.begin(caller, place.scope, &write.key).await?;
    if tx.replayed::<()>()?.is_some() {
        return Ok(());
    }
    let blueprint = match blueprints::get(&mut tx, place.scope, name).await? {
        None if allow_missing => return app.finish(tx, write, &()).await,
        None => return Err(Error::not_found(name)),
        Some(blueprint) => blueprint,
    };
    blueprint.meta.expect_etag(write.etag.as_deref())?;
    let mut page = Page { size: 500, after: None, newest_first: false };
    loop {
        let listed = blueprint_versions::list(&mut tx, place.scope, &name.to_string(), page).await?;
        for version in &listed.items {
            payloads::delete_all(&mut tx, place.scope, version.uid()).await?;
            blueprint_versions::delete(&mut tx, place.scope, version).await?;
        }
        match listed.next {
            Some(next) => page.after = Some(next),
            None => break,
        }
    }
    payloads::delete_all(&mut tx, place.scope, blueprint.meta.uid).await?;
    blueprints::delete(&mut tx, place.scope, &blueprint).await?;
    tx.announce(Event::new("blueprint.deleted", name, blueprint.meta.uid, blueprint.meta.version + 1));
    tx.take(Dimension::Blueprints, -1);
    app.finish(tx, write, &()).await
}

/// Returns a blueprint and the files of its draft; none when there is no draft.
pub async fn get_draft(app: &App, caller: &Caller, name: &BlueprintName) -> Result<(Blueprint, Files)> {
    let place = app.enter(caller, &name.tenant_name(), &name.to_string()).await?;
    let mut db = app.store.read().await?;
    let blueprint = find(&mut db, &place, name).await?;
    let files = files_of(app, &mut db, &place, blueprint.meta.uid).await?.unwrap_or_default();
    Ok((blueprint, files))
}

/// Replaces the files of the draft; they need not be right yet. Answers what there is to mend.
pub async fn update_draft(
    app: &App,
    caller: &Caller,
    name: &BlueprintName,
    files: Files,
    write: &Write,
) -> Result<(Blueprint, Vec<Diagnostic>)> {
    let place = app.enter(caller, &name.tenant_name(), &name.to_string()).await?;
    let diagnostics = diagnose(app, &files).1;
    let mut tx = app.store.begin(caller, place.scope, &write.key).await?;
    if let Some(done) = tx.replayed()? {
        return Ok((done, diagnostics));
    }
    let blueprint = find(&mut tx, &place, name).await?;
    let blueprint = put_draft(app, tx, &place, blueprint, &files, Vec::new(), write).await?;
    Ok((blueprint, diagnostics))
}

/// Writes the draft, unless it is another one than its writer has seen.
async fn put_draft(
    app: &App,
    mut tx: Tx,
    place: &Place,
    mut blueprint: Blueprint,
    files: &Files,
    sources: Vec<Source>,
    write: &Write,
) -> Result<Blueprint> {
    expect_draft(&blueprint, write.etag.as_deref().unwrap_or_default())?;
    let now = tx.now();
    let version = blueprint.draft.as_ref().map_or(1, |draft| draft.version + 1);
    let mut event = Event::new("blueprint.draft_updated", &blueprint.name, blueprint.meta.uid, blueprint.meta.version + 1);
    if !sources.is_empty() {
        let shown = |source: &Source| {
            let Source { connection, repository, commit, .. } = source;
            json!({ "connection": connection.to_string(), "repository": repository, "commit": commit })
        };
        event = event.with(json!({ "sources": sources.iter().map(shown).collect::<Vec<_>>() }));
    }
    blueprint.draft = Some(Draft { version, digest: language::digest(files), update_time: now, sources });
    blueprint.meta.touch(now);
    blueprints::update(&mut tx, place.scope, &blueprint).await?;
    app.put(&mut tx, place, blueprint.meta.uid, Kind::Files, 0, &pack(files)).await?;
    tx.announce(event);
    app.finish(tx, write, &blueprint).await?;
    Ok(blueprint)
}

/// Says everything there is to mend in these files.
pub async fn validate(app: &App, caller: &Caller, parent: &TenantName, files: &Files) -> Result<Vec<Diagnostic>> {
    app.enter(caller, parent, &parent.to_string()).await?;
    Ok(diagnose(app, files).1)
}

/// Freezes the draft as a version.
pub async fn publish(app: &App, caller: &Caller, cmd: PublishVersion, write: &Write) -> Result<(BlueprintVersion, Files)> {
    let name = &cmd.parent;
    let place = app.enter(caller, &name.tenant_name(), &name.to_string()).await?;
    let mut tx = app.store.begin(caller, place.scope, &write.key).await?;
    if let Some(done) = tx.replayed::<BlueprintVersion>()? {
        let files = files_of(app, &mut tx, &place, done.uid()).await?.unwrap_or_default();
        return Ok((done, files));
    }
    let mut blueprint = find(&mut tx, &place, name).await?;
    expect_draft(&blueprint, &cmd.draft_etag)?;
    let files = files_of(app, &mut tx, &place, blueprint.meta.uid).await?.unwrap_or_default();
    let document = match diagnose(app, &files) {
        (Some(document), diagnostics) if diagnostics.iter().all(|d| d.severity != Severity::Error) => document,
        (_, diagnostics) => return Err(invalid(diagnostics)),
    };
    let version_name =
        VersionName { tenant: name.tenant.clone(), blueprint: name.blueprint.clone(), version: cmd.version.clone() };
    if blueprint_versions::get(&mut tx, place.scope, &version_name).await?.is_some() {
        return Err(Error::exists(&version_name));
    }
    if let Some((previous, before)) = predecessor(app, &mut tx, &place, name, &cmd.version).await? {
        if cmd.version.cmp_precedence(&previous).is_le() {
            return Err(Error::field("version", format!("higher than {previous}, which is published already")));
        }
        let impact = Impact::of(&language::diff(&before, &document));
        language::check_step(Some(&previous), &cmd.version, impact)
            .map_err(|required| too_low(&cmd.version, &previous, impact, &required))?;
    }
    let uid = tx.uid();
    let published = BlueprintVersion {
        name: version_name,
        meta: Meta::new(uid, Described::default(), &caller.principal, tx.now()),
        digest: language::digest(&files),
        engine: document.engine().to_owned(),
        input_schema: document.inputs().to_json_schema().to_string(),
        outputs: document.outputs().iter().map(|output| output.name.clone()).collect(),
        notes: cmd.notes,
        sources: blueprint.draft.as_ref().map(|draft| draft.sources.clone()).unwrap_or_default(),
    };
    blueprint_versions::insert(&mut tx, place.scope, &name.to_string(), &published).await?;
    app.put(&mut tx, &place, uid, Kind::Files, 0, &pack(&files)).await?;
    let latest = Version::parse(&blueprint.latest_version).ok();
    if cmd.version.pre.is_empty() && latest.is_none_or(|latest| latest < cmd.version) {
        blueprint.latest_version = cmd.version.to_string();
    }
    blueprint.meta.touch(tx.now());
    blueprints::update(&mut tx, place.scope, &blueprint).await?;
    let event = Event::new("blueprint.published", &published.name, uid, 1);
    tx.announce(event.with(json!({ "digest": published.digest })));
    app.finish(tx, write, &published).await?;
    Ok((published, files))
}

/// Returns a version with its files.
pub async fn get_version(app: &App, caller: &Caller, name: &VersionName) -> Result<(BlueprintVersion, Files)> {
    let place = app.enter(caller, &name.tenant_name(), &name.to_string()).await?;
    let mut db = app.store.read().await?;
    let version = find_version(&mut db, &place, name).await?;
    let files = files_of(app, &mut db, &place, version.uid()).await?.unwrap_or_default();
    Ok((version, files))
}

/// Lists the versions of a blueprint, in the order they were published.
pub async fn list_versions(app: &App, caller: &Caller, parent: &BlueprintName, page: Page) -> Result<Listed<BlueprintVersion>> {
    let place = app.enter(caller, &parent.tenant_name(), &parent.to_string()).await?;
    let mut db = app.store.read().await?;
    find(&mut db, &place, parent).await?;
    blueprint_versions::list(&mut db, place.scope, &parent.to_string(), page).await
}

/// Compares a version with another one, or with the draft when there is no other.
pub async fn diff(app: &App, caller: &Caller, from: &VersionName, to: Option<&VersionName>) -> Result<(Vec<Change>, Impact)> {
    let place = app.enter(caller, &from.tenant_name(), &from.blueprint_name().to_string()).await?;
    let mut db = app.store.read().await?;
    let older = find_version(&mut db, &place, from).await?;
    let older = document(app, &mut db, &place, &older).await?;
    let newer = match to {
        Some(name) => {
            let version = find_version(&mut db, &place, name).await?;
            document(app, &mut db, &place, &version).await?
        }
        None => {
            let blueprint = find(&mut db, &place, &from.blueprint_name()).await?;
            let files = files_of(app, &mut db, &place, blueprint.meta.uid).await?.unwrap_or_default();
            match diagnose(app, &files) {
                (Some(document), _) => Arc::new(document),
                (None, diagnostics) => return Err(invalid(diagnostics)),
            }
        }
    };
    let changes = language::diff(&older, &newer);
    let impact = Impact::of(&changes);
    Ok((changes, impact))
}

/// The document of a published version.
pub(crate) async fn document(app: &App, db: &mut Session, place: &Place, version: &BlueprintVersion) -> Result<Arc<Document>> {
    let known = || app.parsed.0.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(document) = known().get(&version.uid()) {
        return Ok(Arc::clone(document));
    }
    let files = files_of(app, db, place, version.uid()).await?;
    let files = files.ok_or_else(|| Error::internal(format!("the files of {} are gone", version.name)))?;
    let (document, _) = Document::parse(&files);
    let document =
        Arc::new(document.ok_or_else(|| Error::internal(format!("{} was published and cannot be read", version.name)))?);
    let mut parsed = known();
    if parsed.len() >= PARSED {
        parsed.clear();
    }
    parsed.insert(version.uid(), Arc::clone(&document));
    Ok(document)
}

/// The files of a version as a job carries them: path and base64.
pub(crate) async fn encoded_files(app: &App, db: &mut Session, place: &Place, version: Uid) -> Result<Vec<(String, String)>> {
    let files = files_of(app, db, place, version).await?;
    let files = files.ok_or_else(|| Error::internal(format!("the files of the version {version} are gone")))?;
    Ok(files.iter().map(|(path, content)| (path.to_owned(), STANDARD.encode(content))).collect())
}

async fn find(db: &mut Session, place: &Place, name: &BlueprintName) -> Result<Blueprint> {
    blueprints::get(db, place.scope, name).await?.ok_or_else(|| Error::not_found(name))
}

async fn find_version(db: &mut Session, place: &Place, name: &VersionName) -> Result<BlueprintVersion> {
    blueprint_versions::get(db, place.scope, name).await?.ok_or_else(|| Error::not_found(name))
}

/// The version that a new one is measured against: the highest of its major, and where that has none the highest below.
async fn predecessor(
    app: &App,
    db: &mut Session,
    place: &Place,
    name: &BlueprintName,
    new: &Version,
) -> Result<Option<(Version, Arc<Document>)>> {
    let mut highest: Option<BlueprintVersion> = None;
    let mut page = Page { size: 500, after: None, newest_first: false };
    loop {
        let listed = blueprint_versions::list(db, place.scope, &name.to_string(), page).await?;
        for version in listed.items {
            let number = &version.name.version;
            let is_higher = |known: &BlueprintVersion| known.name.version.cmp_precedence(number).is_lt();
            if number.major <= new.major && highest.as_ref().is_none_or(is_higher) {
                highest = Some(version);
            }
        }
        match listed.next {
            Some(next) => page.after = Some(next),
            None => break,
        }
    }
    match highest {
        None => Ok(None),
        Some(version) => Ok(Some((version.name.version.clone(), document(app, db, place, &version).await?))),
    }
}

fn expect_draft(blueprint: &Blueprint, etag: &str) -> Result<()> {
    let current = blueprint.draft_etag();
    if etag == current {
        return Ok(());
    }
    Err(Error::new(Reason::EtagMismatch, "the draft has changed since you read it; read it again").with("current_etag", current))
}

/// Reads the files as the language and the engine see them.
fn diagnose(app: &App, files: &Files) -> (Option<Document>, Vec<Diagnostic>) {
    Document::parse_with(files, |document| validate_with(&app.validators, document))
}

/// What the engine of a document finds in it. One whose engine is not known is checked by the engine that was most likely meant,
/// so that its author hears of everything at once.
fn validate_with(validators: &[Arc<dyn Validator>], document: &Document) -> Vec<Diagnostic> {
    let named = |name: &str| validators.iter().find(|validator| validator.engine() == name);
    if let Some(validator) = named(document.engine()) {
        return validator.validate(document);
    }
    let engines: Vec<&str> = validators.iter().map(|validator| validator.engine()).collect();
    let close = language::closest(document.engine(), engines.iter().copied());
    let of_this_shape = || validators.iter().find(|validator| validator.runs_modules() == document.module().is_some());
    let meant = close.and_then(named).or_else(of_this_shape);
    let mut found = meant.map(|validator| validator.validate(document)).unwrap_or_default();
    // An engine without a name is reported already.
    if !document.engine().is_empty() {
        let hint = close.map_or_else(|| format!("there are {}", engines.join(", ")), |close| format!("did you mean `{close}`?"));
        let message = format!("there is no engine `{}`; {hint}", document.engine());
        found.push(Diagnostic::error("unknown-engine", language::DOCUMENT_PATH, document.engine_range(), message));
    }
    found
}

fn invalid(diagnostics: Vec<Diagnostic>) -> Error {
    let errors: Vec<Violation> = diagnostics
        .into_iter()
        .filter(|diagnostic| diagnostic.severity == Severity::Error)
        .map(|d| Violation::new(format!("{}:{}:{}", d.path, d.line, d.column), format!("{} [{}]", d.message, d.code)))
        .collect();
    let text = format!("the draft has {} errors; mend them and publish again", errors.len());
    Error::new(Reason::BlueprintInvalid, text).with_violations(errors)
}

fn too_low(new: &Version, previous: &Version, impact: Impact, required: &Version) -> Error {
    let text = format!("the changes since {previous} are {impact:?}, so {new} is too low; publish as {required} or higher");
    Error::new(Reason::VersionTooLow, text).with("required", required).with("previous", previous)
}

async fn files_of(app: &App, db: &mut Session, place: &Place, owner: Uid) -> Result<Option<Files>> {
    let bytes = app.open(db, place, owner, Kind::Files, 0).await?;
    bytes.map(|bytes| unpack(&bytes)).transpose()
}

/// Files as bytes: for each, length of the path, path, length of the content, content; lengths are 32 bits, big-endian.
fn pack(files: &Files) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (path, content) in files.iter() {
        for part in [path.as_bytes(), content] {
            let length = u32::try_from(part.len()).expect("files are at most 1 MiB together");
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(part);
        }
    }
    bytes
}

fn unpack(mut bytes: &[u8]) -> Result<Files> {
    let mut part = || {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let (part, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        bytes = rest;
        Some(part.to_vec())
    };
    let mut files = Vec::new();
    while let Some(path) = part() {
        let content = part().ok_or_else(|| Error::internal("stored files are cut"))?;
        files.push(File { path: String::from_utf8(path).map_err(Error::internal)?, content });
    }
    Files::new(files).map_err(|violations| Error::internal(format!("stored files are invalid: {violations:?}")))
}
