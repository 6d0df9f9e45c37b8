//! `freehold blueprint`

use std::path::PathBuf;

use clap::{Args, Subcommand};
use freehold::{BlueprintDiff, BlueprintSource, Client, Diagnostic, Severity, WrittenDraft};

use super::{Guard, Labels, Listing, set};
use crate::{
    failure::Failure,
    input::{blueprint_files, pair},
    screen::Screen,
    show::Show as _,
    table::{clean, table},
};

/// What can be done with blueprints.
#[derive(Subcommand, Clone, Debug)]
pub enum BlueprintCommand {
    /// Creates a blueprint; its files come with push
    Create {
        /// Its name: greeting
        name: String,
        /// Name for people
        #[arg(long, value_name = "TEXT")]
        display_name: Option<String>,
        /// What it makes
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
        #[command(flatten)]
        labels: Labels,
    },
    /// Lists blueprints
    List(Listing),
    /// Shows one blueprint, or one version: greeting@1.0.0; -o yaml and -o json show what is in its files
    Get {
        /// Its name
        name: String,
    },
    /// Checks the files of a directory and says everything there is to mend
    Validate {
        /// The directory with blueprint.yaml
        dir: PathBuf,
    },
    /// Makes the files of a directory the draft of a blueprint
    Push {
        /// The directory with blueprint.yaml
        dir: PathBuf,
        /// The blueprint; the name of the directory if not given
        #[arg(long, value_name = "BLUEPRINT")]
        name: Option<String>,
        /// Writes only over the draft with this etag; if not given, over the one there is
        #[arg(long, value_name = "ETAG")]
        etag: Option<String>,
    },
    /// Makes files of repositories the draft of a blueprint, at the commits that the revisions are now
    Import {
        /// The blueprint: greeting
        name: String,
        #[command(flatten)]
        from: Repositories,
        /// Writes only over the draft with this etag; if not given, over the one there is
        #[arg(long, value_name = "ETAG")]
        etag: Option<String>,
    },
    /// Freezes the draft as a version
    Publish {
        /// The version: greeting@1.0.0
        version: String,
        /// What changed
        #[arg(long, value_name = "TEXT")]
        notes: Option<String>,
        /// Etag of the draft that was reviewed; if not given, the draft as it is now
        #[arg(long, value_name = "ETAG")]
        draft_etag: Option<String>,
    },
    /// Compares two versions
    Diff {
        /// The blueprint: greeting
        name: String,
        /// The older version: 1.0.0
        from: String,
        /// The newer version: 1.1.0, or draft
        #[arg(default_value = "draft")]
        to: String,
    },
    /// Lists the versions of a blueprint
    Versions {
        /// The blueprint: greeting
        name: String,
        #[command(flatten)]
        listing: Listing,
    },
    /// Deletes a blueprint that no deployment uses
    Delete {
        /// Its name
        name: String,
        #[command(flatten)]
        guard: Guard,
    },
}

/// Where files come from.
#[derive(Args, Clone, Debug)]
pub struct Repositories {
    /// The connection that reaches the repository
    #[arg(long)]
    connection: String,
    /// The repository: acme/shop
    #[arg(long, value_name = "OWNER/NAME")]
    repository: String,
    /// A branch, a tag or a commit
    #[arg(long)]
    revision: String,
    /// Only this folder of the repository
    #[arg(long, value_name = "FOLDER", default_value = "")]
    path: String,
    /// Puts the files into this folder of the blueprint
    #[arg(long, value_name = "FOLDER", default_value = "")]
    directory: String,
    /// One more: repository=acme/modules,revision=v1.4.0,path=network,directory=modules/network; connection=NAME if it is another one.
    /// Can be given several times
    #[arg(long = "source", value_name = "KEY=VALUE,…", value_parser = source)]
    more: Vec<BlueprintSource>,
}

impl Repositories {
    fn all(self) -> Vec<BlueprintSource> {
        let Self { connection, repository, revision, path, directory, more } = self;
        let more = more.into_iter().map(|mut source| {
            if source.connection.is_empty() {
                source.connection.clone_from(&connection);
            }
            source
        });
        let first = BlueprintSource::new(&connection, repository, revision).path(path).directory(directory);
        [first].into_iter().chain(more).collect()
    }
}

fn source(text: &str) -> Result<BlueprintSource, String> {
    let mut source = BlueprintSource::new("", "", "");
    for part in text.split(',') {
        let (key, value) = pair(part)?;
        match key.as_str() {
            "connection" => source.connection = value,
            "repository" => source.repository = value,
            "revision" => source.revision = value,
            "path" => source.path = value,
            "directory" => source.directory = value,
            _ => return Err(format!("`{key}` is none of connection, repository, revision, path, directory")),
        }
    }
    let needed = [&source.repository, &source.revision];
    if needed.iter().any(|value| value.is_empty()) { Err("repository and revision are needed".to_owned()) } else { Ok(source) }
}

