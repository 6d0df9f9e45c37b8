//! What every request builder is made of.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use freehold_proto::Method;
use futures::{StreamExt as _, future::BoxFuture, stream::BoxStream};
use prost::Message;
use tokio::time::Instant;

use crate::{
    Code, Error, Violation,
    channel::{default_deadline, new_id},
    error::{Result, Started},
    names::{self, Kind},
    retry::{self, Policy},
};

/// One attempt of one call.
pub(crate) struct Attempt {
    pub(crate) path: &'static str,
    pub(crate) body: Bytes,
    pub(crate) tenant: Option<String>,
    pub(crate) request_id: String,
    pub(crate) time: Duration,
}

/// What carries calls: a channel, or a stub.
pub(crate) trait Transport: Send + Sync {
    fn unary(&self, attempt: Attempt) -> BoxFuture<'_, Result<Bytes>>;
    fn stream(&self, attempt: Attempt) -> BoxFuture<'_, Result<BoxStream<'static, Result<Bytes>>>>;
    /// The token has expired; returns whether there can be another.
    fn renew(&self) -> bool;
    /// Whether the server that would be called now can be asked again after this error.
    fn allows(&self, error: &Error) -> bool;
}

/// What all parts of a client share.
pub(crate) struct Core {
    pub(crate) transport: Box<dyn Transport>,
    pub(crate) tenant: Option<String>,
    pub(crate) deadline: Duration,
    pub(crate) policy: Policy,
}

impl Core {
    /// Makes a call and reads its answer.
    pub(crate) async fn unary<A: Message + Default>(
        &self,
        path: &'static str,
        request: &impl Message,
        tenant: Option<String>,
        deadline: Option<Duration>,
    ) -> Result<A> {
        let method = policy_of(path);
        let body = Bytes::from(request.encode_to_vec());
        let id = new_id();
        let end = Instant::now() + deadline.unwrap_or_else(|| default_deadline(self.deadline, Some(method)));
        let answer = retry::run(
            self.policy,
            method.kind,
            end,
            || self.transport.renew(),
            |error| self.transport.allows(error),
            |time| {
                self.transport.unary(Attempt { path, body: body.clone(), tenant: tenant.clone(), request_id: id.clone(), time })
            },
        )
        .await
        .map_err(|error| error.or_request_id(&id))?;
        read(answer)
    }

    /// Opens a stream. It lasts as long as the contract lets it.
    pub(crate) async fn stream<A: Message + Default + 'static>(
        &self,
        path: &'static str,
        request: &impl Message,
        tenant: Option<String>,
    ) -> Result<BoxStream<'static, Result<A>>> {
        let method = policy_of(path);
        let body = Bytes::from(request.encode_to_vec());
        let id = new_id();
        let stream = retry::run(
            self.policy,
            method.kind,
            Instant::now() + self.deadline,
            || self.transport.renew(),
            |error| self.transport.allows(error),
            |_| {
                let time = method.max_deadline;
                self.transport.stream(Attempt { path, body: body.clone(), tenant: tenant.clone(), request_id: id.clone(), time })
            },
        )
        .await
        .map_err(|error| error.or_request_id(&id))?;
        Ok(stream.map(|message| message.and_then(read)).boxed())
    }
}

fn policy_of(path: &str) -> &'static Method {
    freehold_proto::method(path).expect("every path in this crate is one of the contract")
}

fn read<A: Message + Default>(answer: Bytes) -> Result<A> {
    A::decode(answer)
        .map_err(|error| Error::new(Code::Internal, format!("the answer cannot be read: {error}")).with_source(Arc::new(error)))
}

/// What an answer must hold.
pub(crate) fn present<T>(part: Option<T>, what: &str) -> Result<T> {
    part.ok_or_else(|| Error::new(Code::Internal, format!("the answer lacks its {what}; the server may be of another version")))
}

/// A request being built.
#[derive(Clone)]
pub(crate) struct Call<R> {
    pub(crate) core: Arc<Core>,
    pub(crate) request: R,
    pub(crate) deadline: Option<Duration>,
    tenant: Option<String>,
    problems: Vec<Violation>,
}

impl<R: Message> Call<R> {
    pub(crate) fn new(core: &Arc<Core>, request: R) -> Self {
        Self { core: core.clone(), request, deadline: None, tenant: core.tenant.clone(), problems: Vec::new() }
    }

    /// Puts the full form of a resource name into the request. The first one also says which tenant the call is about.
    pub(crate) fn name(mut self, kind: Kind, name: &str, put: impl FnOnce(&mut R, String)) -> Self {
        match names::full(kind, name, self.core.tenant.as_deref()) {
            Ok(full) => {
                self.tenant = names::tenant_of(&full).map(str::to_owned);
                put(&mut self.request, full);
            }
            Err(violation) => self.problems.push(violation),
        }
        self
    }

