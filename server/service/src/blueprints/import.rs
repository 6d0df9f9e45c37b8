//! Drafts whose files come from repositories: resolved to commits, fetched over connections, and written like any other draft.

use std::{collections::BTreeMap, time::Duration};

use freehold_domain::{
    Error, Reason, Result, Violations,
    access::Caller,
    blueprints::{Blueprint, Diagnostic, Files, Folder, Source, digest},
    connections::{Connection, Target, below},
    names::BlueprintName,
};
use freehold_store::{RequestKey, Tx};
use serde_json::json;
use tokio::time::{Instant, timeout_at};

use super::{diagnose, expect_draft, files_of, find, put_draft};
use crate::{
    app::{App, Place, Write},
    connections::{USE, target, tell},
};

/// Imports that a replica has under way at once: each may hold an archive in memory.
pub(crate) const AT_ONCE: usize = 4;

/// What to make a draft of.
#[derive(Clone, Debug)]
pub struct ImportDraft {
    /// The blueprint.
    pub name: BlueprintName,
    /// Where the files come from; their commits are found out.
    pub sources: Vec<Source>,
    /// When all has to be fetched.
    pub end: Instant,
}

/// What became of it.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The blueprint, with the facts of its draft.
    pub blueprint: Blueprint,
    /// The files of the draft; none when this repeats an import after which others were written.
    pub files: Files,
    /// What there is to mend.
    pub diagnostics: Vec<Diagnostic>,
}

/// Replaces the files of the draft by those of repositories. Everything that can be said against it without asking anybody is said
/// first; no transaction is open while other systems are asked.
pub async fn import_draft(app: &App, caller: &Caller, cmd: ImportDraft, write: &Write) -> Result<Imported> {
    let ImportDraft { name, mut sources, end } = cmd;
    let place = app.enter(caller, &name.tenant_name(), &name.to_string()).await?;
    let mut tx = app.store.begin(caller, place.scope, &write.key).await?;
    if let Some(done) = tx.replayed()? {
        return again(app, tx, &place, done).await;
    }
    let blueprint = find(&mut tx, &place, &name).await?;
    expect_draft(&blueprint, write.etag.as_deref().unwrap_or_default())?;
    drop(tx);

    let targets = targets(app, caller, &place, &sources).await?;
    for (connection, _) in targets.values() {
        // What happens elsewhere is in the trail before it is asked for.
        let mut tx = app.store.begin(caller, place.scope, &RequestKey::NONE).await?;
        let facts = json!({ "connector": connection.connector, "operation": "import", "blueprint": name.to_string() });
        tell(&mut tx, "connection.invoked", connection, facts);
        tx.commit(&()).await?;
    }
    let files = {
        let turn = timeout_at(end, app.imports.acquire()).await;
        let busy = |_| {
            let text = "as many drafts are being imported as one server does at once; try again";
            Error::new(Reason::Overloaded, text).retry_after(Duration::from_secs(5))
        };
        let _turn = turn.map_err(busy)?.map_err(Error::internal)?;
        resolve(app, &targets, &mut sources, end).await?;
        let folders = fetch(app, &targets, &sources, end).await?;
        Files::gathered(&sources, folders).map_err(Error::invalid)?
    };

    let diagnostics = diagnose(app, &files).1;
    let mut tx = app.store.begin(caller, place.scope, &write.key).await?;
    if let Some(done) = tx.replayed()? {
        return again(app, tx, &place, done).await;
    }
    let blueprint = find(&mut tx, &place, &name).await?;
    let blueprint = put_draft(app, tx, &place, blueprint, &files, sources, write).await?;
    Ok(Imported { blueprint, files, diagnostics })
}

/// The answer to a repeat. Its files are those of then as long as nobody has written others.
async fn again(app: &App, mut tx: Tx, place: &Place, blueprint: Blueprint) -> Result<Imported> {
    let files = files_of(app, &mut tx, place, blueprint.meta.uid).await?.unwrap_or_default();
    if blueprint.draft.as_ref().is_some_and(|draft| draft.digest == digest(&files)) {
        let diagnostics = diagnose(app, &files).1;
        return Ok(Imported { blueprint, files, diagnostics });
    }
    Ok(Imported { blueprint, files: Files::default(), diagnostics: Vec::new() })
}

