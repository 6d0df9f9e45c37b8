//! The program: OpenTofu or Terraform, whichever is there.

use std::{
    fmt,
    path::{Path, PathBuf},
    process::Stdio,
};

use serde::{Deserialize, Serialize};

use crate::StepError;

/// A program that was found.
#[derive(Clone, Debug)]
pub struct TerraformProgram {
    pub(super) path: PathBuf,
    pub(super) version: Version,
}

/// Which program, of which version. Plans are applied by just the one that made them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Version {
    /// `terraform` or `tofu`.
    pub name: String,
    /// For example `1.11.4`.
    pub number: semver::Version,
}

impl TerraformProgram {
    /// The program at this path; without one, `tofu` or else `terraform` on the search path. Nothing when there is none.
    ///
    /// # Errors
    /// `program-invalid` when it does not answer as one of them does.
    pub async fn find(path: Option<&Path>) -> Result<Option<Self>, StepError> {
        let found = match path {
            Some(path) => Some(path.to_owned()),
            None => ["tofu", "terraform"].into_iter().find_map(on_path),
        };
        let Some(path) = found else { return Ok(None) };
        let invalid = |why: String| {
            let message = format!("{} is no OpenTofu and no Terraform: {why}", path.display());
            StepError::new("program-invalid", message).hint("name another program with --terraform")
        };
        let mut ask = tokio::process::Command::new(&path);
        ask.arg("version").env_clear().env("CHECKPOINT_DISABLE", "1").stdin(Stdio::null()).kill_on_drop(true);
        let answer = ask.output().await.map_err(|error| invalid(error.to_string()))?;
        // `Terraform v1.11.4` or `OpenTofu v1.9.0`, then more lines.
        let text = String::from_utf8_lossy(&answer.stdout);
        let said = text.lines().next().unwrap_or_default();
        let version = [("OpenTofu v", "tofu"), ("Terraform v", "terraform")].into_iter().find_map(|(says, name)| {
            Some(Version { name: name.to_owned(), number: said.strip_prefix(says)?.trim().parse().ok()? })
        });
        let version = version.ok_or_else(|| invalid(format!("it says `{}`", said.chars().take(80).collect::<String>())))?;
        Ok(Some(Self { path, version }))
    }
}

impl fmt::Display for TerraformProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.version, self.path.display())
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", if self.name == "tofu" { "OpenTofu" } else { "Terraform" }, self.number)
    }
}

/// The program of this name on the search path.
pub(super) fn on_path(name: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).map(|folder| folder.join(name)).find(|path| path.is_file())
}
