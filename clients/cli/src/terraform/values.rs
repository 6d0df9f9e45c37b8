//! Values of variables, from where the program would take them: later ones go over earlier ones.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};

use super::{Variable, constants, constraint::Constraint, value};
use crate::{failure::Failure, input::text};

/// What is said of variables.
pub(super) struct Values(Map<String, Value>);

impl Values {
    /// `terraform.tfvars`, `*.auto.tfvars` in the order of their names, these files, and these values.
    pub fn read(dir: &Path, files: &[PathBuf], vars: &[(String, String)], variables: &[Variable]) -> Result<Self, Failure> {
        let unreadable = |error: std::io::Error| Failure::usage(format!("cannot read {}: {error}", dir.display()));
        let mut own: Vec<String> = fs::read_dir(dir)
            .and_then(|entries| entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect())
            .map_err(unreadable)?;
        own.retain(|name| name.ends_with(".auto.tfvars") || name.ends_with(".auto.tfvars.json"));
        own.sort();
        let fixed = ["terraform.tfvars", "terraform.tfvars.json"].map(str::to_owned);
        let own = fixed.into_iter().filter(|name| dir.join(name).exists()).chain(own).map(|name| dir.join(name));
        let mut values = Map::new();
        for file in own.chain(files.iter().cloned()) {
            let wrong = |why: String| Failure::usage(format!("{}: {why}", file.display()));
            let text = text(&file)?;
            values.extend(if file.extension().is_some_and(|extension| extension == "json") {
                serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?
            } else {
                constants(&text).map_err(wrong)?
            });
        }
        for (name, text) in vars {
            let variable = variables.iter().find(|variable| variable.name == *name);
            let variable = variable.ok_or_else(|| Failure::usage(format!("the module has no variable `{name}`")))?;
            values.insert(name.clone(), said(variable, text)?);
        }
        Ok(Self(values))
    }

    /// What is said of a variable.
    pub fn of(&self, variable: &Variable) -> Option<&Value> {
        self.0.get(&variable.name)
    }
}

/// A value as it stands on a command line: a text where the variable is one or says nothing, else an expression.
fn said(variable: &Variable, text: &str) -> Result<Value, Failure> {
    if matches!(variable.constraint, None | Some(Constraint::String)) {
        return Ok(text.into());
    }
    let expression: hcl::Expression = text.parse().map_err(|error| wrong(variable, &error))?;
    value(&expression).map_err(|error| wrong(variable, &error))
}

fn wrong(variable: &Variable, why: &dyn std::fmt::Display) -> Failure {
    Failure::usage(format!("the value of `{}`: {why}", variable.name))
}
