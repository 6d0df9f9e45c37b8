//! Modules in repositories: fetched by `git`, at a commit, as bytes that the plan keeps.
//!
//! Nothing is checked out. The commit is fetched without its history, its files are listed, and the objects behind them are read,
//! so that no attribute, filter, link or hook of the repository has a part in it. Objects are named by the digest of what is in
//! them, which git checks when they arrive: a commit is always the same files.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::OsString,
    fs, io,
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use freehold_domain::blueprints::{File, Files, GitSource, digest};
use tokio::time::timeout;

use super::{follower::Follower, program::on_path, session::Session, workspace::Workspace};
use crate::{Access, Exit, Level, Process, Program, StepError};

/// The most files of a repository, and the most bytes in them: the plan holds them all.
const MAX_FILES: usize = 2000;
const MAX_BYTES: usize = 4 << 20;
/// Bytes that git may write to fetch them, packed.
const DISK: u64 = 64 << 20;
/// Bytes of a list of files, and of all objects with what is said of them.
const LISTED: usize = 1 << 20;
const OBJECTS: usize = 16 << 20;
/// How long a repository may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// The program that fetches modules.
#[derive(Clone, Debug)]
pub struct Git(PathBuf);

impl Git {
    /// The one on the search path.
    pub fn find() -> Option<Self> {
        on_path("git").map(Self)
    }
}

/// A beginning of addresses: `https://` for all that are encrypted, `https://git.example.com/`, `http://10.1.0.7:3000/platform/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleSource(String);

impl ModuleSource {
    fn holds(&self, url: &str) -> bool {
        url.starts_with(&self.0)
    }
}

impl Default for ModuleSource {
    fn default() -> Self {
        Self("https://".to_owned())
    }
}

impl FromStr for ModuleSource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rest = ["https://", "http://"].into_iter().find_map(|scheme| text.strip_prefix(scheme));
        let rest = rest.ok_or_else(|| format!("`{text}` does not begin with https:// or http://"))?;
        // Whole hosts and whole folders only: one name can begin with another.
        let whole = rest.is_empty() || rest.ends_with('/');
        Ok(Self(if whole { text.to_owned() } else { format!("{text}/") }))
    }
}

/// Every file of the repository at the commit. There are files of the program in this folder of it.
///
/// # Errors
/// `module-refused` when it may not come from there or has something in it that no module may have, `module-too-large`,
/// `module-fetch-failed` and `git-missing`.
pub(super) async fn fetch(session: &Session<'_>, run: &str, source: &GitSource, folder: &str) -> Result<Files, StepError> {
    let settings = &session.engine.settings;
    if !settings.module_sources.iter().any(|allowed| allowed.holds(&source.url)) {
        return Err(refused(source, "is not among the sources of modules that this runner allows")
            .hint("ask the operator of the runner for `--module-source`, or use another repository"));
    }
    let git = settings.git.as_ref().ok_or_else(|| {
        StepError::new("git-missing", "the module is in a repository, and this runner has no `git`")
            .hint("install git on the machine of the runner, so that it is on the search path, and start the runner again")
    })?;
    let workspace = Workspace::new(&settings.folder, run, "source", "");
    let fetcher = Fetcher { session, git, workspace: &workspace, source };
    let files = fetcher.fetch(folder).await;
    workspace.remove();
    files
}

struct Fetcher<'f> {
    session: &'f Session<'f>,
    git: &'f Git,
    workspace: &'f Workspace,
    source: &'f GitSource,
}

