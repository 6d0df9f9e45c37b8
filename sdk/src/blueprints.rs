//! Blueprints: reviewed descriptions of infrastructure, with drafts and immutable versions.

use std::collections::BTreeMap;

use freehold_proto::blueprints::v1 as pb;
use jiff::Timestamp;
use serde_json::Value;

use crate::{
    call::{Call, fields, options, present, request, service, updates},
    channel::new_id,
    list::{List, list},
    names::Kind,
    wire::{Lift, resource, values},
};

resource! {
    /// A reviewed description of infrastructure, with immutable versions.
    Blueprint = pb::Blueprint {
        /// Resource name: `tenants/{tenant}/blueprints/{blueprint}`.
        name: String,
        /// UUIDv7, never used twice, not even after the name is.
        uid: String,
        /// Changes with every change a reader can see.
        etag: String,
        /// Name for people.
        display_name: String,
        /// Labels to find it by.
        labels: BTreeMap<String, String>,
        /// What it makes.
        description: String,
        /// Highest published version without a pre-release; absent before the first.
        latest_version: Option<String>,
        /// When it was created.
        create_time: Option<Timestamp>,
        /// When it last changed.
        update_time: Option<Timestamp>,
        /// Who created it.
        create_principal: String,
    }
}

/// One file of a blueprint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlueprintFile {
    /// Path inside the blueprint, with `/`; `blueprint.yaml` describes the blueprint itself.
    pub path: String,
    /// Its bytes; 1 MiB at most in all files together.
    pub content: Vec<u8>,
}

impl BlueprintFile {
    /// A file with this path and content.
    pub fn new(path: impl Into<String>, content: impl Into<Vec<u8>>) -> Self {
        Self { path: path.into(), content: content.into() }
    }
}

/// Shown as text; bytes that are not UTF-8 are replaced.
impl serde::Serialize for BlueprintFile {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct as _;
        let mut out = serializer.serialize_struct("BlueprintFile", 2)?;
        out.serialize_field("path", &self.path)?;
        out.serialize_field("content", &String::from_utf8_lossy(&self.content))?;
        out.end()
    }
}

impl Lift<BlueprintFile> for pb::BlueprintFile {
    fn lift(self) -> BlueprintFile {
        BlueprintFile { path: self.path, content: self.content }
    }
}

resource! {
    /// The files being worked on.
    BlueprintDraft = pb::BlueprintDraft {
        /// Resource name: `tenants/{tenant}/blueprints/{blueprint}/draft`.
        name: String,
        /// Changes with the files.
        etag: String,
        /// All files.
        files: Vec<BlueprintFile>,
        /// Content digest, `sha256:…`.
        digest: String,
        /// When it last changed.
        update_time: Option<Timestamp>,
        /// Where all of its files come from; none when somebody has written them.
        sources: Vec<BlueprintSource>,
    }
}

resource! {
    /// A folder of a repository, and where its files are in a blueprint.
    BlueprintSource = pb::BlueprintSource {
        /// The connection that reaches the repository.
        connection: String,
        /// The repository, for example `acme/shop`.
        repository: String,
        /// A branch, a tag or a commit.
        revision: String,
        /// The folder in the repository; empty for all of it.
        path: String,
        /// The folder of the blueprint that its files are put into; empty for the blueprint itself.
        directory: String,
        /// The commit that the revision was, in full; empty until the server has found that out.
        commit: String,
    }
}

impl BlueprintSource {
    /// All of a repository at a branch, a tag or a commit, reached over this connection.
    pub fn new(connection: impl Into<String>, repository: impl Into<String>, revision: impl Into<String>) -> Self {
        Self {
            connection: connection.into(),
            repository: repository.into(),
            revision: revision.into(),
            path: String::new(),
            directory: String::new(),
            commit: String::new(),
        }
    }

    /// Only this folder of the repository.
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// Puts the files into this folder of the blueprint.
    pub fn directory(mut self, directory: impl Into<String>) -> Self {
        self.directory = directory.into();
        self
    }
}

/// A draft as it was written, with what there is to mend in it.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[non_exhaustive]
pub struct WrittenDraft {
    /// The draft as it is now.
    pub blueprint_draft: BlueprintDraft,
    /// What there is to mend.
    pub diagnostics: Vec<Diagnostic>,
}

