//! `module`: what an engine runs that has a language of its own, for example a root module of Terraform.

use semver::VersionReq;

use super::{
    diagnostic::{Diagnostics, Range},
    document::{MAX_OUTPUTS, is_attribute},
    fields::{self, Fields},
    files::{self, DOCUMENT_PATH, Files},
    template::{Compiler, Template},
    yaml::{Node, Yaml},
};
use crate::names::shown;

const KEYS: [&str; 4] = ["path", "git", "version", "variables"];
const GIT_KEYS: [&str; 2] = ["url", "commit"];
const MAX_URL: usize = 1000;

/// What an engine runs that has a language of its own.
#[derive(Clone, Debug)]
pub struct Module {
    /// The folder it is in, relative to the blueprint or to the root of its repository; empty for that root itself.
    pub path: String,
    /// The repository that it is in; without one it is among the blueprint's files.
    pub git: Option<GitSource>,
    /// Versions of the program that may run it; every version without it.
    pub version: Option<VersionReq>,
    /// Values of its variables; without them each input is the variable of its name.
    pub variables: Option<Vec<(String, Template)>>,
    range: Range,
}

/// A repository at a commit, which fixes every byte in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitSource {
    /// `https://…`, without a user or a password; `http://…` where the runner allows it.
    pub url: String,
    /// Full name of the commit: 40 or 64 hex digits.
    pub commit: String,
}

impl Module {
    /// Where it stands in the document.
    pub fn range(&self) -> Range {
        self.range
    }

    /// Its own files out of those of the blueprint, with paths relative to its folder; none when it is in a repository.
    pub fn files<'f>(&self, files: &'f Files) -> impl Iterator<Item = (&'f str, &'f [u8])> {
        let folder = if self.path.is_empty() { String::new() } else { format!("{}/", self.path) };
        let own = self.git.is_none();
        files.iter().filter_map(move |(path, content)| Some((path.strip_prefix(&folder)?, content))).filter(move |_| own)
    }

    pub(super) fn read(node: &Node, files: &Files, compiler: &mut Compiler<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        let mut module = Self { path: String::new(), git: None, version: None, variables: None, range: node.range };
        if let Yaml::String(path) = &node.value {
            module.path = read_path(node, path, diagnostics)?;
        } else {
            let top = Fields::read(node, "a module", &KEYS, diagnostics)?;
            if let Some(path) = top.get("path") {
                module.path = fields::string(path, diagnostics).and_then(|text| read_path(path, text, diagnostics))?;
            }
            module.git = top.get("git").and_then(|git| read_git(git, diagnostics));
            module.version = top.get("version").and_then(|version| read_version(version, diagnostics));
            module.variables = top.get("variables").map(|node| read_variables(node, compiler, diagnostics));
        }
        if module.git.is_none() && module.files(files).all(|(path, _)| path == DOCUMENT_PATH) {
            let message = format!("there are no files in `{}`; name the folder of the module", shown(&module.path));
            diagnostics.error("missing-file", node.range, message);
        }
        Some(module)
    }
}

/// A folder: `.`, or a path as files have them.
fn read_path(node: &Node, path: &str, diagnostics: &mut Diagnostics) -> Option<String> {
    if path == "." {
        return Some(String::new());
    }
    match files::check_path(path) {
        Ok(()) => Some(path.to_owned()),
        Err(why) => {
            diagnostics.error("bad-path", node.range, format!("{why}; `.` is the folder of the blueprint"));
            None
        }
    }
}

fn read_git(node: &Node, diagnostics: &mut Diagnostics) -> Option<GitSource> {
    let fields = Fields::read(node, "a git source", &GIT_KEYS, diagnostics)?;
    let (url, commit) = (fields.require("url", diagnostics), fields.require("commit", diagnostics));
    let url = url.and_then(|node| {
        let url = fields::string(node, diagnostics)?;
        let rest = ["https://", "http://"].into_iter().find_map(|scheme| url.strip_prefix(scheme)).unwrap_or_default();
        let detour = rest.split('/').any(|part| matches!(part, "." | ".."));
        let plain = url.len() <= MAX_URL && url.bytes().all(|b| b.is_ascii_graphic() && !b"@%?#\\".contains(&b));
        if rest.is_empty() || rest.starts_with('/') || detour || !plain {
            let message = "an address such as https://example.com/team/modules.git is needed, without a user or a password";
            diagnostics.error("bad-url", node.range, message);
            return None;
        }
        Some(url.to_owned())
    });
    let commit = commit.and_then(|node| {
        let commit = fields::string(node, diagnostics)?;
        if !matches!(commit.len(), 40 | 64) || !commit.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            let message = "the full name of a commit is needed, 40 hex digits: branches and tags can be moved";
            diagnostics.error("bad-commit", node.range, message);
            return None;
        }
        Some(commit.to_owned())
    });
    Some(GitSource { url: url?, commit: commit? })
}

fn read_version(node: &Node, diagnostics: &mut Diagnostics) -> Option<VersionReq> {
    let text = fields::string(node, diagnostics)?;
    text.parse()
        .map_err(|_| {
            let message = format!("`{}` is no range of versions; write for example \">=1.5, <2\"", shown(text));
            diagnostics.error("bad-version", node.range, message);
        })
        .ok()
}

fn read_variables(node: &Node, compiler: &mut Compiler<'_>, diagnostics: &mut Diagnostics) -> Vec<(String, Template)> {
    let entries = fields::map(node, "`variables`", diagnostics).unwrap_or_default();
    if entries.len() > MAX_OUTPUTS {
        let message = format!("{} variables; {MAX_OUTPUTS} at most", entries.len());
        diagnostics.error("too-many-variables", entries[MAX_OUTPUTS].key_range, message);
    }
    let mut variables = Vec::new();
    for entry in entries.iter().take(MAX_OUTPUTS) {
        // HCL has dashes in names, too.
        if !is_attribute(entry.key.replace('-', "_").trim_start_matches('_')) {
            let message = format!("`{}` is no name of a variable: use letters, digits, _ and -", shown(&entry.key));
            diagnostics.error("bad-name", entry.key_range, message);
        }
        variables.push((entry.key.clone(), compiler.template(&entry.value, diagnostics)));
    }
    variables
}
