//! Runner pools, and the runners in them. They belong to the installation.

use std::collections::BTreeMap;

use freehold_domain::{
    Error, Reason, Result,
    access::Caller,
    events::Event,
    names::{Id, RunnerName, RunnerPoolName},
    resource::{Described, Labels, Listed, Meta, Page},
    runners::{DEFAULT_POOL, Runner, RunnerPool, SandboxLevel},
};
use freehold_store::{INSTALLATION, registration, runners};

use crate::app::{App, Write};

/// What a new pool is.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct CreateRunnerPool {
    pub id: Option<Id>,
    pub described: Described,
    pub required_sandbox: SandboxLevel,
}

/// What changes of a pool.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct UpdateRunnerPool {
    pub name: RunnerPoolName,
    pub display_name: Option<String>,
    pub labels: Option<Labels>,
    pub required_sandbox: Option<SandboxLevel>,
}

/// What a runner says of itself.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct Description {
    pub version: String,
    pub engines: Vec<String>,
    pub capacity: i32,
    pub running: i32,
    pub sandbox: String,
    pub platform: String,
    pub engine_versions: BTreeMap<String, String>,
    pub labels: Labels,
}

/// Creates a pool.
pub async fn create_pool(app: &App, caller: &Caller, cmd: CreateRunnerPool, write: &Write) -> Result<RunnerPool> {
    caller.require("", app.now())?;
    let mut tx = app.store.begin(caller, INSTALLATION, &write.key).await?;
    if let Some(done) = tx.replayed()? {
        return Ok(done);
    }
    let uid = tx.uid();
    let name = RunnerPoolName { runner_pool: cmd.id.unwrap_or_else(|| Id::generated("pool", uid)) };
    let meta = Meta::new(uid, cmd.described, &caller.principal, tx.now());
    let pool = RunnerPool { name, meta, required_sandbox: cmd.required_sandbox };
    runners::insert_pool(&mut tx, &pool).await?;
    tx.announce(Event::new("runner_pool.created", &pool.name, uid, 1));
    app.finish(tx, write, &pool).await?;
    Ok(pool)
}

/// Changes a pool.
pub async fn update_pool(app: &App, caller: &Caller, cmd: UpdateRunnerPool, write: &Write) -> Result<RunnerPool> {
    caller.require(&cmd.name.to_string(), app.now())?;
    let mut tx = app.store.begin(caller, INSTALLATION, &write.key).await?;
    if let Some(done) = tx.replayed()? {
        return Ok(done);
    }
    let mut pool = runners::get_pool(&mut tx, &cmd.name).await?.ok_or_else(|| Error::not_found(&cmd.name))?;
    pool.meta.expect_etag(write.etag.as_deref())?;
    pool.meta.describe(cmd.display_name, cmd.labels);
    pool.required_sandbox = cmd.required_sandbox.unwrap_or(pool.required_sandbox);
    pool.meta.touch(tx.now());
    runners::update_pool(&mut tx, &pool).await?;
    tx.announce(Event::new("runner_pool.updated", &pool.name, pool.meta.uid, pool.meta.version));
    app.finish(tx, write, &pool).await?;
    Ok(pool)
}

/// Makes the pool that environments have without a choice, unless it is there.
pub async fn ensure_default_pool(app: &App) -> Result<()> {
    let name: RunnerPoolName = DEFAULT_POOL.parse().map_err(Error::internal)?;
    let mut tx = app.store.begin_as("server", INSTALLATION).await?;
    if runners::get_pool(&mut tx, &name).await?.is_some() {
        return Ok(());
    }
    let described = Described { display_name: "Default".to_owned(), ..Described::default() };
    let meta = Meta::new(tx.uid(), described, "server", tx.now());
    let pool = RunnerPool { name, meta, required_sandbox: SandboxLevel::None };
    match runners::insert_pool(&mut tx, &pool).await {
        // Another replica was first.
        Err(error) if error.reason() == Reason::ResourceExists => return Ok(()),
        inserted => inserted?,
    }
    tx.announce(Event::new("runner_pool.created", &pool.name, pool.meta.uid, 1));
    tx.commit(&()).await
}