resource! {
    /// Published files; they never change again.
    BlueprintVersion = pb::BlueprintVersion {
        /// Resource name: `tenants/{tenant}/blueprints/{blueprint}/versions/{version}`.
        name: String,
        /// UUIDv7.
        uid: String,
        /// Semantic version (semver.org).
        version: String,
        /// Content digest, `sha256:…`.
        digest: String,
        /// The engine that deploys it, for example `native`.
        engine: String,
        /// All files; left out in lists.
        files: Vec<BlueprintFile>,
        /// JSON Schema of the inputs.
        input_schema: Option<Value>,
        /// Names of the outputs.
        outputs: Vec<String>,
        /// What changed.
        notes: String,
        /// When it was published.
        create_time: Option<Timestamp>,
        /// Who published it.
        create_principal: String,
        /// Where all of its files come from, as the draft had it.
        sources: Vec<BlueprintSource>,
    }
}

resource! {
    /// Something to mend in a blueprint.
    Diagnostic = pb::Diagnostic {
        /// Whether it stops a publication.
        severity: Severity,
        /// Stable name of the rule, for example `unknown-key`.
        code: String,
        /// What is wrong and what to do.
        message: String,
        /// The file.
        path: String,
        /// Line, from 1; 0 when it concerns the whole file.
        line: i32,
        /// Column in characters, from 1.
        column: i32,
        /// Last line.
        end_line: i32,
        /// Column after the last character.
        end_column: i32,
    }
}

values! {
    /// How bad a diagnostic is.
    Severity {
        /// Stops a publication.
        Error = 1 "ERROR",
        /// Does not.
        Warning = 2 "WARNING",
    }
}

/// What differs between two versions.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[non_exhaustive]
pub struct BlueprintDiff {
    /// Differences of inputs, outputs and resources.
    pub changes: Vec<BlueprintChange>,
    /// The least version step that they need together; absent without a difference.
    pub impact: Option<VersionImpact>,
}

resource! {
    /// One difference between two versions.
    BlueprintChange = pb::BlueprintChange {
        /// Where, for example `inputs.size` or `resources.web.url`.
        path: String,
        /// What happened to it.
        kind: BlueprintChangeKind,
        /// Value before; absent when it was added.
        before: Option<Value>,
        /// Value after; absent when it was removed.
        after: Option<Value>,
        /// The least version step that it needs.
        impact: VersionImpact,
    }
}

values! {
    /// What happened.
    BlueprintChangeKind {
        /// It is new.
        Added = 1 "ADDED",
        /// It is gone.
        Removed = 2 "REMOVED",
        /// It is different.
        Changed = 3 "CHANGED",
    }
}

values! {
    /// The least version step that a change needs.
    VersionImpact {
        /// Nobody has to notice.
        Patch = 1 "PATCH",
        /// Something new that nobody needs to use.
        Minor = 2 "MINOR",
        /// A user may have to change something.
        Major = 3 "MAJOR",
    }
}

service! {
    /// Blueprints; see [`Client::blueprints`](crate::Client::blueprints).
    Blueprints
}

impl Blueprints {
    /// Starts building a blueprint; its files come with [`write_draft`](Self::write_draft).
    ///
    /// # Errors
    /// [`is_already_exists`](crate::Error::is_already_exists), [`is_quota_exceeded`](crate::Error::is_quota_exceeded).
    ///
    /// # Example
    /// ```no_run
    /// # async fn example(freehold: freehold::Client, files: Vec<freehold::BlueprintFile>) -> freehold::Result<()> {
    /// let blueprints = freehold.blueprints();
    /// blueprints.create("greeting").display_name("A greeting").send().await?;
    /// let draft = blueprints.write_draft("greeting", files).send().await?.blueprint_draft;
    /// blueprints.publish("greeting@1.0.0", &draft.etag).notes("The first one").send().await?;
    /// # Ok(()) }
    /// ```
    pub fn create(&self, name: impl AsRef<str>) -> CreateBlueprint {
        let request = pb::CreateBlueprintRequest { request_id: new_id(), ..Default::default() };
        let call = Call::new(&self.core, request).new_name(Kind::Blueprint, name.as_ref(), |request, parent, id| {
            (request.parent, request.blueprint_id) = (parent, id);
        });
        CreateBlueprint { call }
    }

    /// Reads one blueprint.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found).
    pub fn get(&self, name: impl AsRef<str>) -> GetBlueprint {
        let call = Call::new(&self.core, pb::GetBlueprintRequest::default());
        GetBlueprint { call: call.name(Kind::Blueprint, name.as_ref(), |request, name| request.name = name) }
    }

