//! Receipts: signed when an apply begins and when it ends, chained tenant by tenant, checked by anybody with the public key.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use freehold_domain::{
    Error, Result,
    access::Caller,
    events::Event,
    names::{ReceiptName, RunName, TenantName},
    receipts::{Link, PAYLOAD_TYPE, Receipt, ReceiptKey, ReceiptKind, Statement, to_sign},
    runs::{Run, RunPhase},
};
use freehold_store::{INSTALLATION, Tx, receipts};
use ring::{
    digest::{SHA256, digest},
    signature::{Ed25519KeyPair, KeyPair as _},
};

use crate::{
    app::{App, Place, Write},
    approvals::sha256,
    audit, runs,
};

/// Bytes of the seed of a key (RFC 8032).
const SEED: usize = 32;
/// What stands before the 32 bytes of an Ed25519 public key in DER (RFC 8410).
const DER_HEAD: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Makes the first key, unless there is one. Replicas share it: its private half is in the database, sealed with the master key.
pub async fn ensure_key(app: &App) -> Result<()> {
    if receipts::signing_key(&mut app.store.read().await?).await?.is_some() {
        return Ok(());
    }
    let mut tx = app.store.begin_as("server", INSTALLATION).await?;
    // Another replica may be first; then its key is the one.
    if add_key(app, &mut tx, 1).await?.is_some() {
        tx.commit(&()).await?;
    }
    Ok(())
}

/// Makes a key with this number; `None` when there is one.
async fn add_key(app: &App, tx: &mut Tx, number: i64) -> Result<Option<ReceiptKey>> {
    let mut seed = [0; SEED];
    app.random.fill(&mut seed);
    let public = pair(&seed)?.public_key().as_ref().to_vec();
    let key = ReceiptKey { number, public, create_time: tx.now() };
    let sealed = app.master_key.seal_receipt_key(app.random.as_ref(), number, &seed)?;
    if !receipts::insert_key(tx, &key, &sealed).await? {
        return Ok(None);
    }
    let uid = tx.uid();
    let facts = serde_json::json!({ "key_id": key_id(&key) });
    tx.announce(Event::new("receipt_key.created", name(&key), uid, 1).with(facts));
    Ok(Some(key))
}

fn pair(seed: &[u8]) -> Result<Ed25519KeyPair> {
    Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| Error::internal("a key that signs receipts is broken"))
}

/// The resource name of a key.
pub fn name(key: &ReceiptKey) -> String {
    format!("receiptKeys/{}", key.number)
}

/// The public half in DER (RFC 8410).
fn der(key: &ReceiptKey) -> Vec<u8> {
    [&DER_HEAD[..], &key.public].concat()
}

/// SHA-256 of the public key in DER, in hexadecimal digits.
pub fn key_id(key: &ReceiptKey) -> String {
    digest(&SHA256, &der(key)).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The public half as PEM.
pub fn pem(key: &ReceiptKey) -> String {
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der(key)))
}

/// Lists the public keys, oldest first.
pub async fn list_keys(app: &App) -> Result<Vec<ReceiptKey>> {
    receipts::keys(&mut app.store.read().await?).await
}

/// Makes a new key, which signs from now on.
pub async fn rotate_key(app: &App, caller: &Caller, write: &Write) -> Result<ReceiptKey> {
    caller.require("", app.now())?;
    let mut tx = app.store.begin(caller, INSTALLATION, &write.key).await?;
    if let Some(done) = tx.replayed()? {
        return Ok(done);
    }
    let last = receipts::signing_key(&mut tx).await?.map_or(0, |(key, _)| key.number);
    let key = add_key(app, &mut tx, last + 1).await?.ok_or_else(|| {
        Error::new(freehold_domain::Reason::EtagMismatch, "somebody else has made a new key just now; look at the list")
    })?;
    app.finish(tx, write, &key).await?;
    Ok(key)
}

/// Lists receipts of a tenant after a place in its chain: up to one more than `size`.
pub async fn list(app: &App, caller: &Caller, parent: &TenantName, after: i64, size: u32) -> Result<Vec<Receipt>> {
    let place = app.enter(caller, parent, &parent.to_string()).await?;
    receipts::list(&mut app.store.read().await?, place.scope, after, size + 1).await
}

/// Lists the receipts of a run.
pub async fn of_run(app: &App, caller: &Caller, name: &RunName) -> Result<Vec<Receipt>> {
    let place = app.enter(caller, &name.tenant_name(), &name.to_string()).await?;
    let mut db = app.store.read().await?;
    let run = runs::find(&mut db, &place, name).await?;
    receipts::of_run(&mut db, place.scope, run.uid()).await
}

/// Signs a receipt when the run has just begun to be applied, or has ended after that; nothing otherwise. It is the last thing
/// that a transaction does before its counters: others of the tenant wait for the end of the chain.
pub(crate) async fn sign(app: &App, tx: &mut Tx, place: &Place, before: RunPhase, run: &Run) -> Result<()> {
    let ended_at = match (before, run.phase) {
        (RunPhase::ApplyQueued, RunPhase::Applying) => None,
        (before, RunPhase::Done) if before.holds_lock() => Some(runs::deployment_of(tx, place, run).await?.state_serial),
        _ => return Ok(()),
    };
    let (key, sealed) =
        receipts::signing_key(tx).await?.ok_or_else(|| Error::internal("there is no key to sign receipts with"))?;
    let pair = pair(&app.master_key.open_receipt_key(key.number, &sealed)?)?;
    let tenant = run.name.tenant_name();
    let (sequence, previous) = receipts::next(tx, place.scope).await?;
    let link = Link {
        installation: app.trust_domain.clone(),
        sequence,
        previous,
        time: tx.now(),
        audit_record: audit::name(Some(&tenant), tx.record()),
    };
    let Some(statement) = Statement::of(run, link, ended_at, |text| sha256(text.as_bytes())) else {
        return Err(Error::internal(format!("{} is applied without a plan", run.name)));
    };
    let payload = serde_json::to_vec(&statement).map_err(Error::internal)?;
    let key_id = key_id(&key);
    let signature = pair.sign(&to_sign(&payload));
    let envelope = envelope(&payload, &key_id, signature.as_ref());
    let receipt = Receipt {
        name: ReceiptName { tenant: tenant.tenant, sequence },
        run: run.name.clone(),
        kind: if ended_at.is_some() { ReceiptKind::Ended } else { ReceiptKind::Begun },
        digest: sha256(envelope.as_bytes()),
        key_id,
        create_time: tx.now(),
        envelope,
    };
    tx.receipt(&receipt.digest);
    receipts::insert(tx, place.scope, &receipt).await
}

/// The envelope of DSSE v1, in the one form that is taken for it: this order, and nothing between its parts.
fn envelope(payload: &[u8], key_id: &str, signature: &[u8]) -> String {
    format!(
        r#"{{"payload":"{}","payloadType":"{PAYLOAD_TYPE}","signatures":[{{"keyid":"{key_id}","sig":"{}"}}]}}"#,
        STANDARD.encode(payload),
        STANDARD.encode(signature)
    )
}
