//! Drift: what is not as it was made, and what becomes of it.

use std::collections::BTreeMap;

use freehold_proto::deployments::v1 as pb;
use jiff::Timestamp;
use serde_json::Value;

use crate::{
    call::{Call, options, present, request, service},
    channel::new_id,
    list::{List, list},
    names::Kind,
    wire::{Lift, resource, timestamp, values},
};

resource! {
    /// What a look for drift came to.
    DriftCheck = pb::DriftCheck {
        /// How it ended.
        state: DriftState,
        /// Why, in words; absent when all is as it was made.
        reason: Option<String>,
    }
}

values! {
    /// How a look for drift ended.
    DriftState {
        /// There was none yet.
        Unchecked = 1 "UNCHECKED",
        /// Reality is as it was made.
        Clean = 2 "CLEAN",
        /// It is not.
        Drifted = 3 "DRIFTED",
        /// It could not be found out.
        Errored = 4 "ERRORED",
        /// It was left out, or stopped.
        Skipped = 5 "SKIPPED",
    }
}

resource! {
    /// One attribute of one resource that is not as it was made, from the first look that found it to the last.
    DriftItem = pb::DriftItem {
        /// Resource name: the deployment's and `/driftItems/{uid}`.
        name: String,
        /// UUIDv7.
        uid: String,
        /// Changes with every change but that of being seen again.
        etag: String,
        /// The resource, for example `file.motd`.
        address: String,
        /// Type of the resource.
        r#type: String,
        /// The attribute; absent for the resource as a whole, which is gone.
        path: Option<String>,
        /// Value as it was made; absent when there is none, or it is hidden.
        before: Option<Value>,
        /// Value as it is; absent when there is none, or it is hidden.
        after: Option<Value>,
        /// Values are hidden.
        sensitive: bool,
        /// Values were too long; only their beginning was kept.
        cut: bool,
        /// What it is to whoever watches.
        class: DriftClass,
        /// How far it is.
        state: DriftItemState,
        /// The same for the same deployment, address, path and shape of the value.
        fingerprint: String,
        /// The first look that found it.
        first_seen_time: Option<Timestamp>,
        /// The last one.
        last_seen_time: Option<Timestamp>,
        /// How many found it.
        count: i64,
        /// The run that found it last.
        last_run: String,
        /// What it comes from.
        cause: Option<DriftCause>,
        /// Who has it.
        owner: Option<String>,
        /// Where they work on it.
        ticket: Option<String>,
        /// Who has said that they know of it.
        acknowledge_principal: Option<String>,
        /// What they have said.
        note: Option<String>,
        /// The exception that it is accepted by.
        exception: Option<String>,
        /// The run that is to put it right.
        remediation_run: Option<String>,
        /// When it last changed.
        update_time: Option<Timestamp>,
        /// When it was as it was made again.
        resolve_time: Option<Timestamp>,
    }
}

values! {
    /// What an item is to whoever watches.
    DriftClass {
        /// The last look found it for the first time.
        New = 1 "NEW",
        /// It was found before.
        Known = 2 "KNOWN",
        /// An exception covers it.
        Accepted = 3 "ACCEPTED",
        /// The last run that changed something explains it.
        Expected = 4 "EXPECTED",
    }
}

values! {
    /// How far an item is.
    DriftItemState {
        /// Nobody has it yet.
        Open = 1 "OPEN",
        /// Somebody knows of it.
        Acknowledged = 2 "ACKNOWLEDGED",
        /// It may stay until its exception ends.
        Accepted = 3 "ACCEPTED",
        /// A run is under way that is to put it right.
        Remediating = 4 "REMEDIATING",
        /// It is as it was made again.
        Resolved = 5 "RESOLVED",
        /// It was resolved or accepted, and is there again.
        Reopened = 6 "REOPENED",
    }
}

resource! {
    /// What an item comes from.
    DriftCause = pb::DriftCause {
        /// Kind of cause.
        kind: DriftCauseKind,
        /// The run, for a run.
        run: Option<String>,
    }
}

values! {
    /// Kinds of causes.
    DriftCauseKind {
        /// Nobody can tell.
        NotKnown = 1 "UNKNOWN",
        /// A run that did not reach its end.
        Run = 2 "RUN",
    }
}