impl Fetcher<'_> {
    async fn fetch(&self, folder: &str) -> Result<Files, StepError> {
        let GitSource { url, commit } = self.source;
        self.make_repository()?;
        self.download().await?;
        let listed = self.answer("git-list", &["ls-tree", "-r", "-z", "-l", "--full-tree", commit], LISTED).await?;
        let entries = self.entries(&listed)?;
        let objects = self.answer("git-objects", &["cat-file", "--batch", "--batch-all-objects"], OBJECTS).await?;
        let objects = read_objects(&objects).ok_or_else(|| self.failed("its objects cannot be read".to_owned()))?;
        if objects.get(commit.as_str()).is_none_or(|(kind, _)| *kind != "commit") {
            return Err(refused(self.source, "names something else than a commit").hint("name a commit, not a tag or a folder"));
        }
        let content = |(path, object): (String, &str)| match objects.get(object) {
            Some(("blob", content)) => Ok(File { path, content: content.to_vec() }),
            _ => Err(self.failed(format!("{path} was not sent"))),
        };
        let files: Vec<File> = entries.into_iter().map(content).collect::<Result<_, _>>()?;
        let files = Files::within(files, MAX_FILES, MAX_BYTES).map_err(|violations| {
            let why: Vec<_> = violations.into_iter().take(5).map(|violation| violation.description).collect();
            refused(self.source, &format!("has files that no module may have: {}", why.join("; ")))
                .hint("name the files so that they are others on every file system, and a new commit in the blueprint")
        })?;
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        if !files.iter().any(|(path, _)| path.starts_with(&prefix)) {
            return Err(refused(self.source, &format!("has no folder `{folder}`")).hint("mend `path` of the module"));
        }
        self.session.log(Level::Info, &format!("the module is {url} at {commit}: {} files, {}", files.len(), digest(&files)));
        Ok(files)
    }

    /// An empty repository, whose settings are all there are: git reads none of the machine's.
    fn make_repository(&self) -> Result<(), StepError> {
        let (repository, form) = (self.workspace.files().join("repository"), self.source.commit.len());
        let settings = format!(
            "[core]\n\trepositoryformatversion = {}\n\tbare = true\n\thooksPath = /dev/null\n\
             [fetch]\n\tfsckObjects = true\n\trecurseSubmodules = false\n\
             [http]\n\tfollowRedirects = false\n\tlowSpeedLimit = 1000\n\tlowSpeedTime = 60\n\
             [protocol]\n\tversion = 2\n\tallow = never\n\
             [protocol \"https\"]\n\tallow = always\n[protocol \"http\"]\n\tallow = always\n\
             [gc]\n\tauto = 0\n[maintenance]\n\tauto = false\n{}",
            u8::from(form == 64),
            if form == 64 { "[extensions]\n\tobjectFormat = sha256\n" } else { "" }
        );
        self.workspace.create()?;
        for (path, content) in [("HEAD", "ref: refs/heads/none\n"), ("config", &settings)] {
            self.workspace.write(&repository.join(path), content.as_bytes())?;
        }
        let made = ["objects", "refs"].into_iter().try_for_each(|folder| fs::create_dir_all(repository.join(folder)));
        made.map_err(|error: io::Error| StepError::new("folder-unusable", format!("{}: {error}", repository.display())))
    }

    async fn download(&self) -> Result<(), StepError> {
        let GitSource { url, commit } = self.source;
        let options = ["fetch", "--quiet", "--depth=1", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules"];
        let arguments: Vec<&str> = options.into_iter().chain(["--", url, commit]).collect();
        let (process, session) = (self.launch("git-fetch", &arguments).await?, self.session);
        let record = self.workspace.record("git-fetch");
        let mut follower = Follower::new(process, &record, session.sink, &session.redactor, 0);
        let Ok(exit) = timeout(PATIENCE, follower.finish()).await else {
            follower.kill().await;
            return Err(self.failed(format!("it took longer than {} s", PATIENCE.as_secs())));
        };
        match exit {
            _ if follower.was_left() => {
                follower.kill().await;
                Err(StepError::new("lease-lost", "this runner was given the run anew"))
            }
            Exit::Code(0) => Ok(()),
            _ if follower.was_interrupted() => Err(StepError::new("cancelled", "somebody asked it to stop")),
            // Only this limit is ours; the others are of the runner, and say so.
            Exit::Limit(limit) if limit.contains("`disk`") => {
                Err(too_large(self.source, &format!("git wrote more than {} MiB to fetch it", DISK >> 20)))
            }
            Exit::Limit(limit) => Err(self.failed(limit)),
            _ => Err(self.failed(follower.last_words.join("\n"))),
        }
    }

    /// Path and object of each file.
    fn entries<'l>(&self, listed: &'l [u8]) -> Result<Vec<(String, &'l str)>, StepError> {
        let listed = std::str::from_utf8(listed)
            .map_err(|_| refused(self.source, "has names that are not UTF-8").hint("rename the files"))?;
        let (mut entries, mut bytes) = (Vec::new(), 0_usize);
        for line in listed.split_terminator('\0') {
            let unreadable = || self.failed(format!("`{line}` is not understood"));
            let (about, path) = line.split_once('\t').ok_or_else(unreadable)?;
            let mut words = about.split_ascii_whitespace();
            let mut word = || words.next().ok_or_else(unreadable);
            let (mode, _, object, size) = (word()?, word()?, word()?, word()?);
            match mode {
                "100644" | "100755" | "100664" => {}
                "120000" => return Err(refused(self.source, &format!("has a link, {path}")).hint("put a file in its place")),
                "160000" => {
                    return Err(refused(self.source, &format!("has another repository in it, {path}"))
                        .hint("put the files of that module into the repository itself"));
                }
                other => {
                    return Err(
                        refused(self.source, &format!("has {path} of the unknown mode {other}")).hint("commit it as a file")
                    );
                }
            }
            bytes = bytes.saturating_add(size.parse().unwrap_or(usize::MAX));
            entries.push((path.to_owned(), object));
        }
        if entries.len() > MAX_FILES || bytes > MAX_BYTES {
            let why =
                format!("{} files with {bytes} bytes; {MAX_FILES} files with {MAX_BYTES} bytes are possible", entries.len());
            return Err(too_large(self.source, &why));
        }
        Ok(entries)
    }

    /// What a command of git says.
    async fn answer(&self, name: &str, arguments: &[&str], most: usize) -> Result<Vec<u8>, StepError> {
        let process = self.launch(name, arguments).await?;
        let exit = process.ended().await;
        let said = self.workspace.read(&self.workspace.record(name).join("stdout"))?.unwrap_or_default();
        match exit {
            Exit::Code(0) if said.len() <= most => Ok(said),
            Exit::Code(0) | Exit::Limit(_) => Err(too_large(self.source, "there is too much in it")),
            _ => {
                let why = self.workspace.read(&self.workspace.record(name).join("stderr"))?.unwrap_or_default();
                Err(self.failed(String::from_utf8_lossy(&why).trim().chars().take(1000).collect()))
            }
        }
    }

    async fn launch(&self, name: &str, arguments: &[&str]) -> Result<Box<dyn Process>, StepError> {
        let (files, settings) = (self.workspace.files(), &self.session.engine.settings);
        // Of what the operator gives to programs that look, only what is meant for git.
        let given = settings.read_environment.iter().filter(|(name, _)| name.starts_with("GIT_CONFIG_"));
        let mut environment: BTreeMap<String, OsString> = given.map(|(name, value)| (name.clone(), value.clone())).collect();
        let fixed: [(&str, OsString); 8] = [
            ("PATH", "/usr/local/bin:/usr/bin:/bin".into()),
            ("HOME", self.workspace.own().into()),
            ("GIT_DIR", files.join("repository").into()),
            ("GIT_CONFIG_NOSYSTEM", "1".into()),
            ("GIT_CONFIG_GLOBAL", "/dev/null".into()),
            ("GIT_ALLOW_PROTOCOL", "https:http".into()),
            ("GIT_TERMINAL_PROMPT", "0".into()),
            ("LANG", "C.UTF-8".into()),
        ];
        environment.extend(fixed.map(|(name, value)| (name.to_owned(), value)));
        let program = Program {
            path: self.git.0.clone(),
            arguments: arguments.iter().map(OsString::from).collect(),
            environment,
            directory: files.clone(),
            folder: files,
            readable: Vec::new(),
            record: self.workspace.record(name),
            disk: Some(DISK),
            access: Access::Read,
        };
        let process = self.session.engine.launcher.launch(program).await?;
        self.session.sink.confined(process.confinement());
        Ok(process)
    }

    fn failed(&self, why: String) -> StepError {
        let GitSource { url, commit } = self.source;
        let redactor = self.session.redactor.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let message = format!("the module cannot be fetched from {url} at {commit}: {}", redactor.redact(&why));
        StepError::new("module-fetch-failed", message)
            .hint("look at the address, at the commit, and at what the runner may reach (`--egress`)")
            .retryable()
    }
}

