//! Connectors against vendors that answer and fail as the real ones do.

mod addresses;
mod github;
mod github_table;
mod manifests;
mod outbound;
mod slack;
mod smtp;
mod smtp_table;
mod support;
mod table;
mod webhook;
