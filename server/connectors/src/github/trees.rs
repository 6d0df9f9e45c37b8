//! Files of a repository at a commit.

use freehold_domain::{Violation, blueprints::Folder, names::shown};
use reqwest::Method as Verb;
use serde_json::Map;
use url::Url;

use super::{Settings, bytes, call};
use crate::{ConnectorError, Context, Effect, ErrorKind, Halt, archive, outbound::Request};

/// The answer is the id of the commit and nothing else: the usual one may have megabytes of what it changed.
const SHA: &str = "application/vnd.github.sha";

/// The commit that a branch, a tag or a commit is now.
pub(super) async fn resolve(cx: &Context, repository: &str, revision: &str) -> Result<String, Halt> {
    if matches!(revision, "." | "..") {
        return Err(ConnectorError::invalid(vec![Violation::new("revision", "is no branch, tag or commit")]).into());
    }
    let url = place(cx, "/repos/{repo}/commits/{ref}", repository, ("ref", revision))?;
    let mut request = Request::new("commits.get", Effect::Read, Verb::GET, url).header("accept", SHA)?;
    request.json = false;
    let answer = call::send(cx, request).await.map_err(|halt| named(halt, repository, revision))?;
    let commit = String::from_utf8_lossy(&answer.body).trim().to_owned();
    if commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(commit);
    }
    Err(ConnectorError::new(ErrorKind::Transient, "GitHub answered with something that is no commit; look at `base_url`").into())
}

/// What is in these folders at a commit.
pub(super) async fn folders(cx: &Context, repository: &str, commit: &str, wanted: &[String]) -> Result<Vec<Folder>, Halt> {
    let url = place(cx, "/repos/{repo}/tarball/{sha}", repository, ("sha", commit))?;
    let found = bytes::get(cx, "repos.archive", url, bytes::MOST).await?;
    let wanted = wanted.to_vec();
    let read = tokio::task::spawn_blocking(move || archive::folders("GitHub", &found, &wanted)).await;
    let folders = read.map_err(|_| ConnectorError::new(ErrorKind::Permanent, "the archive could not be read"))?;
    Ok(folders?)
}

fn place(cx: &Context, template: &str, repository: &str, (name, value): (&str, &str)) -> Result<Url, ConnectorError> {
    if repository.split('/').count() != 2 {
        return Err(ConnectorError::invalid(vec![Violation::new("repository", "write it as `owner/name`")]));
    }
    let settings: Settings = cx.settings()?;
    let mut fields = Map::from_iter([("repo".to_owned(), repository.into()), (name.to_owned(), value.into())]);
    Ok(call::url(&settings, &call::path(template, &mut fields)?))
}

/// GitHub says of a revision that there is not that it cannot be processed, and of an empty repository that it clashes.
fn named(mut halt: Halt, repository: &str, revision: &str) -> Halt {
    if let Halt::Failed(error) = &mut halt
        && matches!(error.vendor_status, Some(409 | 422))
    {
        error.kind = ErrorKind::NotFound;
        error.message = format!("{repository} has no branch, tag or commit `{}`", shown(revision));
    }
    halt
}