resource! {
    /// Drift that may stay, for a time. It changes what alarms, never what a plan does.
    DriftException = pb::DriftException {
        /// Resource name: `tenants/{tenant}/driftExceptions/{uid}`.
        name: String,
        /// UUIDv7.
        uid: String,
        /// What it covers.
        matcher: Option<DriftMatcher>,
        /// Why that may stay.
        reason: String,
        /// Who answers for it.
        owner: String,
        /// When it ends; what it covered is opened again then.
        expire_time: Option<Timestamp>,
        /// When it was created.
        create_time: Option<Timestamp>,
        /// Who created it.
        create_principal: String,
    }
}

resource! {
    /// What an exception covers: what is right by all of these. Patterns have `*` for any text.
    DriftMatcher = pb::DriftMatcher {
        /// Pattern of the full name of the deployment.
        deployment: Option<String>,
        /// Labels that the deployment must have.
        labels: BTreeMap<String, String>,
        /// Pattern of the type of the resource.
        r#type: Option<String>,
        /// Pattern of the address of the resource.
        address: Option<String>,
        /// Pattern of the path of the attribute.
        path: Option<String>,
        /// Pattern of the value as it is.
        value: Option<String>,
        /// Only while the value is the one that was accepted.
        pinned: bool,
    }
}

service! {
    /// Drift; see [`Client::drift`](crate::Client::drift).
    Drift
}

impl Drift {
    /// Lists items: of a deployment, `shop/dev/web`, of an environment, `shop/dev`, or, with an empty name, of the tenant.
    ///
    /// ```no_run
    /// # async fn example(freehold: freehold::Client) -> freehold::Result<()> {
    /// use freehold::DriftItemState::{Open, Reopened};
    ///
    /// for item in freehold.drift().items("shop/dev").states([Open, Reopened]).list().collect_up_to(100).await? {
    ///     println!("{} {}", item.address, item.state);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn items(&self, of: impl AsRef<str>) -> ListDriftItems {
        let call = Call::new(&self.core, pb::ListDriftItemsRequest::default());
        ListDriftItems {
            call: call.name(Kind::DriftScope, of.as_ref(), |request, scope| {
                request.parent = match scope.split('/').count() {
                    2 => format!("{scope}/projects/-/environments/-/deployments/-"),
                    6 => format!("{scope}/deployments/-"),
                    _ => scope,
                };
            }),
        }
    }

    /// Reads one item, `project/environment/deployment/uid`.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found).
    pub fn get(&self, name: impl AsRef<str>) -> GetDriftItem {
        let call = Call::new(&self.core, pb::GetDriftItemRequest::default());
        GetDriftItem { call: call.name(Kind::DriftItem, name.as_ref(), |request, name| request.name = name) }
    }

    /// Says that somebody knows of an item; it alarms nobody any more while it stays.
    ///
    /// # Errors
    /// [`is_failed_precondition`](crate::Error::is_failed_precondition) when nothing of it is open,
    /// [`is_etag_mismatch`](crate::Error::is_etag_mismatch).
    pub fn acknowledge(&self, name: impl AsRef<str>) -> AcknowledgeDriftItem {
        let request = pb::AcknowledgeDriftItemRequest { request_id: new_id(), ..Default::default() };
        let call = Call::new(&self.core, request);
        AcknowledgeDriftItem { call: call.name(Kind::DriftItem, name.as_ref(), |request, name| request.name = name) }
    }

    /// Lets an item stay until then, at most for a year: makes an exception that covers it alone, while its value stays as it is.
    ///
    /// # Errors
    /// [`is_failed_precondition`](crate::Error::is_failed_precondition) when it is resolved or accepted already,
    /// [`is_etag_mismatch`](crate::Error::is_etag_mismatch).
    pub fn accept(&self, name: impl AsRef<str>, reason: impl Into<String>, until: Timestamp) -> AcceptDriftItem {
        let request = pb::AcceptDriftItemRequest {
            reason: reason.into(),
            expire_time: Some(timestamp(until)),
            request_id: new_id(),
            ..Default::default()
        };
        let call = Call::new(&self.core, request);
        AcceptDriftItem { call: call.name(Kind::DriftItem, name.as_ref(), |request, name| request.name = name) }
    }

    /// Starts giving an item to somebody; only what is set is written.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found), [`is_etag_mismatch`](crate::Error::is_etag_mismatch).
    pub fn assign(&self, name: impl AsRef<str>) -> AssignDriftItem {
        let request = pb::AssignDriftItemRequest { request_id: new_id(), ..Default::default() };
        let call = Call::new(&self.core, request);
        AssignDriftItem { call: call.name(Kind::DriftItem, name.as_ref(), |request, name| request.name = name) }
    }

    /// Starts building an exception that lasts until then, at most for a year. It must say what it covers.
    ///
    /// # Errors
    /// [`is_invalid_argument`](crate::Error::is_invalid_argument) naming what is missing,
    /// [`is_failed_precondition`](crate::Error::is_failed_precondition) when there are 500 of them.
    ///
    /// # Example
    /// ```no_run
    /// # async fn example(freehold: freehold::Client, until: freehold::Timestamp) -> freehold::Result<()> {
    /// freehold.drift().except("the cache is tuned by hand", until).address("file.cache_*").path("content").send().await?;
    /// # Ok(()) }
    /// ```
    pub fn except(&self, reason: impl Into<String>, until: Timestamp) -> CreateDriftException {
        let exception = pb::DriftException { reason: reason.into(), expire_time: Some(timestamp(until)), ..Default::default() };
        let request =
            pb::CreateDriftExceptionRequest { drift_exception: Some(exception), request_id: new_id(), ..Default::default() };
        CreateDriftException { call: Call::new(&self.core, request).in_tenant(|request, parent| request.parent = parent) }
    }

    /// Reads one exception, by its uid.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found).
    pub fn get_exception(&self, name: impl AsRef<str>) -> GetDriftException {
        let call = Call::new(&self.core, pb::GetDriftExceptionRequest::default());
        GetDriftException { call: call.name(Kind::DriftException, name.as_ref(), |request, name| request.name = name) }
    }

    /// Lists the exceptions of the tenant, oldest first, also those that have ended.
    pub fn exceptions(&self) -> List<DriftException> {
        let call = Call::new(&self.core, pb::ListDriftExceptionsRequest::default());
        let call = call.in_tenant(|request, parent| request.parent = parent);
        list!(
            call,
            "/freehold.deployments.v1.DriftService/ListDriftExceptions",
            pb::ListDriftExceptionsResponse { drift_exceptions }
        )
    }

    /// Ends an exception now; what it covered is opened again.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found).
    pub fn delete_exception(&self, name: impl AsRef<str>) -> DeleteDriftException {
        let request = pb::DeleteDriftExceptionRequest { request_id: new_id(), ..Default::default() };
        let call = Call::new(&self.core, request);
        DeleteDriftException { call: call.name(Kind::DriftException, name.as_ref(), |request, name| request.name = name) }
    }
}