    /// Lists the blueprints of the client's tenant by their creation, oldest first.
    pub fn list(&self) -> List<Blueprint> {
        let call =
            Call::new(&self.core, pb::ListBlueprintsRequest::default()).in_tenant(|request, parent| request.parent = parent);
        list!(call, "/freehold.blueprints.v1.BlueprintService/ListBlueprints", pb::ListBlueprintsResponse { blueprints })
    }

    /// Starts changing a blueprint: only what is set is written.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found), [`is_etag_mismatch`](crate::Error::is_etag_mismatch).
    pub fn update(&self, name: impl AsRef<str>) -> UpdateBlueprint {
        let request = pb::UpdateBlueprintRequest { request_id: new_id(), ..Default::default() };
        let call = Call::new(&self.core, request);
        UpdateBlueprint {
            call: call
                .name(Kind::Blueprint, name.as_ref(), |request, name| request.blueprint.get_or_insert_default().name = name),
        }
    }

    /// Deletes a blueprint.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found), [`is_failed_precondition`](crate::Error::is_failed_precondition) while a
    /// deployment uses one of its versions, [`is_etag_mismatch`](crate::Error::is_etag_mismatch).
    pub fn delete(&self, name: impl AsRef<str>) -> DeleteBlueprint {
        let request = pb::DeleteBlueprintRequest { request_id: new_id(), ..Default::default() };
        DeleteBlueprint {
            call: Call::new(&self.core, request).name(Kind::Blueprint, name.as_ref(), |request, name| request.name = name),
        }
    }

    /// Reads the files being worked on, by the name of the blueprint.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found).
    pub fn get_draft(&self, blueprint: impl AsRef<str>) -> GetBlueprintDraft {
        let call = Call::new(&self.core, pb::GetBlueprintDraftRequest::default());
        GetBlueprintDraft { call: call.name(Kind::BlueprintDraft, blueprint.as_ref(), |request, name| request.name = name) }
    }

    /// Replaces all files of the draft, by the name of the blueprint; they need not be right yet.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found), [`is_etag_mismatch`](crate::Error::is_etag_mismatch).
    pub fn write_draft(
        &self,
        blueprint: impl AsRef<str>,
        files: impl IntoIterator<Item = BlueprintFile>,
    ) -> UpdateBlueprintDraft {
        let draft = pb::BlueprintDraft { files: files.into_iter().map(lower).collect(), ..Default::default() };
        let request = pb::UpdateBlueprintDraftRequest { blueprint_draft: Some(draft), request_id: new_id() };
        UpdateBlueprintDraft {
            call: Call::new(&self.core, request).name(Kind::BlueprintDraft, blueprint.as_ref(), |request, name| {
                request.blueprint_draft.get_or_insert_default().name = name;
            }),
        }
    }

    /// Replaces all files of the draft by those of folders in repositories, by the name of the blueprint.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found), [`is_etag_mismatch`](crate::Error::is_etag_mismatch),
    /// [`is_invalid_argument`](crate::Error::is_invalid_argument) with every wrong source and every path that a blueprint cannot
    /// have; those of [`invoke`](crate::Connections::invoke) when a connection or its system refuses.
    ///
    /// # Example
    /// ```no_run
    /// # async fn example(freehold: freehold::Client) -> freehold::Result<()> {
    /// use freehold::BlueprintSource;
    /// let web = BlueprintSource::new("code", "acme/shop", "main").path("web");
    /// let network = BlueprintSource::new("code", "acme/modules", "v1.4.0").path("network").directory("modules/network");
    /// let draft = freehold.blueprints().import_draft("web", [web, network]).send().await?.blueprint_draft;
    /// println!("{}", draft.sources[0].commit);
    /// # Ok(()) }
    /// ```
    pub fn import_draft(
        &self,
        blueprint: impl AsRef<str>,
        sources: impl IntoIterator<Item = BlueprintSource>,
    ) -> ImportBlueprintDraft {
        let request = pb::ImportBlueprintDraftRequest { request_id: new_id(), ..Default::default() };
        let mut call =
            Call::new(&self.core, request).name(Kind::BlueprintDraft, blueprint.as_ref(), |request, name| request.name = name);
        for BlueprintSource { connection, repository, revision, path, directory, commit } in sources {
            call = call.reference(Kind::Connection, &connection, |request, connection| {
                request.sources.push(pb::BlueprintSource { connection, repository, revision, path, directory, commit });
            });
        }
        ImportBlueprintDraft { call }
    }

