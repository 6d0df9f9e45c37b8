//! The edge of the server: listeners and TLS, the layers every call passes, and the wire.
//!
//! A connection is accepted by [`listener`], proves itself by [`tls`] and [`peer`], and each of its calls passes
//! [`stack::Edge`] before a handler sees it.

pub mod authority;
pub mod console_http;
mod files;
pub mod health;
pub mod hooks_http;
pub mod identity;
pub mod layers;
pub mod listener;
pub mod metrics_http;
pub mod peer;
pub mod policy;
pub mod reflection;
mod requests;
pub mod setup;
pub mod stack;
pub mod state_http;
pub mod status;
pub mod tls;
pub mod tokens;
pub mod wire;
