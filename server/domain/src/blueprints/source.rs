//! Where the files of a blueprint come from: folders of repositories at a commit, put together to one set of files.

use serde::{Deserialize, Serialize};

use super::files::{File, Files, MAX_BYTES, MAX_FILES, check_path, clashes};
use crate::{
    Violation,
    names::{ConnectionName, shown},
};

/// The most sources of one blueprint.
pub const MAX_SOURCES: usize = 16;

/// The longest name of a repository, and of a revision, in bytes.
const MAX_REPOSITORY: usize = 200;
const MAX_REVISION: usize = 250;

/// The hidden file that is part of a blueprint: checksums of the providers of a module of Terraform.
const PROVIDERS: &str = ".terraform.lock.hcl";

/// A folder of a repository, and where its files are in a blueprint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct Source {
    pub connection: ConnectionName,
    pub repository: String,
    pub revision: String,
    pub path: String,
    pub directory: String,
    /// What the revision was; empty until that is known.
    pub commit: String,
}

impl Source {
    /// What is wrong with a repository's name, a revision and the two folders, by the names of their fields.
    pub fn check(repository: &str, revision: &str, path: &str, directory: &str) -> Vec<(&'static str, String)> {
        let mut wrong = Vec::new();
        let clean = |part: &str| {
            !matches!(part, "" | "." | "..") && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        };
        if repository.len() > MAX_REPOSITORY || !repository.contains('/') || !repository.split('/').all(clean) {
            wrong.push(("repository", format!("`{}` is no repository; write it as `owner/name`", shown(repository))));
        }
        let odd = |letter: char| letter.is_control() || letter.is_whitespace();
        if revision.is_empty() || revision.len() > MAX_REVISION || revision.contains(odd) {
            wrong.push(("revision", "required: a branch, a tag or a commit, at most 250 characters without spaces".to_owned()));
        }
        for (field, folder) in [("path", path), ("directory", directory)] {
            if !folder.is_empty()
                && let Err(why) = check_path(folder)
            {
                wrong.push((field, why));
            }
        }
        wrong
    }
}

/// What is in a folder of a repository at a commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Folder {
    /// Files, with paths inside of the folder. Once they are more than a blueprint may have, no more are kept.
    pub files: Vec<File>,
    /// How many files there are.
    pub count: usize,
    /// Bytes in all of them.
    pub bytes: u64,
    /// What can be no file of a blueprint, with why.
    pub refused: Vec<String>,
}

impl Folder {
    /// Takes a file, whose content is asked for only while there is room for it.
    ///
    /// # Errors
    /// Those of reading the content.
    pub fn take<E>(&mut self, path: &str, size: u64, content: impl FnOnce() -> Result<Vec<u8>, E>) -> Result<(), E> {
        self.count += 1;
        self.bytes = self.bytes.saturating_add(size);
        if size > MAX_BYTES as u64 {
            self.refused.push(format!("`{}` has {size} bytes alone; {MAX_BYTES} at most in all files", shown(path)));
        } else if self.count <= MAX_FILES && self.bytes <= MAX_BYTES as u64 {
            self.files.push(File { path: path.to_owned(), content: content()? });
        }
        Ok(())
    }

    /// Whether something in a folder is no part of a blueprint, by its path: what is hidden, and what Terraform keeps beside a module,
    /// its states and files of values, which are inputs of each deployment and may be secret.
    pub fn leaves_out(path: &str) -> bool {
        path.split('/').any(|name| {
            let is_state = name.ends_with(".tfstate") || name.contains(".tfstate.");
            let is_values = name.ends_with(".tfvars") || name.ends_with(".tfvars.json");
            name != PROVIDERS && (name.starts_with('.') || is_state || is_values)
        })
    }
}

