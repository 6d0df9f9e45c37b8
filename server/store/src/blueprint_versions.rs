//! Rows of blueprint versions: added, read, never changed.

use freehold_domain::{blueprints::BlueprintVersion, names::VersionName};

entity!("blueprint_versions", BlueprintVersion, VersionName);