    /// Checks files and says everything there is to mend; wrong content is an answer, not an error.
    pub fn validate(&self, files: impl IntoIterator<Item = BlueprintFile>) -> ValidateBlueprint {
        let request = pb::ValidateBlueprintRequest { files: files.into_iter().map(lower).collect(), ..Default::default() };
        ValidateBlueprint { call: Call::new(&self.core, request).in_tenant(|request, parent| request.parent = parent) }
    }

    /// Freezes the draft that has this etag as a version, `greeting@1.0.0`.
    ///
    /// # Errors
    /// [`is_etag_mismatch`](crate::Error::is_etag_mismatch) when the draft is another by now,
    /// [`is_failed_precondition`](crate::Error::is_failed_precondition) with the reason `BLUEPRINT_INVALID` and every fault, or
    /// `VERSION_TOO_LOW` and the version that the changes need, [`is_already_exists`](crate::Error::is_already_exists).
    pub fn publish(&self, version: impl AsRef<str>, draft_etag: impl Into<String>) -> PublishBlueprintVersion {
        let request =
            pb::PublishBlueprintVersionRequest { draft_etag: draft_etag.into(), request_id: new_id(), ..Default::default() };
        let call =
            Call::new(&self.core, request).new_name(Kind::BlueprintVersion, version.as_ref(), |request, parent, version| {
                (request.parent, request.version) = (parent, version);
            });
        PublishBlueprintVersion { call }
    }

    /// Reads one version, `greeting@1.0.0`, with its files.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found).
    pub fn get_version(&self, name: impl AsRef<str>) -> GetBlueprintVersion {
        let call = Call::new(&self.core, pb::GetBlueprintVersionRequest::default());
        GetBlueprintVersion { call: call.name(Kind::BlueprintVersion, name.as_ref(), |request, name| request.name = name) }
    }

    /// Lists the versions of a blueprint without files, in the order they were published.
    pub fn list_versions(&self, blueprint: impl AsRef<str>) -> List<BlueprintVersion> {
        let call = Call::new(&self.core, pb::ListBlueprintVersionsRequest::default()).name(
            Kind::Blueprint,
            blueprint.as_ref(),
            |request, parent| request.parent = parent,
        );
        list!(
            call,
            "/freehold.blueprints.v1.BlueprintService/ListBlueprintVersions",
            pb::ListBlueprintVersionsResponse { blueprint_versions }
        )
    }

    /// Compares two versions of a blueprint, `1.0.0` and `1.1.0`; the newer one can be `draft`.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found).
    pub fn diff(&self, blueprint: impl AsRef<str>, from: impl Into<String>, to: impl Into<String>) -> DiffBlueprintVersions {
        let request = pb::DiffBlueprintVersionsRequest { from: from.into(), to: to.into(), ..Default::default() };
        let call = Call::new(&self.core, request);
        DiffBlueprintVersions { call: call.name(Kind::Blueprint, blueprint.as_ref(), |request, parent| request.parent = parent) }
    }
}

fn lower(file: BlueprintFile) -> pb::BlueprintFile {
    pb::BlueprintFile { path: file.path, content: file.content }
}

request! {
    /// A blueprint to create; see [`Blueprints::create`].
    CreateBlueprint(pb::CreateBlueprintRequest) -> Blueprint =
        "/freehold.blueprints.v1.BlueprintService/CreateBlueprint", pb::CreateBlueprintResponse { blueprint }
}
options!(CreateBlueprint: request_id, validate_only);
fields! { CreateBlueprint.blueprint:
    /// Name for people, at most 63 characters.
    display_name: text,
    /// What it makes, at most 1000 characters.
    description: text,
    /// Adds a label: keys `[a-z][a-z0-9_./-]{0,62}`, values at most 63 characters, at most 64 labels.
    labels: labels,
}

request! {
    /// A blueprint to read; see [`Blueprints::get`].
    GetBlueprint(pb::GetBlueprintRequest) -> Blueprint =
        "/freehold.blueprints.v1.BlueprintService/GetBlueprint", pb::GetBlueprintResponse { blueprint }
}

