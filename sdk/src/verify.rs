//! Checks receipts with a public key alone: no server, no configuration. `deploy/receipts.md` describes the form.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use ring::{
    digest::{SHA256, digest},
    signature::{ED25519, UnparsedPublicKey},
};
use serde::{Deserialize, Serialize};

use crate::{Error, Result, Violation};

/// Says what the signed bytes are.
const PAYLOAD_TYPE: &str = "application/vnd.freehold.receipt.v1+json";
/// What stands before the 32 bytes of an Ed25519 public key in DER (RFC 8410).
const DER_HEAD: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// The largest file that is read.
const MOST: usize = 64 << 20;

/// A receipt whose signature is right.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct VerifiedReceipt {
    /// Digest of its envelope, `sha256:…`; the next receipt of the tenant names it.
    #[serde(skip_deserializing)]
    pub digest: String,
    /// Id of the key that signed it.
    #[serde(skip_deserializing)]
    pub key_id: String,
    /// `BEGUN` or `ENDED`.
    pub kind: String,
    /// Name of the installation, the trust domain of its identities.
    pub installation: String,
    /// Its place in the chain of its tenant, from 1.
    pub sequence: i64,
    /// Digest of the receipt before it; empty at the first one.
    pub previous: String,
    /// When it was signed.
    pub time: Timestamp,
    /// The audit record of the same transaction.
    pub audit_record: String,
    /// The run.
    pub run: String,
    /// What the run was for, for example `APPLY`.
    pub run_kind: String,
    /// Who began the run.
    pub author: String,
    /// The environment.
    pub environment: String,
    /// The deployment.
    pub deployment: String,
    /// The blueprint version.
    pub blueprint_version: String,
    /// Content digest of that version.
    pub blueprint_digest: String,
    /// Digest of all inputs under a key of the tenant.
    pub inputs_digest: String,
    /// Digest of these three, which approvals are bound to beside the plan.
    pub review_digest: String,
    /// The plan.
    pub plan: ReceiptPlan,
    /// What the plan needed.
    pub demand: ReceiptDemand,
    /// The approvals that it was applied on.
    pub approvals: Vec<ReceiptApproval>,
    /// How it ended; absent at the beginning.
    #[serde(default)]
    pub end: Option<ReceiptEnd>,
}

/// The plan of a receipt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[expect(missing_docs, reason = "as in deploy/receipts.md")]
pub struct ReceiptPlan {
    pub digest: String,
    pub engine: String,
    pub binding: String,
    pub base_serial: i64,
    pub time: Timestamp,
    pub create: i64,
    pub update: i64,
    pub replace: i64,
    pub delete: i64,
    pub reversible: i64,
    pub data_loss: i64,
    pub irreversible: i64,
    pub unknown: i64,
}

/// What the plan of a receipt needed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[expect(missing_docs, reason = "as in deploy/receipts.md")]
pub struct ReceiptDemand {
    pub policy: Option<String>,
    pub policy_digest: String,
    pub rule: String,
    pub approvals: i64,
    pub from: Vec<String>,
    pub allow_self_approval: bool,
}

/// One approval of a receipt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[expect(missing_docs, reason = "as in deploy/receipts.md")]
pub struct ReceiptApproval {
    pub principal: String,
    pub time: Timestamp,
    pub channel: String,
    pub comment_digest: String,
    pub plan_digest: String,
    pub review_digest: String,
}

/// How the apply of a receipt ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[expect(missing_docs, reason = "as in deploy/receipts.md")]
pub struct ReceiptEnd {
    pub outcome: String,
    pub changed: bool,
    pub state_serial: i64,
    pub error: String,
}

/// The envelope of DSSE v1, with its one signature.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    payload: String,
    #[serde(rename = "payloadType")]
    payload_type: String,
    signatures: Vec<Signature>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Signature {
    keyid: String,
    sig: String,
}

/// Checks receipts, one a line, with public keys as PEM, of which each receipt names one: that each was signed with that key and is
/// byte for byte as it was signed, that it says of itself what was asked for, and that those that follow each other in a chain do
/// follow each other.
///
/// # Errors
/// [`is_invalid_argument`](Error::is_invalid_argument) with the line and what is wrong with it; nothing of the file is to be
/// believed then.
pub fn verify_receipts(file: &[u8], keys_pem: &str) -> Result<Vec<VerifiedReceipt>> {
    let keys = read_keys(keys_pem).map_err(|why| wrong("key", why))?;
    if file.len() > MOST {
        return Err(wrong("receipt", format!("the file has {} bytes; {MOST} at most", file.len())));
    }
    let Some((b'\n', lines)) = file.split_last() else {
        return Err(wrong("receipt", "the file does not end with the end of a line, so a part of it is missing".to_owned()));
    };
    let mut receipts: Vec<VerifiedReceipt> = Vec::new();
    for (number, line) in lines.split(|byte| *byte == b'\n').enumerate() {
        let at = format!("line {}", number + 1);
        let receipt = verify(line, &keys).map_err(|why| wrong(&at, why))?;
        if let Some(last) = receipts.last() {
            follows(last, &receipt).map_err(|why| wrong(&at, why))?;
        }
        receipts.push(receipt);
    }
    Ok(receipts)
}

