//! Rows of runner pools and runners. They belong to the installation.

use freehold_domain::{
    Result,
    names::{RunnerName, RunnerPoolName},
    resource::{Listed, Page},
    runners::{Runner, RunnerPool},
    time::Uid,
};
use uuid::Uuid;

use crate::{
    Session, Tx,
    session::{OrExists as _, decode, encode},
};

/// Adds a pool.
pub async fn insert_pool(tx: &mut Tx, pool: &RunnerPool) -> Result<()> {
    execute!(
        tx,
        "INSERT INTO runner_pools (uid, name, version, body) VALUES ($1, $2, $3, $4)",
        pool.meta.uid.0,
        pool.name.to_string(),
        pool.meta.version,
        encode(pool)?,
    )
    .or_exists(&pool.name)?;
    Ok(())
}

/// Reads a pool.
pub async fn get_pool(db: &mut Session, name: &RunnerPoolName) -> Result<Option<RunnerPool>> {
    let row = fetch_optional!((String,), db, "SELECT body FROM runner_pools WHERE name = $1", name.to_string())?;
    row.map(|(body,)| decode("runner_pools", &body)).transpose()
}

/// Writes the next version of a pool. Fails with `ETAG_MISMATCH` when somebody else was first.
pub async fn update_pool(tx: &mut Tx, pool: &RunnerPool) -> Result<()> {
    let rows = execute!(
        tx,
        "UPDATE runner_pools SET version = $1, body = $2 WHERE uid = $3 AND version = $4",
        pool.meta.version,
        encode(pool)?,
        pool.meta.uid.0,
        pool.meta.version - 1,
    )?;
    if rows == 1 { Ok(()) } else { Err(pool.meta.etag_mismatch()) }
}

/// Reads a page of pools.
pub async fn list_pools(db: &mut Session, page: Page) -> Result<Listed<RunnerPool>> {
    let rows = fetch_all!(
        (String,),
        db,
        "SELECT body FROM runner_pools WHERE uid > $1 ORDER BY uid LIMIT $2",
        page.after.map_or(Uuid::nil(), |uid| uid.0),
        i64::from(page.size) + 1,
    )?;
    let items = rows.iter().map(|(body,)| decode("runner_pools", body)).collect::<Result<Vec<RunnerPool>>>()?;
    Ok(Listed::from_rows(items, page, |pool| pool.meta.uid))
}

/// Writes what is known of a runner.
pub async fn put(tx: &mut Tx, runner: &Runner) -> Result<()> {
    let uid = tx.uid();
    execute!(
        tx,
        "INSERT INTO runners (name, uid, pool, body) VALUES ($1, $2, $3, $4)
         ON CONFLICT (name) DO UPDATE SET body = excluded.body",
        runner.name.to_string(),
        uid.0,
        runner.name.runner_pool_name().to_string(),
        encode(runner)?,
    )?;
    Ok(())
}

/// Reads a runner.
pub async fn get(db: &mut Session, name: &RunnerName) -> Result<Option<Runner>> {
    let row = fetch_optional!((String,), db, "SELECT body FROM runners WHERE name = $1", name.to_string())?;
    row.map(|(body,)| decode("runners", &body)).transpose()
}

/// Reads a runner to change it: nobody else does before this transaction ends.
pub async fn hold(tx: &mut Tx, name: &RunnerName) -> Result<Option<Runner>> {
    let row = fetch_optional!((String,), tx, "UPDATE runners SET body = body WHERE name = $1 RETURNING body", name.to_string())?;
    row.map(|(body,)| decode("runners", &body)).transpose()
}

/// Reads a page of the runners of a pool.
pub async fn list(db: &mut Session, pool: &RunnerPoolName, page: Page) -> Result<Listed<Runner>> {
    let rows = fetch_all!(
        (Uuid, String),
        db,
        "SELECT uid, body FROM runners WHERE pool = $1 AND uid > $2 ORDER BY uid LIMIT $3",
        pool.to_string(),
        page.after.map_or(Uuid::nil(), |uid| uid.0),
        i64::from(page.size) + 1,
    )?;
    let items =
        rows.iter().map(|(uid, body)| Ok((Uid(*uid), decode("runners", body)?))).collect::<Result<Vec<(Uid, Runner)>>>()?;
    let Listed { items, next } = Listed::from_rows(items, page, |(uid, _)| *uid);
    Ok(Listed { items: items.into_iter().map(|(_, runner)| runner).collect(), next })
}
