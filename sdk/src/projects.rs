//! Projects: groups of environments inside a tenant.

use std::collections::BTreeMap;

use freehold_proto::tenants::v1 as pb;
use jiff::Timestamp;

use crate::{
    call::{Call, fields, options, request, service, updates},
    channel::new_id,
    list::{List, list},
    names::Kind,
    wire::resource,
};

resource! {
    /// A group of environments inside one tenant, the unit that roles are given on.
    Project = pb::Project {
        /// Resource name: `tenants/{tenant}/projects/{project}`.
        name: String,
        /// UUIDv7, never used twice, not even after the name is.
        uid: String,
        /// Changes with every change a reader can see.
        etag: String,
        /// Name for people.
        display_name: String,
        /// Labels to find it by.
        labels: BTreeMap<String, String>,
        /// What it is for.
        description: String,
        /// Approval policy of environments that name none.
        approval_policy: Option<String>,
        /// When it was created.
        create_time: Option<Timestamp>,
        /// When it last changed.
        update_time: Option<Timestamp>,
        /// Who created it.
        create_principal: String,
    }
}

service! {
    /// Projects; see [`Client::projects`](crate::Client::projects).
    Projects
}

impl Projects {
    /// Starts building a project; nothing is sent before [`send`](CreateProject::send).
    ///
    /// # Errors
    /// [`is_already_exists`](crate::Error::is_already_exists) if the name is taken,
    /// [`is_quota_exceeded`](crate::Error::is_quota_exceeded) with the dimension and the limit.
    ///
    /// # Example
    /// ```no_run
    /// # async fn example(freehold: freehold::Client) -> freehold::Result<()> {
    /// let shop = freehold.projects().create("shop").display_name("Web shop").send().await?;
    /// assert_eq!(shop.name, "tenants/acme/projects/shop");
    /// # Ok(()) }
    /// ```
    pub fn create(&self, name: impl AsRef<str>) -> CreateProject {
        let request = pb::CreateProjectRequest { request_id: new_id(), ..Default::default() };
        let call = Call::new(&self.core, request).new_name(Kind::Project, name.as_ref(), |request, parent, id| {
            (request.parent, request.project_id) = (parent, id);
        });
        CreateProject { call }
    }

    /// Reads one project.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found).
    pub fn get(&self, name: impl AsRef<str>) -> GetProject {
        let call = Call::new(&self.core, pb::GetProjectRequest::default());
        GetProject { call: call.name(Kind::Project, name.as_ref(), |request, name| request.name = name) }
    }

    /// Lists the projects of the client's tenant by their creation, oldest first.
    pub fn list(&self) -> List<Project> {
        let call = Call::new(&self.core, pb::ListProjectsRequest::default()).in_tenant(|request, parent| request.parent = parent);
        list!(call, "/freehold.tenants.v1.ProjectService/ListProjects", pb::ListProjectsResponse { projects })
    }

    /// Starts changing a project: only what is set is written.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found), [`is_etag_mismatch`](crate::Error::is_etag_mismatch).
    pub fn update(&self, name: impl AsRef<str>) -> UpdateProject {
        let request = pb::UpdateProjectRequest { request_id: new_id(), ..Default::default() };
        let call = Call::new(&self.core, request);
        UpdateProject {
            call: call.name(Kind::Project, name.as_ref(), |request, name| request.project.get_or_insert_default().name = name),
        }
    }

    /// Deletes a project.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found), [`is_failed_precondition`](crate::Error::is_failed_precondition) while it
    /// has environments, [`is_etag_mismatch`](crate::Error::is_etag_mismatch).
    pub fn delete(&self, name: impl AsRef<str>) -> DeleteProject {
        let request = pb::DeleteProjectRequest { request_id: new_id(), ..Default::default() };
        DeleteProject {
            call: Call::new(&self.core, request).name(Kind::Project, name.as_ref(), |request, name| request.name = name),
        }
    }
}

request! {
    /// A project to create; see [`Projects::create`].
    CreateProject(pb::CreateProjectRequest) -> Project =
        "/freehold.tenants.v1.ProjectService/CreateProject", pb::CreateProjectResponse { project }
}
options!(CreateProject: request_id, validate_only);
fields! { CreateProject.project:
    /// Name for people, at most 63 characters.
    display_name: text,
    /// What it is for, at most 1000 characters.
    description: text,
    /// Adds a label: keys `[a-z][a-z0-9_./-]{0,62}`, values at most 63 characters, at most 64 labels.
    labels: labels,
}

impl CreateProject {
    /// Policy that says whose approvals plans need, by its name: `careful`.
    pub fn approval_policy(mut self, policy: impl AsRef<str>) -> Self {
        self.call = self.call.reference(Kind::ApprovalPolicy, policy.as_ref(), |request, name| {
            request.project.get_or_insert_default().approval_policy = name;
        });
        self
    }
}

request! {
    /// A project to read; see [`Projects::get`].
    GetProject(pb::GetProjectRequest) -> Project =
        "/freehold.tenants.v1.ProjectService/GetProject", pb::GetProjectResponse { project }
}

request! {
    /// A project to change; see [`Projects::update`].
    UpdateProject(pb::UpdateProjectRequest) -> Project =
        "/freehold.tenants.v1.ProjectService/UpdateProject", pb::UpdateProjectResponse { project }
}
options!(UpdateProject: request_id, validate_only);
updates! { UpdateProject.project:
    /// Name for people, at most 63 characters.
    display_name: text,
    /// What it is for, at most 1000 characters.
    description: text,
    /// Replaces all labels.
    labels: labels,
}

impl UpdateProject {
    /// Policy that says whose approvals plans need, by its name: `careful`.
    pub fn approval_policy(mut self, policy: impl AsRef<str>) -> Self {
        self.call = self.call.reference(Kind::ApprovalPolicy, policy.as_ref(), |request, name| {
            request.project.get_or_insert_default().approval_policy = name;
        });
        self.mask("approval_policy");
        self
    }

    /// Names no policy any more.
    pub fn no_approval_policy(mut self) -> Self {
        self.call.request.project.get_or_insert_default().approval_policy.clear();
        self.mask("approval_policy");
        self
    }
}

request! {
    /// A project to delete; see [`Projects::delete`].
    DeleteProject(pb::DeleteProjectRequest) -> () =
        "/freehold.tenants.v1.ProjectService/DeleteProject", pb::DeleteProjectResponse {}
}
options!(DeleteProject: request_id, etag, allow_missing);
