//! The native engine against the real world: files, a REST service that fails as they do, and a PostgreSQL server.

mod apply;
mod databases;
mod drift;
mod http;
mod launcher;
mod postgres;
mod reference;
mod rest;
mod resume;
mod support;
mod terraform;
mod validate;