fn wrong(field: &str, why: String) -> Error {
    Error::invalid(vec![Violation::new(field, why)])
}

/// The 32 bytes of each key by its id.
fn read_keys(pem: &str) -> Result<BTreeMap<String, Vec<u8>>, String> {
    const BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
    const END: &str = "-----END PUBLIC KEY-----";
    let mut keys = BTreeMap::new();
    for block in pem.split(BEGIN).skip(1) {
        let body: String = block.split(END).next().unwrap_or_default().split_whitespace().collect();
        let der = STANDARD.decode(body).map_err(|_| "a public key is not base64 between its two lines".to_owned())?;
        let key = der.strip_prefix(&DER_HEAD).filter(|key| key.len() == 32);
        let key = key.ok_or("a public key is not one of Ed25519 (RFC 8410)")?.to_vec();
        keys.insert(hex(digest(&SHA256, &der).as_ref()), key);
    }
    if keys.is_empty() { Err(format!("there is no public key: `{BEGIN}` is missing")) } else { Ok(keys) }
}

fn verify(line: &[u8], keys: &BTreeMap<String, Vec<u8>>) -> Result<VerifiedReceipt, String> {
    let envelope: Envelope = serde_json::from_slice(line).map_err(|error| format!("this is no receipt: {error}"))?;
    let [signature] = envelope.signatures.as_slice() else { return Err("it does not have just one signature".to_owned()) };
    if envelope.payload_type != PAYLOAD_TYPE {
        return Err(format!("it is not of the type {PAYLOAD_TYPE}"));
    }
    let payload = STANDARD.decode(&envelope.payload).map_err(|_| "what was signed is not base64".to_owned())?;
    let sig = STANDARD.decode(&signature.sig).map_err(|_| "the signature is not base64".to_owned())?;
    // The one form that envelopes are written in: what is not signed cannot be another either.
    let canonical = format!(
        r#"{{"payload":"{}","payloadType":"{PAYLOAD_TYPE}","signatures":[{{"keyid":"{}","sig":"{}"}}]}}"#,
        STANDARD.encode(&payload),
        signature.keyid,
        STANDARD.encode(&sig)
    );
    if canonical.as_bytes() != line {
        return Err("it is not byte for byte as the server wrote it".to_owned());
    }
    let key = keys.get(&signature.keyid).ok_or("it was signed with a key that is not among those given")?;
    let mut signed = format!("DSSEv1 {} {PAYLOAD_TYPE} {} ", PAYLOAD_TYPE.len(), payload.len()).into_bytes();
    signed.extend_from_slice(&payload);
    let checked = UnparsedPublicKey::new(&ED25519, key).verify(&signed, &sig);
    checked.map_err(|_| "the signature is not right: the receipt was altered, or is of another installation".to_owned())?;
    let receipt: VerifiedReceipt = serde_json::from_slice(&payload)
        .map_err(|error| format!("it is signed, and this version cannot read it ({error}); use a newer one"))?;
    consistent(&receipt)?;
    let digest = format!("sha256:{}", hex(digest(&SHA256, line).as_ref()));
    Ok(VerifiedReceipt { digest, key_id: signature.keyid.clone(), ..receipt })
}

/// Whether a receipt says of itself that what was asked for was there.
fn consistent(receipt: &VerifiedReceipt) -> Result<(), String> {
    let mut who: Vec<&str> = Vec::new();
    for approval in &receipt.approvals {
        if approval.plan_digest != receipt.plan.digest || approval.review_digest != receipt.review_digest {
            return Err(format!("the approval by {} is of another plan", approval.principal));
        }
        if approval.principal == receipt.author && receipt.demand.approvals > 0 && !receipt.demand.allow_self_approval {
            return Err(format!("{} has approved their own run", approval.principal));
        }
        if !who.contains(&approval.principal.as_str()) {
            who.push(&approval.principal);
        }
    }
    let (there, asked) = (who.len() as i64, receipt.demand.approvals);
    if there < asked { Err(format!("it was applied on {there} of {asked} approvals")) } else { Ok(()) }
}