impl Files {
    /// Puts the folders of these sources together, each where its source says.
    ///
    /// # Errors
    /// Every wrong path and every broken limit, with fields `sources` and `sources[3]`.
    pub fn gathered(sources: &[Source], folders: Vec<Folder>) -> Result<Self, Vec<Violation>> {
        let mut wrong = Vec::new();
        let count: usize = folders.iter().map(|folder| folder.count).sum();
        let bytes = folders.iter().fold(0_u64, |sum, folder| sum.saturating_add(folder.bytes));
        if count > MAX_FILES {
            wrong.push(Violation::new("sources", format!("{count} files; {MAX_FILES} at most")));
        }
        if bytes > MAX_BYTES as u64 {
            wrong.push(Violation::new("sources", format!("{bytes} bytes in all files; {MAX_BYTES} at most")));
        }
        let (mut files, mut origins) = (Vec::new(), Vec::new());
        for (index, (source, folder)) in sources.iter().zip(folders).enumerate() {
            if folder.count == 0 && folder.refused.is_empty() {
                let Source { repository, path, commit, .. } = source;
                let why = format!("there is no file below `{}` in {repository} at {commit}", shown(path));
                wrong.push(Violation::new(format!("sources[{index}].path"), why));
            }
            wrong.extend(folder.refused.into_iter().map(|why| Violation::new(format!("sources[{index}]"), why)));
            for mut file in folder.files {
                if !source.directory.is_empty() {
                    file.path = format!("{}/{}", source.directory, file.path);
                }
                files.push(file);
                origins.push(index);
            }
        }
        let of = |index: usize| format!("sources[{}]", origins[index]);
        for (index, why) in clashes(&files, of) {
            wrong.push(Violation::new(of(index), why));
        }
        Self::unless(wrong, files)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(directory: &str) -> Source {
        Source {
            connection: "tenants/acme/connections/code".parse().expect("a name"),
            repository: "acme/shop".to_owned(),
            revision: "main".to_owned(),
            path: String::new(),
            directory: directory.to_owned(),
            commit: "6dcb09b5b57875f334f61aebed695e2e4193db5e".to_owned(),
        }
    }

    fn folder(paths: &[&str]) -> Folder {
        let mut folder = Folder::default();
        for path in paths {
            folder.take(path, 1, || Ok::<_, ()>(b"x".to_vec())).expect("it is there");
        }
        folder
    }

    fn gathered(all: Vec<(&str, Folder)>) -> Result<Vec<String>, Vec<(String, String)>> {
        let (sources, folders): (Vec<_>, Vec<_>) = all.into_iter().map(|(directory, folder)| (source(directory), folder)).unzip();
        match Files::gathered(&sources, folders) {
            Ok(files) => Ok(files.iter().map(|(path, _)| path.to_owned()).collect()),
            Err(wrong) => Err(wrong.into_iter().map(|violation| (violation.field, violation.description)).collect()),
        }
    }

    #[test]
    fn folders_are_put_where_their_sources_say_and_never_over_each_other() {
        let good = gathered(vec![("", folder(&["blueprint.yaml", "a/b"])), ("modules/net", folder(&["main.tf"]))]);
        assert_eq!(good, Ok(vec!["a/b".to_owned(), "blueprint.yaml".to_owned(), "modules/net/main.tf".to_owned()]));

        let wrong = gathered(vec![
            ("", folder(&["modules/a.tf", "c:d", "x"])),
            ("modules", folder(&["A.tf"])),
            ("x", folder(&["y"])),
            ("z", Folder::default()),
        ])
        .expect_err("nothing of it fits");
        let fields: Vec<_> = wrong.iter().map(|(field, _)| field.as_str()).collect();
        assert_eq!(fields, ["sources[3].path", "sources[0]", "sources[1]", "sources[2]"], "{wrong:?}");
        assert!(wrong[2].1.contains("`modules/A.tf` is the same path as that of sources[0]"), "{wrong:?}");
        assert!(wrong[3].1.contains("sources[0] is a file where `x/y` needs a folder"), "{wrong:?}");
    }

    #[test]
    fn the_limits_are_those_of_all_sources_together_and_nothing_is_read_beyond_them() {
        let many: Vec<String> = (0..150).map(|number| format!("f{number}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let wrong = gathered(vec![("a", folder(&many)), ("b", folder(&many))]).expect_err("too many");
        assert_eq!(wrong, [("sources".to_owned(), "300 files; 200 at most".to_owned())]);

        let mut large = Folder::default();
        for (path, size) in [("a", 700_000), ("b", 400_000), ("c", 5 << 20), ("d", 1)] {
            let content = || if path == "a" { Ok(vec![0; 700_000]) } else { Err(path) };
            large.take(path, size, content).expect("only the first one is read");
        }
        let wrong = gathered(vec![("", large)]).expect_err("too large");
        let fields: Vec<_> = wrong.iter().map(|(field, _)| field.as_str()).collect();
        assert_eq!(fields, ["sources", "sources[0]"], "{wrong:?}");
        assert!(wrong[1].1.starts_with("`c` has 5242880 bytes alone"), "{wrong:?}");
    }

    #[test]
    fn a_source_says_everything_that_is_wrong_with_it() {
        let wrong = |repository: &str, revision: &str, path: &str, directory: &str| {
            Source::check(repository, revision, path, directory).into_iter().map(|(field, _)| field).collect::<Vec<_>>()
        };
        assert_eq!(wrong("acme/shop", "feature/x", "", "modules/net"), Vec::<&str>::new());
        assert_eq!(wrong("../shop", "a b", "/x", "a//b"), ["repository", "revision", "path", "directory"]);
        for repository in ["shop", "acme/", "acme/shop?x", "acme/sh op"] {
            assert_eq!(wrong(repository, "main", "web", ""), ["repository"], "{repository}");
        }
    }

    #[test]
    fn what_is_hidden_or_terraforms_own_is_left_out() {
        for path in [".github/workflows/ci.yml", "a/.gitignore", "terraform.tfstate", "x/prod.auto.tfvars", "a.tfstate.backup"] {
            assert!(Folder::leaves_out(path), "{path}");
        }
        for path in ["blueprint.yaml", "module/.terraform.lock.hcl", "main.tf"] {
            assert!(!Folder::leaves_out(path), "{path}");
        }
    }
}
