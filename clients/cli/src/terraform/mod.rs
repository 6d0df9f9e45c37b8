//! A root module of Terraform or OpenTofu, as far as it has to be understood to become a blueprint.

mod adopt;
mod constraint;
mod values;

use std::{
    fs,
    path::{Path, PathBuf},
};

use freehold::BlueprintFile;
use hcl::{Block, Body, Expression, eval::Evaluate as _};
use serde_json::{Map, Value};

use crate::{
    failure::Failure,
    input::{bytes, files_of},
};

pub(crate) use adopt::Adopted;
use constraint::Constraint;

/// A module with values of its variables.
pub(crate) struct RootModule {
    files: Vec<BlueprintFile>,
    variables: Vec<Variable>,
    backend: Option<Backend>,
    dir: PathBuf,
}

/// A `variable` block.
struct Variable {
    name: String,
    constraint: Option<Constraint>,
    description: String,
    sensitive: bool,
    /// `None` when it must be given.
    default: Option<Value>,
}

/// Where the module keeps its state.
struct Backend {
    kind: String,
    /// Of the backend `local`.
    path: Option<String>,
}

impl RootModule {
    /// Reads the module in a folder.
    pub fn read(dir: &Path) -> Result<Self, Failure> {
        let files = files_of(dir)?;
        let (mut variables, mut backend) = (Vec::new(), None);
        let mut found = false;
        for file in &files {
            let wrong = |why: String| Failure::usage(format!("{}: {why}", dir.join(&file.path).display()));
            if file.path.contains('/') {
                continue;
            }
            if [".tf.json", ".tofu.json"].iter().any(|suffix| file.path.ends_with(suffix)) {
                return Err(wrong(
                    "the JSON form of the language is not read here; write it in HCL, or make a blueprint by hand".into(),
                ));
            }
            if ![".tf", ".tofu"].iter().any(|suffix| file.path.ends_with(suffix)) {
                continue;
            }
            found = true;
            let text = std::str::from_utf8(&file.content).map_err(|_| wrong("this is no UTF-8".into()))?;
            let body = hcl::parse(text).map_err(|error| wrong(error.to_string()))?;
            for block in body.blocks() {
                match block.identifier() {
                    "variable" => variables.push(Variable::read(block).map_err(wrong)?),
                    "terraform" => backend = backend.or_else(|| Backend::read(block)),
                    "module" => expect_inside(block).map_err(wrong)?,
                    _ => {}
                }
            }
        }
        if !found {
            return Err(Failure::usage(format!("{} holds no .tf files; name the folder of a root module", dir.display())));
        }
        variables.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self { files, variables, backend, dir: dir.to_owned() })
    }

    /// The state: of this file, or else the one that the module keeps beside itself.
    pub fn state(&self, file: Option<&Path>) -> Result<Vec<u8>, Failure> {
        let dir = self.dir.display();
        let pull = format!("write it to a file with `terraform -chdir={dir} state pull > FILE`, and name that with --state FILE");
        let path = match (file, &self.backend) {
            (Some(file), _) => return bytes(file),
            (None, Some(backend)) if backend.kind != "local" => {
                return Err(Failure::usage(format!(
                    "the state is kept in `{}`, which is not asked from here: {pull}",
                    backend.kind
                )));
            }
            (None, backend) => {
                let workspace = fs::read_to_string(self.dir.join(".terraform/environment")).unwrap_or_default();
                if !["", "default"].contains(&workspace.trim()) {
                    return Err(Failure::usage(format!(
                        "the workspace is `{}` and not the default one: {pull}",
                        workspace.trim()
                    )));
                }
                let path = backend.as_ref().and_then(|backend| backend.path.as_deref());
                self.dir.join(path.unwrap_or("terraform.tfstate"))
            }
        };
        fs::read(&path).map_err(|error| Failure::usage(format!("the state cannot be read: {}: {error}; {pull}", path.display())))
    }
}

impl Variable {
    fn read(block: &Block) -> Result<Self, String> {
        let name = block.labels().first().map(|label| label.as_str().to_owned()).unwrap_or_default();
        let attribute = |name: &str| block.body().attributes().find(|attribute| attribute.key() == name).map(|it| it.expr());
        let constant = |name: &str| attribute(name).map(value).transpose();
        let in_words = |why: String| format!("variable `{name}`: {why}");
        let text = |value: Option<Value>| value.and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default();
        Ok(Self {
            constraint: attribute("type").and_then(Constraint::read),
            description: text(constant("description").map_err(&in_words)?),
            sensitive: constant("sensitive").map_err(&in_words)? == Some(Value::Bool(true)),
            default: constant("default").map_err(in_words)?,
            name,
        })
    }
}

impl Backend {
    /// The backend of a `terraform` block; `cloud` is one, too.
    fn read(block: &Block) -> Option<Self> {
        block.body().blocks().find_map(|inner| match inner.identifier() {
            "cloud" => Some(Self { kind: "cloud".to_owned(), path: None }),
            "backend" => {
                let kind = inner.labels().first()?.as_str().to_owned();
                let path = inner.body().attributes().find(|attribute| attribute.key() == "path");
                let path = path.and_then(|path| value(path.expr()).ok()?.as_str().map(str::to_owned));
                Some(Self { kind, path })
            }
            _ => None,
        })
    }
}

/// Fails for a module whose files are not among those of the root module.
fn expect_inside(block: &Block) -> Result<(), String> {
    let source = block.body().attributes().find(|attribute| attribute.key() == "source");
    match source.and_then(|source| value(source.expr()).ok()?.as_str().map(str::to_owned)) {
        Some(source) if source.starts_with('/') || source.split('/').any(|part| part == "..") => Err(format!(
            "the module source `{source}` is outside of the folder, and a blueprint holds no more than that; move it inside"
        )),
        _ => Ok(()),
    }
}

/// The value of an expression of constants, which is all that defaults and files of values may be.
fn value(expression: &Expression) -> Result<Value, String> {
    let value = expression.evaluate(&hcl::eval::Context::new()).map_err(|error| error.to_string())?;
    serde_json::to_value(value).map_err(|error| error.to_string())
}

/// Attributes of a file of values.
fn constants(text: &str) -> Result<Map<String, Value>, String> {
    let body: Body = hcl::parse(text).map_err(|error| error.to_string())?;
    body.attributes().map(|it| Ok((it.key().to_owned(), value(it.expr())?))).collect()
}
