//! Rows of environments.

use freehold_domain::{environments::Environment, names::EnvironmentName};

entity!("environments", Environment, EnvironmentName);
