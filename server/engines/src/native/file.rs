//! `file`: a file below the file root of the runner.

use std::{
    fs::{self, File, Metadata, OpenOptions, Permissions},
    io::{self, ErrorKind, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Component, Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use freehold_domain::runs::Reversibility;
use futures::future::{BoxFuture, FutureExt};
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use tokio::runtime::{Handle, RuntimeFlavor};

use super::{
    provider::{Intent, Made, Owner, Provider, Recovered, optional, text},
    schema::{Attribute, Kind, Problem, Schema},
};
use crate::{
    Action, StepError,
    native::{Attributes, Operation, Resource},
};

/// Most bytes of one file.
const MAX_BYTES: usize = 1 << 20;

/// Keeps files whose content the blueprint gives.
pub(crate) struct FileProvider {
    schema: Schema,
    root: PathBuf,
}

impl FileProvider {
    /// Keeps files below this folder, which must exist, in one folder for each tenant.
    pub fn new(root: PathBuf) -> Self {
        let schema = Schema {
            kind: "file",
            attributes: vec![
                Attribute::new("path", Kind::text(1024)).required().replaces(),
                Attribute::new("content", Kind::Text { min: 0, max: MAX_BYTES }),
                Attribute::new("content_base64", Kind::Text { min: 0, max: MAX_BYTES.div_ceil(3) * 4 }),
                Attribute::new("mode", Kind::text(4)).default("0644"),
                Attribute::computed("sha256", Kind::text(64)),
                Attribute::computed("size", Kind::Whole { min: 0, max: MAX_BYTES as i64 }),
            ],
        };
        Self { schema, root }
    }

    /// Does blocking work on files where it stands. A task apart would go on when its run is dropped because the lease is
    /// lost, and race with whoever has the run then.
    fn blocking<'a, T: Send + 'a>(
        &'a self,
        owner: &'a Owner,
        work: impl FnOnce(&Path) -> Result<T, StepError> + Send + 'a,
    ) -> BoxFuture<'a, Result<T, StepError>> {
        let work = || work(&self.folder_of(owner)?);
        async move {
            match Handle::current().runtime_flavor() {
                RuntimeFlavor::MultiThread => tokio::task::block_in_place(work),
                _ => work(),
            }
        }
        .boxed()
    }

    /// The files of each tenant are in a folder of its own: what one makes, no other can see, adopt or remove.
    fn folder_of(&self, owner: &Owner) -> Result<PathBuf, StepError> {
        let tenant = &owner.tenant;
        if !matches!(components(tenant).as_deref(), Ok([_])) {
            return Err(StepError::new("file-path", format!("`{tenant}` is not the id of a tenant")));
        }
        let folder = self.root.join(tenant);
        match fs::create_dir(&folder) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                Err(StepError::new("file-root", format!("the file root of the runner cannot be used: {error}"))
                    .hint("ask the operator of the runner to create it")
                    .retryable())
            }
            _ => Ok(folder),
        }
    }
}

impl Provider for FileProvider {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn rules(&self, known: &Attributes, unknown: &[&str]) -> Vec<Problem> {
        let mut problems = Vec::new();
        let given = |name: &str| known.get(name).is_some_and(|value| !value.is_null()) || unknown.contains(&name);
        match (given("content"), given("content_base64")) {
            (true, true) => problems.push(Problem::rule("content_base64", "stands beside `content`; give only one of them")),
            (false, false) => problems.push(Problem::new("content", "attribute-missing", "must be given, or `content_base64`")),
            _ => {}
        }
        if let Some(path) = optional(known, "path")
            && let Err(why) = components(path)
        {
            problems.push(Problem::rule("path", why));
        }
        if let Some(encoded) = optional(known, "content_base64")
            && STANDARD.decode(encoded).is_err()
        {
            problems.push(Problem::rule("content_base64", "is not base64 (RFC 4648, with padding)"));
        }
        if let Some(mode) = optional(known, "mode")
            && parse_mode(mode).is_none()
        {
            problems.push(Problem::rule("mode", "must be three or four octal digits without set-id bits, for example 0640"));
        }
        problems
    }

    /// What is in it comes from the blueprint, also from an earlier one.
    fn reversibility(&self, _action: Action) -> Reversibility {
        Reversibility::Reversible
    }

