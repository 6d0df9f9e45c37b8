//! Rows of blueprints.

use freehold_domain::{blueprints::Blueprint, names::BlueprintName};

entity!("blueprints", Blueprint, BlueprintName);
