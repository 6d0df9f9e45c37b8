//! What can be said of a blueprint for Terraform without running it.

use freehold_domain::blueprints::{DOCUMENT_PATH, Diagnostic, Document};

use super::TerraformEngine;
use crate::Rules;

/// What the engine `terraform` demands of blueprints.
#[derive(Clone, Copy, Debug, Default)]
pub struct TerraformRules;

impl Rules for TerraformRules {
    fn engine(&self) -> &'static str {
        TerraformEngine::NAME
    }

    fn runs_modules(&self) -> bool {
        true
    }

    fn validate(&self, document: &Document) -> Vec<Diagnostic> {
        let Some(module) = document.module() else {
            let message = "the engine `terraform` runs a module; write `module: .` for the files beside this one";
            return vec![Diagnostic::error("missing-key", DOCUMENT_PATH, document.engine_range(), message)];
        };
        let is_configuration = |path: &str| {
            !path.contains('/') && [".tf", ".tofu", ".tf.json", ".tofu.json"].iter().any(|suffix| path.ends_with(suffix))
        };
        if module.git.is_none() && !module.files(document.files()).any(|(path, _)| is_configuration(path)) {
            let folder = if module.path.is_empty() { "the folder of the blueprint" } else { module.path.as_str() };
            let message = format!("there are no .tf files in {folder}");
            return vec![Diagnostic::error("missing-file", DOCUMENT_PATH, module.range(), message)];
        }
        Vec::new()
    }
}