    fn observe<'a>(&'a self, prior: &'a Resource, owner: &'a Owner) -> BoxFuture<'a, Result<Option<Attributes>, StepError>> {
        let prior = &prior.attributes;
        self.blocking(owner, move |root| {
            let Some((content, mode)) = read(root, text(prior, "path"))? else { return Ok(None) };
            let mut found = prior.clone();
            if content != wanted(prior)? {
                for name in ["content", "content_base64", "sha256", "size"] {
                    found.remove(name);
                }
                found.extend(shown(prior, content));
            }
            if parse_mode(text(prior, "mode")) != Some(mode) {
                found.insert("mode".to_owned(), format!("{mode:04o}").into());
            }
            Ok(Some(found))
        })
    }

    fn create<'a>(&'a self, intent: &'a Intent) -> BoxFuture<'a, Result<Made, StepError>> {
        self.blocking(&intent.owner, move |root| {
            let path = text(&intent.desired, "path");
            if let Some((found, _)) = read(root, path)?
                && found != wanted(&intent.desired)?
            {
                return Err(StepError::new(
                    "file-exists",
                    format!("`{path}` exists with other content and is not of this deployment"),
                )
                .hint("choose another path, or move the file away"));
            }
            write(root, intent)
        })
    }

    fn update<'a>(&'a self, intent: &'a Intent) -> BoxFuture<'a, Result<Made, StepError>> {
        self.blocking(&intent.owner, move |root| write(root, intent))
    }

    fn delete<'a>(&'a self, intent: &'a Intent) -> BoxFuture<'a, Result<(), StepError>> {
        self.blocking(&intent.owner, move |root| {
            let path = text(&intent.prior()?.attributes, "path");
            let Some(place) = locate(root, path, false)? else { return Ok(()) };
            match regular(&place, path)? {
                Some(_) => fs::remove_file(place.file())
                    .and_then(|()| sync(&place.parent))
                    .or_else(|error| failed("remove", path, &error)),
                None => Ok(()),
            }
        })
    }

    fn recover<'a>(&'a self, intent: &'a Intent) -> BoxFuture<'a, Recovered> {
        Box::pin(async move {
            let found = self.blocking(&intent.owner, move |root| {
                if intent.operation == Operation::Delete {
                    let gone = read(root, text(&intent.prior()?.attributes, "path"))?.is_none();
                    return Ok(if gone { Recovered::Done(None) } else { Recovered::NotDone });
                }
                let content = wanted(&intent.desired)?;
                Ok(match read(root, text(&intent.desired, "path"))? {
                    Some((found, mode)) if found == content && parse_mode(text(&intent.desired, "mode")) == Some(mode) => {
                        Recovered::Done(Some(made(intent, &content)))
                    }
                    // Written anew it becomes what it should be; a stranger's file is refused by `create`.
                    _ => Recovered::NotDone,
                })
            });
            found.await.unwrap_or_else(|error| Recovered::Unknown(error.to_string()))
        })
    }
}

/// A file by its folder, which has been found to lie below the root without links on the way.
struct Place {
    parent: PathBuf,
    name: String,
}

impl Place {
    fn file(&self) -> PathBuf {
        self.parent.join(&self.name)
    }
}

fn components(path: &str) -> Result<Vec<&str>, String> {
    let wrong = || "must be relative, with `/` between plain names, without `.` and `..`".to_owned();
    if path.contains('\0') || path.ends_with('/') {
        return Err(wrong());
    }
    let parts: Option<Vec<&str>> = Path::new(path)
        .components()
        .map(|component| match component {
            Component::Normal(name) => name.to_str(),
            _ => None,
        })
        .collect();
    parts.filter(|parts| !parts.is_empty() && parts.join("/") == path).ok_or_else(wrong)
}

/// Walks from the root to the folder of a file, refusing links. Nothing when a folder is missing and none is to be made.
fn locate(root: &Path, path: &str, make: bool) -> Result<Option<Place>, StepError> {
    let parts = components(path).map_err(|why| StepError::new("file-path", format!("`{path}` {why}")))?;
    let (name, folders) = parts.split_last().expect("a path has at least one component");
    let root = root.canonicalize().map_err(|error| {
        StepError::new("file-root", format!("the file root of the runner cannot be used: {error}"))
            .hint("ask the operator of the runner to create it")
            .retryable()
    })?;
    let mut parent = root.clone();
    for folder in folders {
        parent.push(folder);
        match fs::symlink_metadata(&parent) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return Err(outside(path)),
            Err(error) if error.kind() == ErrorKind::NotFound && !make => return Ok(None),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                fs::create_dir(&parent).or_else(|error| {
                    if error.kind() == ErrorKind::AlreadyExists { Ok(()) } else { failed("create a folder for", path, &error) }
                })?;
            }
            Err(error) => return failed("look at", path, &error),
        }
    }
    // A folder that was swapped for a link during the walk shows here.
    match parent.canonicalize() {
        Ok(real) if real == parent && real.starts_with(&root) => Ok(Some(Place { parent, name: (*name).to_owned() })),
        Ok(_) => Err(outside(path)),
        Err(error) => failed("look at", path, &error),
    }
}

fn outside(path: &str) -> StepError {
    StepError::new("file-path", format!("`{path}` goes through something that is not a folder, or through a link"))
        .hint("use a path whose folders are real folders below the file root")
}

