//! What people give on the command line: inputs, labels, files.

use std::{fs, io, path::Path};

use clap::Args;
use freehold::{BlueprintFile, Error, Violation};
use serde_json::{Map, Value};

use crate::{document, failure::Failure};

/// Inputs of a deployment.
#[derive(Args, Clone, Debug)]
pub struct Inputs {
    /// One input; the value is JSON if it reads as JSON, else a text. Can be given several times
    #[arg(long = "input", value_name = "NAME=VALUE", value_parser = input)]
    pub one: Vec<(String, Value)>,
    /// JSON or YAML file with inputs, one object, or - for standard input; --input goes over it
    #[arg(long = "inputs", value_name = "FILE")]
    pub file: Option<std::path::PathBuf>,
}

impl Inputs {
    /// There are some.
    pub(crate) fn any(&self) -> bool {
        self.file.is_some() || !self.one.is_empty()
    }

    /// Those of the file or else `base`, with the single ones over them.
    pub(crate) fn over(&self, base: Map<String, Value>) -> Result<Map<String, Value>, Failure> {
        let mut all = match &self.file {
            Some(path) => object(path)?,
            None => base,
        };
        all.extend(self.one.iter().cloned());
        Ok(all)
    }

    /// The failure of a call with these inputs. What was taken for JSON may have been meant as a text.
    pub(crate) fn refused(&self, error: Error) -> Failure {
        let wants_text = |name: &str| {
            let of = |it: &Violation| it.field.ends_with(&format!("inputs.{name}")) && it.description.contains("string");
            error.violations().iter().any(of)
        };
        let meant = self.one.iter().find(|(name, value)| !value.is_string() && wants_text(name));
        match meant.map(|(name, value)| format!("if the value of {name} is meant as a text, write --input '{name}=\"{value}\"'"))
        {
            Some(hint) => Failure::Hinted(error, hint),
            None => error.into(),
        }
    }
}

/// The text of a file, or of standard input for `-`.
pub(crate) fn text(path: &Path) -> Result<String, Failure> {
    let text = if path == Path::new("-") { io::read_to_string(io::stdin()) } else { fs::read_to_string(path) };
    text.map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
}

/// The bytes of a file, or of standard input for `-`.
pub(crate) fn bytes(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read =
        if path == Path::new("-") { io::Read::read_to_end(&mut io::stdin(), &mut bytes).map(|_| bytes) } else { fs::read(path) };
    read.map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
}

fn object(path: &Path) -> Result<Map<String, Value>, Failure> {
    let wrong = |why: String| Failure::usage(format!("{}: {why}", path.display()));
    match document::read(&text(path)?).map_err(|error| wrong(format!("neither JSON nor YAML with the inputs: {error}")))? {
        Value::Object(inputs) => Ok(inputs),
        _ => Err(wrong("not one object with the inputs".to_owned())),
    }
}

pub(crate) fn input(text: &str) -> Result<(String, Value), String> {
    let (name, value) = pair(text)?;
    let value = serde_json::from_str(&value).unwrap_or(Value::String(value));
    Ok((name, value))
}

/// Splits `NAME=VALUE`.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write it as NAME=VALUE".to_owned()),
    }
}

/// Most files and bytes that a blueprint may have.
const MOST: (usize, usize) = (200, 1 << 20);

/// The file that describes a blueprint.
pub(crate) const DOCUMENT: &str = "blueprint.yaml";

/// The hidden file that is part of a blueprint: checksums of the providers of a module of Terraform.
const PROVIDERS: &str = ".terraform.lock.hcl";

/// Reads the files of a blueprint; see [`files_of`].
pub(crate) fn blueprint_files(dir: &Path) -> Result<Vec<BlueprintFile>, Failure> {
    let files = files_of(dir)?;
    if !files.iter().any(|file| file.path == DOCUMENT) {
        return Err(Failure::usage(format!("{} holds no blueprint.yaml; name the directory of a blueprint", dir.display())));
    }
    Ok(files)
}

/// Reads all files of a directory in the order of their paths, but for hidden ones, links, and what Terraform keeps beside a module:
/// its states, and files of values, which are inputs of each deployment and may be secret.
pub(crate) fn files_of(dir: &Path) -> Result<Vec<BlueprintFile>, Failure> {
    let mut files = Vec::new();
    let mut bytes = 0;
    collect(dir, "", &mut files, &mut bytes)?;
    Ok(files)
}