fn refused(source: &GitSource, what: &str) -> StepError {
    StepError::new("module-refused", format!("{} at {} {what}", source.url, source.commit))
}

fn too_large(source: &GitSource, why: &str) -> StepError {
    StepError::new("module-too-large", format!("the repository {} is too large for a module: {why}", source.url))
        .hint("give the module a repository of its own, without what it does not need")
}

/// Kind and content of each object, by its name; nothing when it is no such list.
fn read_objects(mut bytes: &[u8]) -> Option<HashMap<&str, (&str, &[u8])>> {
    let mut objects = HashMap::new();
    while !bytes.is_empty() {
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let mut words = std::str::from_utf8(&bytes[..end]).ok()?.split(' ');
        let (name, kind, size) = (words.next()?, words.next()?, words.next()?.parse().ok()?);
        let (content, rest) = bytes[end + 1..].split_at_checked(size)?;
        objects.insert(name, (kind, content));
        bytes = rest.strip_prefix(b"\n")?;
    }
    Some(objects)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_whole_hosts_and_folders() {
        let table = [
            ("https://", "https://git.example.com/a.git", true),
            ("https://", "http://git.example.com/a.git", false),
            ("https://git.example.com", "https://git.example.com/a.git", true),
            ("https://git.example.com", "https://git.example.com.evil.example/a.git", false),
            ("https://git.example.com/team", "https://git.example.com/team/a.git", true),
            ("https://git.example.com/team", "https://git.example.com/teammate/a.git", false),
            ("http://127.0.0.1:80/", "http://127.0.0.1:8080/a.git", false),
        ];
        for (rule, url, holds) in table {
            assert_eq!(rule.parse::<ModuleSource>().expect("a rule").holds(url), holds, "{rule} {url}");
        }
        for wrong in ["", "git.example.com", "file:///srv", "ssh://git@example.com/"] {
            assert!(wrong.parse::<ModuleSource>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn objects_are_read_whatever_is_in_them() {
        let objects = read_objects(b"aa blob 3\na\nb\nbb commit 0\n\n").expect("objects");
        assert_eq!((objects["aa"], objects["bb"]), (("blob", &b"a\nb"[..]), ("commit", &b""[..])));
        assert!(read_objects(b"aa blob 9\nshort\n").is_none());
        assert!(read_objects(b"aa missing\n").is_none());
    }
}
