//! Runner pools, and the runners in them. They belong to the installation.

use freehold_domain::{
    Error, Reason, Result,
    access::Caller,
    audit::Event,
    names::{Id, RunnerName, RunnerPoolName},
    resource::{Described, Listed, Meta, Page},
    runners::{DEFAULT_POOL, Runner, RunnerPool},
};
use freehold_store::{INSTALLATION, runners};

use crate::app::{App, Write};

/// What a new pool is.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct CreateRunnerPool {
    pub id: Option<Id>,
    pub described: Described,
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
    let pool = RunnerPool { name, meta: Meta::new(uid, cmd.described, &caller.principal, tx.now()) };
    runners::insert_pool(&mut tx, &pool).await?;
    tx.announce(Event::new("runner_pool.created", &pool.name, uid, 1));
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
    let pool = RunnerPool { name, meta: Meta::new(tx.uid(), described, "server", tx.now()) };
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
