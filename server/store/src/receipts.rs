//! Rows of receipts, the ends of their chains, and the keys that sign them.

use freehold_domain::{
    Error, Result,
    access::TenantScope,
    receipts::{Receipt, ReceiptKey},
    time::Uid,
};

use crate::{
    Session, Tx,
    session::{decode, encode},
};

/// Takes the next place in the chain of a tenant: its number, and the digest of the receipt before it, which is empty before the
/// first. Nobody else gets one before this transaction ends.
pub async fn next(tx: &mut Tx, tenant: TenantScope) -> Result<(i64, String)> {
    let row = fetch_optional!(
        (i64, String),
        tx,
        "INSERT INTO receipt_chains (tenant_id, sequence, digest) VALUES ($1, 1, '')
         ON CONFLICT (tenant_id) DO UPDATE SET sequence = receipt_chains.sequence + 1
         RETURNING sequence, digest",
        tenant.0.0,
    )?;
    row.ok_or_else(|| Error::internal("a chain has no end"))
}

/// Adds the receipt whose place was taken.
pub async fn insert(tx: &mut Tx, tenant: TenantScope, receipt: &Receipt) -> Result<()> {
    execute!(
        tx,
        "INSERT INTO receipts (tenant_id, sequence, run, body) VALUES ($1, $2, $3, $4)",
        tenant.0.0,
        receipt.name.sequence,
        receipt.run.run.0,
        encode(receipt)?,
    )?;
    execute!(tx, "UPDATE receipt_chains SET digest = $1 WHERE tenant_id = $2", &receipt.digest, tenant.0.0)?;
    Ok(())
}

/// Reads up to `size` receipts of a tenant after this place in the chain.
pub async fn list(db: &mut Session, tenant: TenantScope, after: i64, size: u32) -> Result<Vec<Receipt>> {
    let rows = fetch_all!(
        (String,),
        db,
        "SELECT body FROM receipts WHERE tenant_id = $1 AND sequence > $2 ORDER BY sequence LIMIT $3",
        tenant.0.0,
        after,
        i64::from(size),
    )?;
    rows.iter().map(|(body,)| decode("receipts", body)).collect()
}

/// Reads the receipts of a run.
pub async fn of_run(db: &mut Session, tenant: TenantScope, run: Uid) -> Result<Vec<Receipt>> {
    let rows = fetch_all!(
        (String,),
        db,
        "SELECT body FROM receipts WHERE tenant_id = $1 AND run = $2 ORDER BY sequence",
        tenant.0.0,
        run.0,
    )?;
    rows.iter().map(|(body,)| decode("receipts", body)).collect()
}

/// Adds a key with its sealed private half, unless there is one of this number; answers whether there was none.
pub async fn insert_key(tx: &mut Tx, key: &ReceiptKey, sealed: &[u8]) -> Result<bool> {
    let rows = execute!(
        tx,
        "INSERT INTO receipt_keys (number, sealed, body) VALUES ($1, $2, $3) ON CONFLICT (number) DO NOTHING",
        key.number,
        sealed,
        encode(key)?,
    )?;
    Ok(rows == 1)
}

/// Reads the key that signs now, with its sealed private half.
pub async fn signing_key(db: &mut Session) -> Result<Option<(ReceiptKey, Vec<u8>)>> {
    let row = fetch_optional!((String, Vec<u8>), db, "SELECT body, sealed FROM receipt_keys ORDER BY number DESC LIMIT 1")?;
    row.map(|(body, sealed)| Ok((decode("receipt_keys", &body)?, sealed))).transpose()
}

/// Reads the public halves of all keys, oldest first.
pub async fn keys(db: &mut Session) -> Result<Vec<ReceiptKey>> {
    let rows = fetch_all!((String,), db, "SELECT body FROM receipt_keys ORDER BY number")?;
    rows.iter().map(|(body,)| decode("receipt_keys", body)).collect()
}
