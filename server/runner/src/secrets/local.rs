//! Secrets on the runner's own machine: variables of its environment, and files.

use std::{fs::File, io::Read as _};

use freehold_domain::{
    secret_stores::{Directory, Environment},
    secrets::{MAX_SECRET, SecretRef},
};
use freehold_engines::StepError;
use rustix::{
    fs::{Mode, OFlags, ResolveFlags, openat2},
    io::Errno,
};
use serde_json::Value;

/// The value of a variable.
pub(super) fn variable(store: &Environment, reference: &SecretRef) -> Result<Value, StepError> {
    let name = format!("{}{}", store.prefix, reference.path);
    match std::env::var(&name) {
        Ok(value) => Ok(Value::String(value)),
        Err(std::env::VarError::NotPresent) => {
            let why = format!("{}: the environment of this runner has no `{name}`", reference.shown());
            Err(StepError::new("secret-missing", why).hint("start the runner with it, or mend the path"))
        }
        Err(std::env::VarError::NotUnicode(_)) => Err(not_text(reference)),
    }
}

/// The content of a file, to the byte.
///
/// The kernel looks the path up below the folder that the operator has allowed: links may lead about in it, as those do by which
/// Kubernetes exchanges its secrets, and never out of it.
pub(super) fn file(allowed: &Directory, store: &Directory, reference: &SecretRef) -> Result<Value, StepError> {
    let unreadable = |why: &dyn std::fmt::Display| {
        let message = format!("{}: the file cannot be read: {why}", reference.shown());
        StepError::new("secret-missing", message).hint("look at the folder on the runner's machine, or mend the path")
    };
    let root = File::open(&allowed.path).map_err(|error| unreadable(&error))?;
    let below = store.path.strip_prefix(&allowed.path).unwrap_or_default().trim_start_matches('/');
    let path = if below.is_empty() { reference.path.clone() } else { format!("{below}/{}", reference.path) };
    // What is no file, a pipe say, must not keep the runner waiting.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let opened = openat2(&root, path, flags, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS);
    let opened = opened.map_err(|error| match error {
        Errno::XDEV | Errno::LOOP => unreadable(&"a link leads out of the folder"),
        other => unreadable(&std::io::Error::from(other)),
    })?;
    let mut opened = File::from(opened);
    if !opened.metadata().map_err(|error| unreadable(&error))?.is_file() {
        return Err(unreadable(&"it is no file"));
    }
    let mut bytes = Vec::new();
    let most = u64::try_from(MAX_SECRET + 1).unwrap_or(u64::MAX);
    (&mut opened).take(most).read_to_end(&mut bytes).map_err(|error| unreadable(&error))?;
    if bytes.len() > MAX_SECRET {
        return Err(unreadable(&format!("it has more than {MAX_SECRET} bytes")));
    }
    String::from_utf8(bytes).map(Value::String).map_err(|_| not_text(reference))
}

fn not_text(reference: &SecretRef) -> StepError {
    let why = format!("{} is no text in UTF-8", reference.shown());
    StepError::new("secret-invalid", why).hint("keep it in base64, and have the blueprint decode it")
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn a_file_is_read_to_the_byte_and_nothing_outside_of_the_folder_ever_is() {
        let machine = tempfile::tempdir().expect("a folder");
        let root = machine.path().join("acme");
        fs::create_dir_all(root.join("db/..2026")).expect("folders");
        fs::write(root.join("db/..2026/password"), "s3cret\n").expect("a file");
        fs::write(machine.path().join("outside"), "rival").expect("a file");
        // As Kubernetes lays out a secret.
        symlink("..2026", root.join("db/..data")).expect("a link");
        symlink("..data/password", root.join("db/password")).expect("a link");
        symlink("../outside", root.join("up")).expect("a link");
        symlink(machine.path().join("outside"), root.join("absolute")).expect("a link");
        symlink("/proc/self/root", root.join("magic")).expect("a link");
        symlink("loop", root.join("loop")).expect("a link");
        fs::write(root.join("large"), vec![b'x'; MAX_SECRET + 1]).expect("a file");
        fs::write(root.join("binary"), [0xff, 0xfe]).expect("a file");

        let text = |path: &std::path::Path| path.to_str().expect("text").to_owned();
        let (allowed, below) = (Directory { path: text(&root) }, Directory { path: text(&root.join("db")) });
        let reference =
            |path: &str| SecretRef { store: "files".parse().expect("an id"), path: path.to_owned(), key: None, version: None };
        let value = Value::from("s3cret\n");
        assert_eq!(file(&allowed, &allowed, &reference("db/password")).expect("read"), value);
        assert_eq!(file(&allowed, &below, &reference("password")).expect("read"), value);
        for path in ["up", "absolute", "magic", "magic/etc/passwd", "loop", "db", "none", "large", "binary", "../outside"] {
            let error = file(&allowed, &allowed, &reference(path)).expect_err(path);
            assert!(!error.message.contains("rival"), "{error}");
        }
        assert!(file(&allowed, &below, &reference("../../outside")).is_err());
    }
}