/// The file itself without following a link.
fn regular(place: &Place, path: &str) -> Result<Option<Metadata>, StepError> {
    match fs::symlink_metadata(place.file()) {
        Ok(found) if found.is_file() => Ok(Some(found)),
        Ok(_) => {
            Err(StepError::new("file-path", format!("`{path}` is not a plain file")).hint("choose another path, or move it away"))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => failed("look at", path, &error),
    }
}

/// Content and mode of a file, or nothing when it is not there.
fn read(root: &Path, path: &str) -> Result<Option<(Vec<u8>, u32)>, StepError> {
    let Some(place) = locate(root, path, false)? else { return Ok(None) };
    let Some(seen) = regular(&place, path)? else { return Ok(None) };
    let attempt = || -> io::Result<(Metadata, Vec<u8>)> {
        let file = File::open(place.file())?;
        let opened = file.metadata()?;
        let mut content = Vec::new();
        // One byte more than a file of ours can have tells a larger one from it.
        file.take(MAX_BYTES as u64 + 1).read_to_end(&mut content)?;
        Ok((opened, content))
    };
    match attempt() {
        Ok((opened, _)) if (opened.dev(), opened.ino()) != (seen.dev(), seen.ino()) => {
            Err(StepError::new("file-failed", format!("`{path}` was exchanged while it was read")).retryable())
        }
        Ok((opened, content)) => Ok(Some((content, opened.mode() & 0o7777))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => failed("read", path, &error),
    }
}

/// Writes a file so that at each moment either the old or the new content is there in full.
fn write(root: &Path, intent: &Intent) -> Result<Made, StepError> {
    let path = text(&intent.desired, "path");
    let content = wanted(&intent.desired)?;
    let mode = parse_mode(text(&intent.desired, "mode"))
        .ok_or_else(|| StepError::new("file-mode", format!("the mode of `{path}` is not octal")).hint("write it like 0644"))?;
    let place = locate(root, path, true)?.ok_or_else(|| outside(path))?;
    regular(&place, path)?;
    // The same name in each attempt, so that a crash leaves at most one behind and the next attempt takes it away.
    let temporary = place.parent.join(format!(".freehold-{}", intent.key));
    let attempt = || -> io::Result<()> {
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(&content)?;
        file.set_permissions(Permissions::from_mode(mode))?;
        file.sync_all()?;
        fs::rename(&temporary, place.file())?;
        sync(&place.parent)
    };
    match attempt() {
        Ok(()) => Ok(made(intent, &content)),
        Err(error) => failed("write", path, &error),
    }
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn made(intent: &Intent, content: &[u8]) -> Made {
    let mut made = intent.made(text(&intent.desired, "path"), []);
    made.attributes.extend(facts(content));
    made
}

/// Found content as attributes, in the form that was given; nothing when it does not fit that form or no file of ours.
fn shown(prior: &Attributes, content: Vec<u8>) -> Attributes {
    if content.len() > MAX_BYTES {
        return Attributes::new();
    }
    let mut found = Attributes::from(facts(&content));
    if !prior.contains_key("content") {
        found.insert("content_base64".to_owned(), STANDARD.encode(&content).into());
    } else if let Ok(content) = String::from_utf8(content) {
        found.insert("content".to_owned(), content.into());
    }
    found
}

fn facts(content: &[u8]) -> [(String, Value); 2] {
    [("sha256".to_owned(), json!(hex(digest(&SHA256, content).as_ref()))), ("size".to_owned(), json!(content.len()))]
}

fn wanted(attributes: &Attributes) -> Result<Vec<u8>, StepError> {
    match (optional(attributes, "content"), optional(attributes, "content_base64")) {
        (Some(content), _) => Ok(content.as_bytes().to_vec()),
        (None, Some(encoded)) => STANDARD
            .decode(encoded)
            .map_err(|_| StepError::new("file-content", "`content_base64` is not base64").hint("encode it by RFC 4648")),
        (None, None) => {
            Err(StepError::new("file-content", "neither `content` nor `content_base64` has a value").hint("give one of them"))
        }
    }
}

fn parse_mode(mode: &str) -> Option<u32> {
    let digits = matches!(mode.len(), 3 | 4) && mode.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    u32::from_str_radix(mode, 8).ok().filter(|mode| digits && *mode <= 0o777)
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn failed<T>(what: &str, path: &str, error: &io::Error) -> Result<T, StepError> {
    let hint = match error.kind() {
        ErrorKind::PermissionDenied => "give the runner the right to it",
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "free some space on the runner",
        _ => "look at the disk of the runner",
    };
    Err(StepError::new("file-failed", format!("cannot {what} `{path}`: {error}")).hint(hint).retryable())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_relative_paths_are_paths() {
        for good in ["a", "etc/app/motd", "a..b/.hidden"] {
            assert!(components(good).is_ok(), "{good}");
        }
        for bad in ["", "/etc/passwd", "../a", "a/../b", "a/./b", "a//b", "a/", ".", "a\0b"] {
            assert!(components(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn modes_are_octal_without_set_id() {
        assert_eq!(parse_mode("0640"), Some(0o640));
        assert_eq!(parse_mode("755"), Some(0o755));
        for bad in ["4755", "0o64", "+644", "9", "64", "00644"] {
            assert_eq!(parse_mode(bad), None, "{bad}");
        }
    }
}
