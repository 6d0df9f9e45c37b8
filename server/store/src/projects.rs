//! Rows of projects.

use freehold_domain::{names::ProjectName, projects::Project};

entity!("projects", Project, ProjectName);