/// Whether a receipt can stand after another one in a file.
fn follows(last: &VerifiedReceipt, next: &VerifiedReceipt) -> Result<(), String> {
    let tenant = |receipt: &VerifiedReceipt| receipt.run.split('/').nth(1).map(str::to_owned);
    if last.installation != next.installation || tenant(last) != tenant(next) {
        return Ok(());
    }
    if next.sequence <= last.sequence {
        return Err(format!("number {} of the chain comes after number {}", next.sequence, last.sequence));
    }
    if next.sequence == last.sequence + 1 && next.previous != last.digest {
        return Err(format!("it does not follow the receipt before it, which is {}", last.digest));
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use ring::signature::{Ed25519KeyPair, KeyPair as _};
    use serde_json::{Value, json};

    use super::*;

    /// A receipt as a server of version 1 wrote it.
    fn payload() -> Value {
        json!({
            "kind": "BEGUN", "installation": "acme.example", "sequence": 1, "previous": "", "time": "2026-11-21T20:00:00Z",
            "audit_record": "tenants/acme/auditRecords/0", "run": "tenants/acme/projects/p/environments/e/deployments/d/runs/0",
            "run_kind": "APPLY", "author": "tenants/acme/users/ada", "environment": "tenants/acme/projects/p/environments/e",
            "deployment": "tenants/acme/projects/p/environments/e/deployments/d",
            "blueprint_version": "tenants/acme/blueprints/b/versions/1.0.0", "blueprint_digest": "sha256:b",
            "inputs_digest": "hmac-sha256:i", "review_digest": "sha256:r",
            "plan": {
                "digest": "sha256:p", "engine": "native", "binding": "EXACT", "base_serial": 0, "time": "2026-11-21T19:00:00Z",
                "create": 1, "update": 0, "replace": 0, "delete": 0, "reversible": 1, "data_loss": 0, "irreversible": 0, "unknown": 0,
            },
            "demand": {
                "policy": null, "policy_digest": "", "rule": "", "approvals": 1, "from": [], "allow_self_approval": false,
            },
            "approvals": [{
                "principal": "tenants/acme/users/bob", "time": "2026-11-21T19:30:00Z", "channel": "token",
                "comment_digest": "sha256:c", "plan_digest": "sha256:p", "review_digest": "sha256:r",
            }],
        })
    }

    fn pair() -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("32 bytes")
    }

    fn pem() -> String {
        let der = [&DER_HEAD[..], pair().public_key().as_ref()].concat();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der))
    }

    /// The line of a file that holds this, signed well.
    fn signed(payload: &Value) -> Vec<u8> {
        let key_id = read_keys(&pem()).expect("a key").into_keys().next().expect("one");
        let bytes = payload.to_string();
        let sig = pair().sign(format!("DSSEv1 {} {PAYLOAD_TYPE} {} {bytes}", PAYLOAD_TYPE.len(), bytes.len()).as_bytes());
        let (payload, sig) = (STANDARD.encode(bytes), STANDARD.encode(sig));
        let line = format!(
            r#"{{"payload":"{payload}","payloadType":"{PAYLOAD_TYPE}","signatures":[{{"keyid":"{key_id}","sig":"{sig}"}}]}}"#
        );
        (line + "\n").into_bytes()
    }

    #[test]
    fn receipts_of_today_are_read_for_ever() {
        let file = signed(&payload());
        let receipt = verify_receipts(&file, &pem()).expect("right").remove(0);
        assert_eq!(receipt.digest, "sha256:98b369bb989bb52b694ca4c40867377009c04994a74cd8a1ab0c8216a046e054");
        assert_eq!((receipt.approvals.len(), receipt.end), (1, None));
    }

    #[test]
    fn a_right_signature_does_not_make_an_apply_right() {
        let table: [(&str, Value, &str); 5] = [
            ("/approvals", json!([]), "applied on 0 of 1 approvals"),
            ("/demand/approvals", json!(2), "applied on 1 of 2 approvals"),
            ("/approvals/0/plan_digest", json!("sha256:q"), "is of another plan"),
            ("/review_digest", json!("sha256:q"), "is of another plan"),
            ("/approvals/0/principal", json!("tenants/acme/users/ada"), "has approved their own run"),
        ];
        for (path, value, why) in table {
            let mut payload = payload();
            *payload.pointer_mut(path).expect("it is there") = value;
            let refused = verify_receipts(&signed(&payload), &pem()).expect_err(path);
            assert!(refused.violations()[0].description.contains(why), "{path}: {refused:?}");
        }
        let mut twice = payload();
        twice["demand"]["approvals"] = json!(2);
        let again = twice["approvals"][0].clone();
        twice["approvals"].as_array_mut().expect("a list").push(again);
        assert!(verify_receipts(&signed(&twice), &pem()).is_err(), "one person is one approval");
    }

    #[test]
    fn what_is_not_just_so_is_refused() {
        let file = signed(&payload());
        let text = String::from_utf8(file.clone()).expect("text");
        let table = [
            text.replace("\n", ""),
            text.replace("\n", "\r\n"),
            text.replace("\n", "\n\n"),
            text.replace("\",\"payloadType", "\", \"payloadType"),
            text.replace("}]}", "}],\"more\":1}"),
            String::new(),
            "\n".to_owned(),
        ];
        for wrong in table {
            assert!(verify_receipts(wrong.as_bytes(), &pem()).is_err(), "{wrong}");
        }
        for key in ["", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"] {
            assert!(verify_receipts(&file, key).is_err_and(|error| error.violations()[0].field == "key"), "{key}");
        }
    }
}
