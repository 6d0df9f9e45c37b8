//! The files of a blueprint.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
};

use crate::{Violation, names::shown};

/// The file that describes the blueprint itself.
pub const DOCUMENT_PATH: &str = "blueprint.yaml";

/// The most files of one blueprint.
pub const MAX_FILES: usize = 200;

/// The most bytes in all files of one blueprint together.
pub const MAX_BYTES: usize = 1 << 20;

const MAX_PATH: usize = 255;

/// One file as it was sent.
#[derive(Clone, PartialEq, Eq)]
pub struct File {
    /// Path inside the blueprint, with `/`.
    pub path: String,
    /// Its bytes.
    pub content: Vec<u8>,
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} bytes)", self.path, self.content.len())
    }
}

/// All files of a blueprint, sorted by path: every path is relative, clean and unique on any file system.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Files(BTreeMap<String, Vec<u8>>);

impl Files {
    /// Checks a set of files.
    ///
    /// # Errors
    /// Every wrong path and every broken limit, with fields `files` and `files[3].path`.
    pub fn new(files: Vec<File>) -> Result<Self, Vec<Violation>> {
        Self::within(files, MAX_FILES, MAX_BYTES)
    }

    /// Checks a set of files that may be so many, and have so many bytes together.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn within(files: Vec<File>, max_files: usize, max_bytes: usize) -> Result<Self, Vec<Violation>> {
        let mut violations = Vec::new();
        if files.len() > max_files {
            violations.push(Violation::new("files", format!("{} files; {max_files} at most", files.len())));
        }
        let bytes: usize = files.iter().map(|file| file.content.len()).sum();
        if bytes > max_bytes {
            violations.push(Violation::new("files", format!("{bytes} bytes in all files; {max_bytes} at most")));
        }
        let of = |index: usize| format!("files[{index}]");
        for (index, why) in clashes(&files, of) {
            violations.push(Violation::new(format!("{}.path", of(index)), why));
        }
        Self::unless(violations, files)
    }

    /// These files, whose paths were checked, unless something is wrong with them.
    pub(super) fn unless(violations: Vec<Violation>, files: Vec<File>) -> Result<Self, Vec<Violation>> {
        if violations.is_empty() {
            Ok(Self(files.into_iter().map(|file| (file.path, file.content)).collect()))
        } else {
            Err(violations)
        }
    }

    /// The bytes of a file.
    pub fn get(&self, path: &str) -> Option<&[u8]> {
        self.0.get(path).map(Vec::as_slice)
    }

    /// The text of a file; `None` when there is no such file or it is not UTF-8.
    pub fn text(&self, path: &str) -> Option<&str> {
        self.get(path).and_then(|bytes| std::str::from_utf8(bytes).ok())
    }

    /// Paths and bytes in the order of the paths' bytes.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.iter().map(|(path, content)| (path.as_str(), content.as_slice()))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.iter().map(|(path, content)| (path, content.len()))).finish()
    }
}

/// Every file whose path is none, or that cannot be beside another one on every file system, with why. `called` says what the file of
/// an index is called.
pub(super) fn clashes(files: &[File], called: impl Fn(usize) -> String) -> Vec<(usize, String)> {
    let (mut found, mut taken) = (Vec::new(), HashMap::new());
    for (index, file) in files.iter().enumerate() {
        if let Err(why) = check_path(&file.path) {
            found.push((index, why));
        } else if let Some(other) = taken.insert(file.path.to_lowercase(), index) {
            let (path, other) = (shown(&file.path), called(other));
            found.push((index, format!("`{path}` is the same path as that of {other}, if case is ignored")));
        }
    }
    for (index, file) in files.iter().enumerate() {
        let lower = file.path.to_lowercase();
        let above = lower.match_indices('/').find_map(|(at, _)| taken.get(&lower[..at]));
        if let Some(other) = above {
            let (path, other) = (shown(&file.path), called(*other));
            found.push((index, format!("{other} is a file where `{path}` needs a folder")));
        }
    }
    found
}

pub(super) fn check_path(path: &str) -> Result<(), String> {
    let wrong = if path.is_empty() {
        "is empty"
    } else if path.len() > MAX_PATH {
        "is longer than 255 bytes"
    } else if path.starts_with('/') {
        "begins with `/`"
    } else if path.contains('\\') {
        "has a backslash; separate folders with `/`"
    } else if path.chars().any(|c| c.is_control() || c == ':') {
        "has a colon or a control character"
    } else if path.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
        "has a part that is empty, `.` or `..`"
    } else {
        return Ok(());
    };
    Err(format!("`{}` {wrong}; write a path inside the blueprint such as `scripts/setup.sh`", shown(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str) -> File {
        File { path: path.to_owned(), content: b"x".to_vec() }
    }

    #[test]
    fn paths_stay_inside_and_are_unique_everywhere() {
        let cases = [
            (vec!["blueprint.yaml", "scripts/a.sh", "scripts/b.sh", "läuft.txt"], 0),
            (vec![""], 1),
            (vec!["/etc/passwd"], 1),
            (vec!["../up"], 1),
            (vec!["a/../../up"], 1),
            (vec!["a//b"], 1),
            (vec!["./a"], 1),
            (vec!["a/"], 1),
            (vec!["a\\b"], 1),
            (vec!["c:evil"], 1),
            (vec!["a\nb"], 1),
            (vec!["README.md", "readme.MD"], 1),
            (vec!["a", "A/b"], 1),
            (vec!["/a", "..", "b", "B"], 3),
        ];
        for (paths, expected) in cases {
            let found = Files::new(paths.iter().map(|path| file(path)).collect()).map_or_else(|v| v.len(), |_| 0);
            assert_eq!(found, expected, "{paths:?}");
        }
    }

    #[test]
    fn number_and_size_have_a_limit() {
        let many = (0..=MAX_FILES).map(|n| file(&format!("f{n}"))).collect();
        assert_eq!(Files::new(many).expect_err("too many")[0].field, "files");
        let big = File { path: "big".to_owned(), content: vec![0; MAX_BYTES + 1] };
        assert!(Files::new(vec![big]).expect_err("too big")[0].description.contains("1048576 at most"));
    }
}