/// Items to list; see [`Drift::items`].
#[must_use = "nothing is sent before the `list` is"]
#[derive(Clone)]
pub struct ListDriftItems {
    call: Call<pb::ListDriftItemsRequest>,
}

impl ListDriftItems {
    /// Only items in these states.
    pub fn states(mut self, states: impl IntoIterator<Item = DriftItemState>) -> Self {
        self.call.request.states = states.into_iter().map(DriftItemState::number).collect();
        self
    }

    /// Only items of these classes.
    pub fn classes(mut self, classes: impl IntoIterator<Item = DriftClass>) -> Self {
        self.call.request.classes = classes.into_iter().map(DriftClass::number).collect();
        self
    }

    /// The list, oldest first.
    pub fn list(self) -> List<DriftItem> {
        let call = self.call;
        list!(call, "/freehold.deployments.v1.DriftService/ListDriftItems", pb::ListDriftItemsResponse { drift_items })
    }
}

request! {
    /// An item to read; see [`Drift::get`].
    GetDriftItem(pb::GetDriftItemRequest) -> DriftItem =
        "/freehold.deployments.v1.DriftService/GetDriftItem", pb::GetDriftItemResponse { drift_item }
}

request! {
    /// An item to acknowledge; see [`Drift::acknowledge`].
    AcknowledgeDriftItem(pb::AcknowledgeDriftItemRequest) -> DriftItem =
        "/freehold.deployments.v1.DriftService/AcknowledgeDriftItem", pb::AcknowledgeDriftItemResponse { drift_item }
}
options!(AcknowledgeDriftItem: request_id, etag);

impl AcknowledgeDriftItem {
    /// What is known of it.
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.call.request.note = note.into();
        self
    }
}