/// Returns a pool.
pub async fn get_pool(app: &App, caller: &Caller, name: &RunnerPoolName) -> Result<RunnerPool> {
    caller.require(&name.to_string(), app.now())?;
    runners::get_pool(&mut app.store.read().await?, name).await?.ok_or_else(|| Error::not_found(name))
}

/// Lists the pools.
pub async fn list_pools(app: &App, caller: &Caller, page: Page) -> Result<Listed<RunnerPool>> {
    caller.require("", app.now())?;
    runners::list_pools(&mut app.store.read().await?, page).await
}

/// Lists the runners of a pool.
pub async fn list(app: &App, caller: &Caller, parent: &RunnerPoolName, page: Page) -> Result<Listed<Runner>> {
    caller.require(&parent.to_string(), app.now())?;
    let mut db = app.store.read().await?;
    if runners::get_pool(&mut db, parent).await?.is_none() {
        return Err(Error::not_found(parent));
    }
    runners::list(&mut db, parent, page).await
}

/// Notes that a runner lives and what it can do; answers whether it is to take no more jobs.
pub async fn heartbeat(app: &App, name: &RunnerName, says: Description) -> Result<bool> {
    let mut tx = app.store.begin_as(&name.to_string(), INSTALLATION).await?;
    // Held, so that a drain that is asked for meanwhile is not written over.
    let known = runners::hold(&mut tx, name).await?;
    if known.is_none() && runners::get_pool(&mut tx, &name.runner_pool_name()).await?.is_none() {
        return Err(Error::not_found(name.runner_pool_name()));
    }
    if known.is_none() && registration::is_removed(&mut tx, name).await? {
        return Err(Error::not_found(name));
    }
    let now = tx.now();
    let Description { version, engines, capacity, running, sandbox, platform, engine_versions, labels } = says;
    let runner = Runner {
        name: name.clone(),
        version,
        engines,
        capacity,
        running,
        sandbox,
        platform,
        engine_versions,
        labels,
        draining: known.as_ref().is_some_and(|runner| runner.draining),
        last_seen_time: now,
        create_time: known.map_or(now, |runner| runner.create_time),
    };
    runners::put(&mut tx, &runner).await?;
    tx.commit(&()).await?;
    Ok(runner.draining)
}

/// Fails with `STATE_NOT_ALLOWED` when a runner offers less than its pool demands.
pub(crate) async fn expect_fit(app: &App, name: &RunnerName) -> Result<()> {
    let mut db = app.store.read().await?;
    let Some(pool) = runners::get_pool(&mut db, &name.runner_pool_name()).await? else { return Ok(()) };
    if pool.required_sandbox == SandboxLevel::None {
        return Ok(());
    }
    pool.expect_sandbox(runners::get(&mut db, name).await?.as_ref())
}

/// Lets a runner finish what it has and take no more, or take work again; changes nothing when it does so already.
pub async fn drain(app: &App, caller: &Caller, name: &RunnerName, draining: bool, write: &Write) -> Result<Runner> {
    caller.require(&name.to_string(), app.now())?;
    let mut tx = app.store.begin(caller, INSTALLATION, &write.key).await?;
    if let Some(done) = tx.replayed()? {
        return Ok(done);
    }
    let mut runner = runners::hold(&mut tx, name).await?.ok_or_else(|| Error::not_found(name))?;
    if runner.draining != draining {
        runner.draining = draining;
        runners::put(&mut tx, &runner).await?;
        tx.announce(Event::new(if draining { "runner.draining" } else { "runner.resumed" }, name, tx.uid(), 1));
    }
    app.finish(tx, write, &runner).await?;
    app.wakeups.wake(name.runner_pool_name().to_string());
    Ok(runner)
}