request! {
    /// A blueprint to change; see [`Blueprints::update`].
    UpdateBlueprint(pb::UpdateBlueprintRequest) -> Blueprint =
        "/freehold.blueprints.v1.BlueprintService/UpdateBlueprint", pb::UpdateBlueprintResponse { blueprint }
}
options!(UpdateBlueprint: request_id, validate_only);
updates! { UpdateBlueprint.blueprint:
    /// Name for people, at most 63 characters.
    display_name: text,
    /// What it makes, at most 1000 characters.
    description: text,
    /// Replaces all labels.
    labels: labels,
}

request! {
    /// A blueprint to delete; see [`Blueprints::delete`].
    DeleteBlueprint(pb::DeleteBlueprintRequest) -> () =
        "/freehold.blueprints.v1.BlueprintService/DeleteBlueprint", pb::DeleteBlueprintResponse {}
}
options!(DeleteBlueprint: request_id, etag, allow_missing);

request! {
    /// A draft to read; see [`Blueprints::get_draft`].
    GetBlueprintDraft(pb::GetBlueprintDraftRequest) -> BlueprintDraft =
        "/freehold.blueprints.v1.BlueprintService/GetBlueprintDraft", pb::GetBlueprintDraftResponse { blueprint_draft }
}

request! {
    /// A draft to write; see [`Blueprints::write_draft`].
    UpdateBlueprintDraft(pb::UpdateBlueprintDraftRequest) -> WrittenDraft =
        "/freehold.blueprints.v1.BlueprintService/UpdateBlueprintDraft",
        |answer: pb::UpdateBlueprintDraftResponse| Ok(WrittenDraft {
            blueprint_draft: present(answer.blueprint_draft, "blueprint_draft")?.lift(),
            diagnostics: answer.diagnostics.lift(),
        })
}
options!(UpdateBlueprintDraft: request_id);

impl UpdateBlueprintDraft {
    /// Etag of the draft that the files were made from; needed for every write but the first.
    pub fn etag(mut self, etag: impl Into<String>) -> Self {
        self.call.request.blueprint_draft.get_or_insert_default().etag = etag.into();
        self
    }
}

request! {
    /// Repositories to make a draft of; see [`Blueprints::import_draft`].
    ImportBlueprintDraft(pb::ImportBlueprintDraftRequest) -> WrittenDraft =
        "/freehold.blueprints.v1.BlueprintService/ImportBlueprintDraft",
        |answer: pb::ImportBlueprintDraftResponse| Ok(WrittenDraft {
            blueprint_draft: present(answer.blueprint_draft, "blueprint_draft")?.lift(),
            diagnostics: answer.diagnostics.lift(),
        })
}
options!(ImportBlueprintDraft: request_id, etag);

request! {
    /// Files to check; see [`Blueprints::validate`].
    ValidateBlueprint(pb::ValidateBlueprintRequest) -> Vec<Diagnostic> =
        "/freehold.blueprints.v1.BlueprintService/ValidateBlueprint",
        |answer: pb::ValidateBlueprintResponse| Ok(answer.diagnostics.lift())
}

request! {
    /// A version to publish; see [`Blueprints::publish`].
    PublishBlueprintVersion(pb::PublishBlueprintVersionRequest) -> BlueprintVersion =
        "/freehold.blueprints.v1.BlueprintService/PublishBlueprintVersion",
        pb::PublishBlueprintVersionResponse { blueprint_version }
}
options!(PublishBlueprintVersion: request_id, validate_only);

impl PublishBlueprintVersion {
    /// What changed, at most 4000 characters.
    pub fn notes(mut self, notes: impl Into<String>) -> Self {
        self.call.request.notes = notes.into();
        self
    }
}

request! {
    /// A version to read; see [`Blueprints::get_version`].
    GetBlueprintVersion(pb::GetBlueprintVersionRequest) -> BlueprintVersion =
        "/freehold.blueprints.v1.BlueprintService/GetBlueprintVersion", pb::GetBlueprintVersionResponse { blueprint_version }
}

request! {
    /// Versions to compare; see [`Blueprints::diff`].
    DiffBlueprintVersions(pb::DiffBlueprintVersionsRequest) -> BlueprintDiff =
        "/freehold.blueprints.v1.BlueprintService/DiffBlueprintVersions",
        |answer: pb::DiffBlueprintVersionsResponse| Ok(BlueprintDiff {
            changes: answer.changes.lift(),
            impact: answer.impact.lift(),
        })
}