    /// Puts a resource name into the request that is not the one the call is about.
    pub(crate) fn reference(mut self, kind: Kind, name: &str, put: impl FnOnce(&mut R, String)) -> Self {
        match names::full(kind, name, self.core.tenant.as_deref()) {
            Ok(full) => put(&mut self.request, full),
            Err(violation) => self.problems.push(violation),
        }
        self
    }

    /// Puts the parent and the last part of the name of a resource to create into the request.
    pub(crate) fn new_name(self, kind: Kind, name: &str, put: impl FnOnce(&mut R, String, String)) -> Self {
        self.name(kind, name, |request, full| {
            let (parent, id) = names::split(&full);
            put(request, parent.to_owned(), id.to_owned());
        })
    }

    /// Puts the parent into the request, which is the client's tenant.
    pub(crate) fn in_tenant(self, put: impl FnOnce(&mut R, String)) -> Self {
        let tenant = self.core.tenant.clone().unwrap_or_default();
        self.name(Kind::Tenant, &tenant, put)
    }

    pub(crate) fn problem(&mut self, problem: Violation) {
        self.problems.push(problem);
    }

    /// Fails with everything that is wrong so far; nothing is sent then.
    pub(crate) fn check(&mut self) -> Result<()> {
        if self.problems.is_empty() {
            Ok(())
        } else {
            Err(Error::invalid(std::mem::take(&mut self.problems)).started(Started::Never))
        }
    }

    pub(crate) async fn send<A: Message + Default>(mut self, path: &'static str) -> Result<A> {
        self.check()?;
        self.core.unary(path, &self.request, self.tenant, self.deadline).await
    }

    /// Opens a stream of answers.
    pub(crate) async fn stream<A: Message + Default + 'static>(
        mut self,
        path: &'static str,
    ) -> Result<BoxStream<'static, Result<A>>> {
        self.check()?;
        self.core.stream(path, &self.request, self.tenant).await
    }

    pub(crate) fn tenant(&self) -> Option<String> {
        self.tenant.clone()
    }
}

/// The setters that many builders have, over a field `call` of type [`Call`].
macro_rules! options {
    ($builder:ident: $($option:ident),* $(,)?) => {
        impl $builder {
            $($crate::call::option!($option);)*
        }
    };
}

macro_rules! option {
    (deadline) => {
        /// How long the call may take, repeats included; 30 seconds if not said.
        pub fn deadline(mut self, deadline: std::time::Duration) -> Self {
            self.call.deadline = Some(deadline);
            self
        }
    };
    (request_id) => {
        /// The id, a UUID, that makes a repeat of this very call harmless for 24 hours. One is made if none is given; give one
        /// to go on after a crash of your program.
        pub fn request_id(mut self, id: impl Into<String>) -> Self {
            self.call.request.request_id = id.into();
            self
        }
    };
    (validate_only) => {
        /// Checks everything and changes nothing.
        pub fn validate_only(mut self) -> Self {
            self.call.request.validate_only = true;
            self
        }
    };
    (etag) => {
        /// Succeeds only if the resource still has this etag; else [`Error::is_etag_mismatch`](crate::Error::is_etag_mismatch).
        pub fn etag(mut self, etag: impl Into<String>) -> Self {
            self.call.request.etag = etag.into();
            self
        }
    };
    (allow_missing) => {
        /// Succeeds when there is nothing to delete.
        pub fn allow_missing(mut self) -> Self {
            self.call.request.allow_missing = true;
            self
        }
    };
}

