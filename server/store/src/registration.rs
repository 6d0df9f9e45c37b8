//! Rows of registration tokens, and of runners that were removed. They belong to the installation.

use freehold_domain::{
    Error, Result,
    names::{RunnerName, RunnerPoolName},
    registration::RegistrationToken,
    resource::{Listed, Page},
    time::Uid,
};
use uuid::Uuid;

use crate::{
    Session, Tx,
    session::{decode, encode},
};

/// Adds a token with the SHA-256 of its secret. Fails with `RESOURCE_NOT_FOUND` when there is no such pool.
pub async fn insert(tx: &mut Tx, digest: &[u8], token: &RegistrationToken) -> Result<()> {
    let pool = token.name.runner_pool_name();
    execute!(
        tx,
        "INSERT INTO registration_tokens (uid, pool, digest, body) VALUES ($1, $2, $3, $4)",
        token.name.registration_token.0,
        pool.to_string(),
        digest,
        encode(token)?,
    )
    .map_err(|failure| if failure.is_reference() { Error::not_found(&pool) } else { failure.into() })?;
    Ok(())
}

/// Finds the token whose secret has this SHA-256.
pub async fn by_digest(db: &mut Session, digest: &[u8]) -> Result<Option<RegistrationToken>> {
    let row = fetch_optional!((String,), db, "SELECT body FROM registration_tokens WHERE digest = $1", digest)?;
    row.map(|(body,)| decode("registration_tokens", &body)).transpose()
}

/// Reads a token to change it: nobody else does before this transaction ends, so that it is used once.
pub async fn hold(tx: &mut Tx, uid: Uid) -> Result<Option<RegistrationToken>> {
    let row = fetch_optional!((String,), tx, "UPDATE registration_tokens SET body = body WHERE uid = $1 RETURNING body", uid.0)?;
    row.map(|(body,)| decode("registration_tokens", &body)).transpose()
}

/// Writes a token that is held.
pub async fn update(tx: &mut Tx, token: &RegistrationToken) -> Result<()> {
    execute!(tx, "UPDATE registration_tokens SET body = $1 WHERE uid = $2", encode(token)?, token.name.registration_token.0,)?;
    Ok(())
}

/// Reads a page of the tokens of a pool.
pub async fn list(db: &mut Session, pool: &RunnerPoolName, page: Page) -> Result<Listed<RegistrationToken>> {
    let rows = fetch_all!(
        (String,),
        db,
        "SELECT body FROM registration_tokens WHERE pool = $1 AND uid > $2 ORDER BY uid LIMIT $3",
        pool.to_string(),
        page.after.map_or(Uuid::nil(), |uid| uid.0),
        i64::from(page.size) + 1,
    )?;
    let items = rows.iter().map(|(body,)| decode("registration_tokens", body)).collect::<Result<Vec<RegistrationToken>>>()?;
    Ok(Listed::from_rows(items, page, |token| token.name.registration_token))
}

/// Removes a runner for good; answers whether there was one.
pub async fn remove(tx: &mut Tx, name: &RunnerName) -> Result<bool> {
    let rows = execute!(tx, "DELETE FROM runners WHERE name = $1", name.to_string())?;
    let removed = tx.now().as_micros();
    execute!(
        tx,
        "INSERT INTO removed_runners (name, removed) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING",
        name.to_string(),
        removed,
    )?;
    Ok(rows == 1)
}

/// Whether a runner of this name was removed.
pub async fn is_removed(db: &mut Session, name: &RunnerName) -> Result<bool> {
    let row = fetch_optional!((i64,), db, "SELECT removed FROM removed_runners WHERE name = $1", name.to_string())?;
    Ok(row.is_some())
}