/// The connections of these sources, each of which the caller may use and which has repositories.
async fn targets(
    app: &App,
    caller: &Caller,
    place: &Place,
    sources: &[Source],
) -> Result<BTreeMap<String, (Connection, Target)>> {
    let mut targets = BTreeMap::new();
    let mut wrong = Violations::new();
    for (index, source) in sources.iter().enumerate() {
        let name = source.connection.to_string();
        if source.connection.tenant != place.tenant.name.tenant {
            return Err(Error::not_found(name));
        }
        caller.require_permission(USE, &name, app.now())?;
        if targets.contains_key(&name) {
            continue;
        }
        let (connection, target) = target(app, place, &source.connection).await?;
        connection.expect_enabled()?;
        let catalogue = app.connectors.catalogue();
        if !catalogue.iter().any(|known| known.kind == connection.connector && known.has_trees) {
            let kinds: Vec<_> = catalogue.iter().filter(|known| known.has_trees).map(|known| known.kind).collect();
            let why = format!("{} has no repositories; name a connection of {}", connection.connector, kinds.join(" or "));
            wrong.add(format!("sources[{index}].connection"), why);
        }
        targets.insert(name, (connection, target));
    }
    wrong.finish()?;
    Ok(targets)
}

/// Writes into each source which commit its revision is. The same revision is the same commit everywhere.
async fn resolve(
    app: &App,
    targets: &BTreeMap<String, (Connection, Target)>,
    sources: &mut [Source],
    end: Instant,
) -> Result<()> {
    for index in 0..sources.len() {
        let (before, rest) = sources.split_at_mut(index);
        let Some(source) = rest.first_mut() else { break };
        let same = |other: &&Source| is_in(other, source) && other.revision == source.revision;
        if let Some(known) = before.iter().find(same) {
            source.commit = known.commit.clone();
            continue;
        }
        let commit = app.connectors.resolve(of(targets, source)?, &source.repository, &source.revision, left(end)?).await;
        source.commit = commit.map_err(|error| of_source(index, error))?;
    }
    Ok(())
}

/// What is in the folder of each source. A commit is fetched once, however many folders of it are asked for.
async fn fetch(
    app: &App,
    targets: &BTreeMap<String, (Connection, Target)>,
    sources: &[Source],
    end: Instant,
) -> Result<Vec<Folder>> {
    let mut folders: Vec<Option<Folder>> = vec![None; sources.len()];
    for (index, source) in sources.iter().enumerate() {
        if folders[index].is_some() {
            continue;
        }
        let same = |other: &usize| is_in(&sources[*other], source) && sources[*other].commit == source.commit;
        let all: Vec<usize> = (index..sources.len()).filter(same).collect();
        let paths: Vec<String> = all.iter().map(|other| sources[*other].path.clone()).collect();
        let found = app.connectors.folders(of(targets, source)?, &source.repository, &source.commit, &paths, left(end)?).await;
        for (other, folder) in all.into_iter().zip(found.map_err(|error| of_source(index, error))?) {
            folders[other] = Some(folder);
        }
    }
    Ok(folders.into_iter().map(Option::unwrap_or_default).collect())
}

/// Whether two sources are in the same repository.
fn is_in(one: &Source, other: &Source) -> bool {
    one.connection == other.connection && one.repository == other.repository
}

fn of<'a>(targets: &'a BTreeMap<String, (Connection, Target)>, source: &Source) -> Result<&'a Target> {
    let found = targets.get(&source.connection.to_string());
    found.map(|(_, target)| target).ok_or_else(|| Error::internal("a source whose connection was not looked up"))
}

fn left(end: Instant) -> Result<Duration> {
    let left = end.saturating_duration_since(Instant::now());
    if left.is_zero() {
        let text =
            "the repositories were not fetched within the deadline; nothing was changed, so give it more time and repeat it";
        return Err(Error::new(Reason::DeadlineExceeded, text));
    }
    Ok(left)
}

/// A failure that says which source it is about.
fn of_source(index: usize, error: Error) -> Error {
    match error.reason() {
        Reason::FieldInvalid => Error::invalid(below(&format!("sources[{index}]"), error.violations().iter().cloned())),
        _ => error.with("source", index),
    }
}