/// Whether a file or folder is no part of a blueprint, by its name.
fn is_left_out(name: &str) -> bool {
    let is_state = name.ends_with(".tfstate") || name.contains(".tfstate.");
    let is_values = name.ends_with(".tfvars") || name.ends_with(".tfvars.json");
    name != PROVIDERS && (name.starts_with('.') || is_state || is_values)
}

fn collect(dir: &Path, prefix: &str, files: &mut Vec<BlueprintFile>, bytes: &mut usize) -> Result<(), Failure> {
    let unreadable = |path: &Path, error: io::Error| Failure::usage(format!("cannot read {}: {error}", path.display()));
    let entries = fs::read_dir(dir).and_then(Iterator::collect::<Result<Vec<_>, _>>).map_err(|error| unreadable(dir, error))?;
    let mut entries: Vec<_> =
        entries.into_iter().map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry)).collect();
    entries.sort_by(|(a, _), (b, _)| a.cmp(b));
    for (name, entry) in entries.into_iter().filter(|(name, _)| !is_left_out(name)) {
        let kind = entry.file_type().map_err(|error| unreadable(&entry.path(), error))?;
        let path = format!("{prefix}{name}");
        if kind.is_dir() {
            collect(&entry.path(), &format!("{path}/"), files, bytes)?;
        } else if kind.is_file() {
            let content = fs::read(entry.path()).map_err(|error| unreadable(&entry.path(), error))?;
            *bytes += content.len();
            files.push(BlueprintFile { path, content });
            if files.len() > MOST.0 || *bytes > MOST.1 {
                return Err(Failure::usage(
                    "these are more than 200 files or 1 MiB, the most that a blueprint can have; name its own directory",
                ));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_input_is_json_when_it_reads_as_json() {
        let table = [
            ("size=small", json!("small")),
            ("count=3", json!(3)),
            ("on=true", json!(true)),
            ("tags=[\"a\"]", json!(["a"])),
            ("text=\"3\"", json!("3")),
            ("url=http://a?b=c", json!("http://a?b=c")),
            ("empty=", json!("")),
        ];
        for (text, expected) in table {
            assert_eq!(input(text).expect(text).1, expected, "{text}");
        }
        assert!(input("=x").is_err() && input("x").is_err());
    }

    #[test]
    fn single_inputs_go_over_those_of_the_file_and_of_before() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("inputs.json");
        fs::write(&path, r#"{"a": 1, "b": 2}"#).expect("a file");
        let one = vec![("b".to_owned(), json!(3))];
        let base = Map::from_iter([("a".to_owned(), json!(0)), ("c".to_owned(), json!(0))]);
        let merged = |file| Value::Object(Inputs { one: one.clone(), file }.over(base.clone()).expect("inputs"));
        assert_eq!(merged(Some(path.clone())), json!({"a": 1, "b": 3}));
        assert_eq!(merged(None), json!({"a": 0, "c": 0, "b": 3}));
        fs::write(&path, "[]").expect("a file");
        assert!(Inputs { one, file: Some(path) }.over(base).expect_err("a list").to_string().contains("one object"));
    }

    #[test]
    fn a_blueprint_is_its_directory_without_what_is_hidden_or_terraforms_own() {
        let dir = tempfile::tempdir().expect("a directory");
        assert!(blueprint_files(dir.path()).expect_err("no blueprint").to_string().contains("blueprint.yaml"));
        let left_out = [".git/config", "terraform.tfstate", "terraform.tfstate.backup", "secret.auto.tfvars", ".terraform/x"];
        for path in ["blueprint.yaml", "files/b.txt", "files/a.txt", ".terraform.lock.hcl"].into_iter().chain(left_out) {
            fs::create_dir_all(dir.path().join(path).parent().expect("a parent")).expect("a directory");
            fs::write(dir.path().join(path), path).expect("a file");
        }
        let paths: Vec<_> = blueprint_files(dir.path()).expect("files").into_iter().map(|file| file.path).collect();
        assert_eq!(paths, [".terraform.lock.hcl", "blueprint.yaml", "files/a.txt", "files/b.txt"]);
    }
}
