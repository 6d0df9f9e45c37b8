//! The contract of Freehold as Rust: generated messages, client stubs (feature `client`), server stubs (feature `server`),
//! the descriptor set, and the policy of every method.

use std::time::Duration;

mod secret;

#[expect(missing_docs, clippy::all, reason = "generated; the documentation is the contract's own")]
#[cfg_attr(any(feature = "client", feature = "server"), expect(unused_qualifications, reason = "generated stubs"))]
#[cfg_attr(feature = "server", expect(clippy::allow_attributes, reason = "generated server stubs"))]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/freehold.rs"));
}
pub use generated::freehold::*;

use common::v1::{AuditLevel, Dimension, MethodKind, ServiceClass};

/// The whole contract as an encoded `google.protobuf.FileDescriptorSet`, without comments.
pub const DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/freehold.bin"));

/// The policy of one method, as its `freehold.common.v1.policy` option says it.
#[derive(Debug)]
pub struct Method {
    /// `/package.Service/Method`.
    pub path: &'static str,
    /// `area.resources.verb`; empty for methods that are public or open to any caller.
    pub permission: &'static str,
    /// Needs no authenticated caller.
    pub public: bool,
    /// Any authenticated caller may, about itself only.
    pub any_caller: bool,
    /// What a successful call takes from the tenant's quota.
    pub quota: Option<(Dimension, i64)>,
    /// Whether it changes anything.
    pub kind: MethodKind,
    /// What the audit trail keeps of it.
    pub audit: AuditLevel,
    /// What is refused last under load.
    pub service_class: ServiceClass,
    /// Rate-limit tokens.
    pub cost: u32,
    /// The longest deadline, and the one without a wish.
    pub max_deadline: Duration,
    /// Answers with a stream.
    pub streams: bool,
}

include!(concat!(env!("OUT_DIR"), "/methods.rs"));

/// The policy of the method at this path, `/package.Service/Method`.
pub fn method(path: &str) -> Option<&'static Method> {
    METHODS.binary_search_by(|method| method.path.cmp(path)).ok().map(|index| &METHODS[index])
}