/// Setters of the resource inside a create request, `call.request.$part`.
macro_rules! fields {
    ($builder:ident.$part:ident: $($(#[$doc:meta])* $field:ident: $kind:tt),* $(,)?) => {
        impl $builder {
            $($crate::call::field!($part, $(#[$doc])* $field: $kind);)*
        }
    };
}

macro_rules! field {
    ($part:ident, $(#[$doc:meta])* labels: labels) => {
        $(#[$doc])*
        pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
            self.call.request.$part.get_or_insert_default().labels.insert(key.into(), value.into());
            self
        }
    };
    ($part:ident, $(#[$doc:meta])* $field:ident: text) => {
        $(#[$doc])*
        pub fn $field(mut self, value: impl Into<String>) -> Self {
            self.call.request.$part.get_or_insert_default().$field = value.into();
            self
        }
    };
    ($part:ident, $(#[$doc:meta])* $field:ident: flag) => {
        $(#[$doc])*
        pub fn $field(mut self, value: bool) -> Self {
            self.call.request.$part.get_or_insert_default().$field = value;
            self
        }
    };
}

/// Setters of an update: each writes its field and puts it into the mask.
macro_rules! updates {
    ($builder:ident.$part:ident: $($(#[$doc:meta])* $field:ident: $kind:tt),* $(,)?) => {
        impl $builder {
            $($crate::call::update!($part, $(#[$doc])* $field: $kind);)*

            /// Succeeds only if the resource still has this etag; else
            /// [`Error::is_etag_mismatch`](crate::Error::is_etag_mismatch).
            pub fn etag(mut self, etag: impl Into<String>) -> Self {
                self.call.request.$part.get_or_insert_default().etag = etag.into();
                self
            }

            fn mask(&mut self, path: &str) {
                let paths = &mut self.call.request.update_mask.get_or_insert_default().paths;
                if !paths.iter().any(|known| known == path) {
                    paths.push(path.to_owned());
                }
            }
        }
    };
}

macro_rules! update {
    ($part:ident, $(#[$doc:meta])* labels: labels) => {
        $(#[$doc])*
        pub fn labels<K: Into<String>, V: Into<String>>(mut self, labels: impl IntoIterator<Item = (K, V)>) -> Self {
            let labels = labels.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
            self.call.request.$part.get_or_insert_default().labels = labels;
            self.mask("labels");
            self
        }
    };
    ($part:ident, $(#[$doc:meta])* $field:ident: text) => {
        $(#[$doc])*
        pub fn $field(mut self, value: impl Into<String>) -> Self {
            self.call.request.$part.get_or_insert_default().$field = value.into();
            self.mask(stringify!($field));
            self
        }
    };
    ($part:ident, $(#[$doc:meta])* $field:ident: flag) => {
        $(#[$doc])*
        pub fn $field(mut self, value: bool) -> Self {
            self.call.request.$part.get_or_insert_default().$field = value;
            self.mask(stringify!($field));
            self
        }
    };
}

/// A builder that sends `$request` to `$path` and returns one part of the answer, or nothing.
macro_rules! request {
    ($(#[$doc:meta])* $builder:ident($request:ty) -> $output:ty = $path:literal, $answer:ty { $part:ident }) => {
        $crate::call::request!(@builder $(#[$doc])* $builder($request) -> $output = $path);

        impl $builder {
            async fn run(self) -> $crate::Result<$output> {
                let answer: $answer = self.call.send($path).await?;
                Ok($crate::wire::Lift::lift($crate::call::present(answer.$part, stringify!($part))?))
            }
        }
    };
    ($(#[$doc:meta])* $builder:ident($request:ty) -> () = $path:literal, $answer:ty {}) => {
        $crate::call::request!(@builder $(#[$doc])* $builder($request) -> () = $path);

        impl $builder {
            async fn run(self) -> $crate::Result<()> {
                let _: $answer = self.call.send($path).await?;
                Ok(())
            }
        }
    };
    ($(#[$doc:meta])* $builder:ident($request:ty) -> $output:ty = $path:literal, |$answer:ident: $kind:ty| $read:expr) => {
        $crate::call::request!(@builder $(#[$doc])* $builder($request) -> $output = $path);

        impl $builder {
            async fn run(self) -> $crate::Result<$output> {
                let $answer: $kind = self.call.send($path).await?;
                $read
            }
        }
    };
    (@builder $(#[$doc:meta])* $builder:ident($request:ty) -> $output:ty = $path:literal) => {
        $(#[$doc])*
        #[must_use = "nothing is sent before `send`"]
        #[derive(Clone)]
        pub struct $builder {
            pub(crate) call: $crate::call::Call<$request>,
        }

        impl $builder {
            /// Sends the request.
            ///
            /// # Errors
            /// As the method that made this builder says, and those of any call:
            /// [`is_unavailable`](crate::Error::is_unavailable), [`is_deadline_exceeded`](crate::Error::is_deadline_exceeded),
            /// [`is_unauthenticated`](crate::Error::is_unauthenticated),
            /// [`is_permission_denied`](crate::Error::is_permission_denied).
            pub async fn send(self) -> $crate::Result<$output> {
                self.run().await
            }
        }

        $crate::call::options!($builder: deadline);
    };
}

/// The way into the methods of one kind of resource.
macro_rules! service {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name {
            pub(crate) core: std::sync::Arc<$crate::call::Core>,
        }

        impl $name {
            pub(crate) fn new(core: std::sync::Arc<$crate::call::Core>) -> Self {
                Self { core }
            }
        }
    };
}

pub(crate) use {field, fields, option, options, request, service, update, updates};