request! {
    /// An item to accept; see [`Drift::accept`].
    AcceptDriftItem(pb::AcceptDriftItemRequest) -> (DriftItem, DriftException) =
        "/freehold.deployments.v1.DriftService/AcceptDriftItem", |answer: pb::AcceptDriftItemResponse| {
            let item = present(answer.drift_item, "drift_item")?;
            Ok((item.lift(), present(answer.drift_exception, "drift_exception")?.lift()))
        }
}
options!(AcceptDriftItem: request_id, etag);

impl AcceptDriftItem {
    /// Who answers for that: `users/ada`; the caller if not said.
    pub fn owner(mut self, owner: impl AsRef<str>) -> Self {
        self.call = self.call.reference(Kind::Member, owner.as_ref(), |request, owner| request.owner = owner);
        self
    }

    /// Whatever the value becomes; otherwise another value opens the item again.
    pub fn any_value(mut self) -> Self {
        self.call.request.any_value = true;
        self
    }
}

request! {
    /// An item to give to somebody; see [`Drift::assign`].
    AssignDriftItem(pb::AssignDriftItemRequest) -> DriftItem =
        "/freehold.deployments.v1.DriftService/AssignDriftItem", pb::AssignDriftItemResponse { drift_item }
}
options!(AssignDriftItem: request_id, etag);

impl AssignDriftItem {
    /// Who has it, `users/ada`; empty for nobody.
    pub fn owner(mut self, owner: impl AsRef<str>) -> Self {
        match owner.as_ref() {
            "" => self.call.request.owner = Some(String::new()),
            owner => self.call = self.call.reference(Kind::Member, owner, |request, owner| request.owner = Some(owner)),
        }
        self
    }

    /// Where they work on it; empty for nowhere.
    pub fn ticket(mut self, ticket: impl Into<String>) -> Self {
        self.call.request.ticket = Some(ticket.into());
        self
    }
}

request! {
    /// An exception to create; see [`Drift::except`].
    CreateDriftException(pb::CreateDriftExceptionRequest) -> DriftException =
        "/freehold.deployments.v1.DriftService/CreateDriftException", pb::CreateDriftExceptionResponse { drift_exception }
}
options!(CreateDriftException: request_id, validate_only);

impl CreateDriftException {
    fn matcher(&mut self) -> &mut pb::DriftMatcher {
        self.call.request.drift_exception.get_or_insert_default().matcher.get_or_insert_default()
    }

    /// Only deployments whose full name is so: `*/environments/dev/deployments/*`.
    pub fn deployment(mut self, pattern: impl Into<String>) -> Self {
        self.matcher().deployment = pattern.into();
        self
    }

    /// Only deployments that have this label.
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.matcher().labels.insert(key.into(), value.into());
        self
    }

    /// Only resources of such types.
    pub fn kind(mut self, pattern: impl Into<String>) -> Self {
        self.matcher().r#type = pattern.into();
        self
    }

    /// Only resources with such addresses.
    pub fn address(mut self, pattern: impl Into<String>) -> Self {
        self.matcher().address = pattern.into();
        self
    }

    /// Only such attributes.
    pub fn path(mut self, pattern: impl Into<String>) -> Self {
        self.matcher().path = pattern.into();
        self
    }

    /// Only such values.
    pub fn value(mut self, pattern: impl Into<String>) -> Self {
        self.matcher().value = pattern.into();
        self
    }

    /// Who answers for it, `users/ada`; the caller if not said.
    pub fn owner(mut self, owner: impl AsRef<str>) -> Self {
        self.call = self.call.reference(Kind::Member, owner.as_ref(), |request, owner| {
            request.drift_exception.get_or_insert_default().owner = owner;
        });
        self
    }
}

request! {
    /// An exception to read; see [`Drift::get_exception`].
    GetDriftException(pb::GetDriftExceptionRequest) -> DriftException =
        "/freehold.deployments.v1.DriftService/GetDriftException", pb::GetDriftExceptionResponse { drift_exception }
}

request! {
    /// An exception to end; see [`Drift::delete_exception`].
    DeleteDriftException(pb::DeleteDriftExceptionRequest) -> () =
        "/freehold.deployments.v1.DriftService/DeleteDriftException", pb::DeleteDriftExceptionResponse {}
}
options!(DeleteDriftException: request_id);