impl BlueprintCommand {
    pub(crate) async fn run(self, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
        let blueprints = client.blueprints();
        match self {
            Self::Create { name, display_name, description, labels } => {
                let mut request = blueprints.create(name);
                set!(request.display_name(display_name));
                set!(request.description(description));
                for (key, value) in labels.labels {
                    request = request.label(key, value);
                }
                screen.item(&request.send().await?)
            }
            Self::List(listing) => listing.show(blueprints.list(), screen).await,
            Self::Get { name } if name.contains('@') || name.contains("/versions/") => {
                let version = blueprints.get_version(name).send().await?;
                screen.item_with(&version, "files", &version.files)
            }
            Self::Get { name } => screen.item(&blueprints.get(name).send().await?),
            Self::Validate { dir } => {
                let found = blueprints.validate(blueprint_files(&dir)?).send().await?;
                screen.text(&found, || diagnostics(&found))?;
                verdict(&found)
            }
            Self::Push { dir, name, etag } => {
                let files = blueprint_files(&dir)?;
                let name = name.map_or_else(|| name_of(&dir), Ok)?;
                let etag = match etag {
                    Some(etag) => etag,
                    None => draft_etag(client, &name).await?.unwrap_or_default(),
                };
                let written = blueprints.write_draft(&name, files).etag(etag).send().await?;
                screen.text(&written, || draft(&name, &written))
            }
            Self::Import { name, from, etag } => {
                let etag = match etag {
                    Some(etag) => etag,
                    None => draft_etag(client, &name).await?.unwrap_or_default(),
                };
                let written = blueprints.import_draft(&name, from.all()).etag(etag).send().await?;
                screen.text(&written, || {
                    let line = |source: &BlueprintSource| {
                        let BlueprintSource { repository, revision, path, directory, commit, .. } = source;
                        let place = |folder: &str| if folder.is_empty() { ".".to_owned() } else { clean(folder) };
                        let (from, to) = (place(path), place(directory));
                        format!("{to}: {} at {} ({}), {from}\n", clean(repository), clean(commit), clean(revision))
                    };
                    let sources: String = written.blueprint_draft.sources.iter().map(line).collect();
                    format!("{sources}{}", draft(&name, &written))
                })
            }
            Self::Publish { version, notes, draft_etag: etag } => {
                let blueprint = version.split('@').next().unwrap_or(&version);
                let blueprint = blueprint.split("/versions/").next().unwrap_or(blueprint);
                let etag = match etag {
                    Some(etag) => etag,
                    None => blueprints.get_draft(blueprint).send().await?.etag,
                };
                let mut request = blueprints.publish(&version, etag);
                set!(request.notes(notes));
                let version = request.send().await?;
                screen.item_with(&version, "files", &version.files)
            }
            Self::Diff { name, from, to } => {
                let diff = blueprints.diff(name, from, to).send().await?;
                screen.text(&diff, || differences(&diff))
            }
            Self::Versions { name, listing } => listing.show(blueprints.list_versions(name), screen).await,
            Self::Delete { name, guard } => {
                let mut request = blueprints.delete(&name);
                set!(request.etag(guard.etag));
                request.send().await?;
                screen.done(&format!("blueprint {name} is deleted"))
            }
        }
    }
}

/// What there is to mend in a draft, and what it is.
fn draft(name: &str, written: &WrittenDraft) -> String {
    let draft = &written.blueprint_draft;
    let files = match draft.files.len() {
        1 => "1 file".to_owned(),
        files => format!("{files} files"),
    };
    format!("{}draft of {name}: {files}, etag {}\n", diagnostics(&written.diagnostics), clean(&draft.etag))
}

/// Etag of the draft, if there is one yet.
async fn draft_etag(client: &Client, name: &str) -> Result<Option<String>, Failure> {
    match client.blueprints().get_draft(name).send().await {
        Ok(draft) => Ok(Some(draft.etag)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn name_of(dir: &std::path::Path) -> Result<String, Failure> {
    let full = dir.canonicalize().map_err(|error| Failure::usage(format!("cannot read {}: {error}", dir.display())))?;
    let name = full.file_name().and_then(|name| name.to_str());
    name.map(str::to_owned)
        .ok_or_else(|| Failure::usage(format!("{} has no name that a blueprint could have; use --name", dir.display())))
}

/// One line for each, as compilers write them.
fn diagnostics(found: &[Diagnostic]) -> String {
    let line = |it: &Diagnostic| {
        let place = if it.line > 0 { format!("{}:{}:{}", it.path, it.line, it.column) } else { it.path.clone() };
        format!("{place}: {}: {} [{}]\n", it.severity.to_string().to_lowercase(), clean(&it.message), it.code)
    };
    if found.is_empty() { "All is well.\n".to_owned() } else { found.iter().map(line).collect() }
}

fn verdict(found: &[Diagnostic]) -> Result<(), Failure> {
    match found.iter().filter(|it| it.severity == Severity::Error).count() {
        0 => Ok(()),
        1 => Err(Failure::Found("1 fault stops a publication".to_owned())),
        faults => Err(Failure::Found(format!("{faults} faults stop a publication"))),
    }
}

fn differences(diff: &BlueprintDiff) -> String {
    let Some(impact) = diff.impact.filter(|_| !diff.changes.is_empty()) else { return "No differences.\n".to_owned() };
    let rows: Vec<_> = diff.changes.iter().map(|change| change.row()).collect();
    format!(
        "{}\nThe next version needs a {} step at least.\n",
        table(freehold::BlueprintChange::HEAD, &rows),
        impact.to_string().to_lowercase()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_read_and_takes_the_connection_of_the_first() {
        let more = source("repository=acme/modules,revision=v1,path=network,directory=modules/network").expect("a source");
        let from = Repositories {
            connection: "code".to_owned(),
            repository: "acme/shop".to_owned(),
            revision: "main".to_owned(),
            path: "web".to_owned(),
            directory: String::new(),
            more: vec![more, source("connection=other,repository=a/b,revision=v2").expect("a source")],
        };
        let network = BlueprintSource::new("code", "acme/modules", "v1").path("network").directory("modules/network");
        let web = BlueprintSource::new("code", "acme/shop", "main").path("web");
        assert_eq!(from.all(), [web, network, BlueprintSource::new("other", "a/b", "v2")]);
        for (text, why) in [("path=x", "needed"), ("repo=x", "none of"), ("x", "NAME=VALUE")] {
            assert!(source(text).expect_err(text).contains(why), "{text}");
        }
    }
}
