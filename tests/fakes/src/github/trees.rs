//! Repositories with files: branches that move, and archives of each commit, as `git archive` writes them.

use std::{collections::BTreeMap, io::Write as _};

use flate2::{Compression, write::GzEncoder};
use ring::digest::{SHA256, digest};
use serde_json::json;

use super::{FakeGithub, Out, failed};
use crate::Recorded;

const BLOCK: usize = 512;

/// What is in an archive, below its one folder on top.
#[derive(Clone, Debug)]
pub enum Entry {
    /// A file.
    File(String, Vec<u8>),
    /// A link, and where it leads.
    Link(String, String),
    /// A file by a name that is written as it is, whatever it means.
    Hostile(String),
}

impl Entry {
    /// A file with this text.
    pub fn file(path: impl Into<String>, text: impl Into<Vec<u8>>) -> Self {
        Self::File(path.into(), text.into())
    }
}

#[derive(Default)]
pub(crate) struct Trees {
    /// Commits by repository and branch.
    heads: BTreeMap<(String, String), String>,
    /// Archives by repository and commit.
    archives: BTreeMap<(String, String), Vec<u8>>,
    /// Where a branch is as soon as somebody has asked where it is.
    moves: BTreeMap<(String, String), String>,
}

impl FakeGithub {
    /// Has a branch of a repository be at a commit with these files from now on; answers the commit.
    pub fn commit(&self, repository: &str, branch: &str, entries: &[Entry]) -> String {
        let commit = self.keep(repository, entries);
        self.state.lock().trees.heads.insert((repository.to_owned(), branch.to_owned()), commit.clone());
        commit
    }

    /// The same, as soon as somebody has asked where the branch is.
    pub fn commit_once_asked(&self, repository: &str, branch: &str, entries: &[Entry]) -> String {
        let commit = self.keep(repository, entries);
        self.state.lock().trees.moves.insert((repository.to_owned(), branch.to_owned()), commit.clone());
        commit
    }

    fn keep(&self, repository: &str, entries: &[Entry]) -> String {
        let hex: String =
            digest(&SHA256, format!("{entries:?}").as_bytes()).as_ref()[..20].iter().map(|byte| format!("{byte:02x}")).collect();
        let bytes = archive(&format!("{}-{}", repository.replace('/', "-"), &hex[..7]), &hex, entries);
        self.state.lock().trees.archives.insert((repository.to_owned(), hex.clone()), bytes);
        hex
    }
}

impl Trees {
    pub(super) fn has(&self, owner: &str, name: &str) -> bool {
        let repository = format!("{owner}/{name}");
        self.archives.keys().any(|(of, _)| *of == repository)
    }

    fn find(&self, repository: &str, revision: &str) -> Option<String> {
        let branch = revision.strip_prefix("heads/").unwrap_or(revision);
        let head = self.heads.get(&(repository.to_owned(), branch.to_owned()));
        let known = || self.archives.contains_key(&(repository.to_owned(), revision.to_owned()));
        head.cloned().or_else(|| known().then(|| revision.to_owned()))
    }

    pub(super) fn commit(&mut self, owner: &str, name: &str, revision: &str, request: &Recorded) -> Out {
        let repository = format!("{owner}/{name}");
        let Some(commit) = self.find(&repository, revision) else {
            return failed(422, &format!("No commit found for SHA: {revision}"));
        };
        let branch = (repository, revision.to_owned());
        if let Some(next) = self.moves.remove(&branch) {
            self.heads.insert(branch, next);
        }
        match request.header("accept") {
            "application/vnd.github.sha" => Out::Text("application/vnd.github.sha; charset=utf-8", commit),
            _ => Out::Json(200, json!({ "sha": commit, "commit": { "message": "First" } })),
        }
    }

    /// Where the archive of a revision is.
    pub(super) fn place(&self, owner: &str, name: &str, revision: &str) -> Option<String> {
        let commit = self.find(&format!("{owner}/{name}"), revision)?;
        Some(format!("/codeload/{owner}/{name}/{commit}"))
    }

    pub(super) fn bytes(&self, path: &str) -> Option<Vec<u8>> {
        let (repository, commit) = path.strip_prefix("/codeload/")?.rsplit_once('/')?;
        self.archives.get(&(repository.to_owned(), commit.to_owned())).cloned()
    }
}

/// A tarball in gzip with these entries below a folder, which names its commit.
fn archive(top: &str, commit: &str, entries: &[Entry]) -> Vec<u8> {
    let record = format!(" comment={commit}\n");
    let comment = format!("{}{record}", record.len() + 2);
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let mut write = |name: &str, kind: u8, link: &str, content: &[u8]| {
        encoder.write_all(&header(name, kind, link, content.len())).expect("there is memory");
        encoder.write_all(content).expect("there is memory");
        encoder.write_all(&vec![0; content.len().next_multiple_of(BLOCK) - content.len()]).expect("there is memory");
    };
    write("pax_global_header", b'g', "", comment.as_bytes());
    write(&format!("{top}/"), b'5', "", b"");
    for entry in entries {
        match entry {
            Entry::File(path, content) => write(&format!("{top}/{path}"), b'0', "", content),
            Entry::Link(path, target) => write(&format!("{top}/{path}"), b'2', target, b""),
            Entry::Hostile(path) => write(path, b'0', "", b"root::0:0:::\n"),
        }
    }
    encoder.write_all(&[0; 2 * BLOCK]).expect("there is memory");
    encoder.finish().expect("there is memory")
}

/// A header of ustar (POSIX.1-1988).
fn header(name: &str, kind: u8, link: &str, size: usize) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, text: &str| block[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000664\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{size:011o}\0"));
    put(136, "14717254440\0");
    put(148, "        ");
    put(157, link);
    put(257, "ustar\u{0}00");
    block[156] = kind;
    let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}
