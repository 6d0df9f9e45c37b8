//! Plans that hold secrets leave the runner sealed with those secrets.
//!
//! A plan has every value that an apply needs, so a plan of inputs that name secrets would carry them to the server. Its bytes are
//! encrypted under a key that only who reads the same secrets can make: another runner that may read them opens the plan, and the
//! server cannot. That also is what binds the apply to what was approved. The head says which secrets were read, in which version,
//! and is authenticated with the rest; with another value in its place the plan does not open.
//!
//! A secret that is guessed gives the key, so making it is slow, and the server seals the bytes once more under its own.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use freehold_domain::secrets::SecretRead;
use freehold_engines::StepError;
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    pbkdf2,
    rand::{SecureRandom as _, SystemRandom},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a sealed plan begins with; plans of engines are JSON.
const MARK: &[u8] = b"freehold sealed plan v1\n";
const SALT_BYTES: usize = 16;
/// How slow it is to make a key, as OWASP advises for this function.
const ITERATIONS: u32 = 600_000;

/// What everybody may know of a sealed plan.
#[derive(Serialize, Deserialize)]
struct Head {
    reads: BTreeMap<String, SecretRead>,
    salt: String,
}

/// Opens one plan.
#[derive(Clone)]
pub(crate) struct PlanKey(pub [u8; 32]);

/// What a plan is opened with.
pub(crate) enum Opener {
    /// Its key, of an earlier time.
    Key(PlanKey),
    /// What was read for each input.
    Secrets(BTreeMap<String, Value>),
}

/// Whether these are the bytes of a sealed plan.
pub(crate) fn is_sealed(plan: &[u8]) -> bool {
    plan.starts_with(MARK)
}

/// Seals a plan with the secrets that it was made of.
pub(crate) async fn seal(
    plan: Vec<u8>,
    reads: BTreeMap<String, SecretRead>,
    values: BTreeMap<String, Value>,
) -> Result<Vec<u8>, StepError> {
    let mut salt = [0; SALT_BYTES];
    SystemRandom::new().fill(&mut salt).map_err(|_| broken("this machine gives no random numbers"))?;
    let head = serde_json::to_vec(&Head { reads, salt: STANDARD.encode(salt) }).map_err(|error| broken(error.to_string()))?;
    let mut sealed = [MARK, &head, b"\n"].concat();
    let key = derive(salt, values).await?;
    let mut bytes = plan;
    let sealing = aead(&key)?.seal_in_place_append_tag(nonce(), Aad::from(&sealed), &mut bytes);
    sealing.map_err(|_| broken("the plan cannot be sealed"))?;
    sealed.extend_from_slice(&bytes);
    Ok(sealed)
}

/// Which secrets open a plan.
///
/// # Errors
/// `plan-invalid` when it is none of this version.
pub(crate) fn reads_of(plan: &[u8]) -> Result<BTreeMap<String, SecretRead>, StepError> {
    Ok(split(plan)?.0.reads)
}

/// Opens a plan; answers its key too.
///
/// # Errors
/// `secret-changed` when it is not what the plan was made of.
pub(crate) async fn open(plan: &[u8], opener: Opener) -> Result<(Vec<u8>, PlanKey), StepError> {
    let (head, front, sealed) = split(plan)?;
    let key = match opener {
        Opener::Key(key) => key,
        Opener::Secrets(values) => {
            let salt = STANDARD.decode(&head.salt).ok().and_then(|salt| salt.try_into().ok());
            derive(salt.ok_or_else(|| broken("the plan cannot be read: its salt is none"))?, values).await?
        }
    };
    let mut bytes = sealed.to_vec();
    let length = match aead(&key)?.open_in_place(nonce(), Aad::from(front), &mut bytes) {
        Ok(plain) => plain.len(),
        Err(_) => {
            let named: Vec<_> =
                head.reads.iter().map(|(input, read)| format!("`{input}` ({})", read.reference.shown())).collect();
            let why = format!("a secret is not what it was when the plan was made: {}", named.join(", "));
            return Err(StepError::new("secret-changed", why).hint("make a new plan"));
        }
    };
    bytes.truncate(length);
    Ok((bytes, key))
}

fn split(plan: &[u8]) -> Result<(Head, &[u8], &[u8]), StepError> {
    let rest = plan.strip_prefix(MARK).ok_or_else(|| broken("the plan is not sealed"))?;
    let end = rest.iter().position(|byte| *byte == b'\n').ok_or_else(|| broken("the plan cannot be read: it has no head"))?;
    let head = serde_json::from_slice(&rest[..end]).map_err(|error| broken(format!("the plan cannot be read: {error}")))?;
    let (front, sealed) = plan.split_at(MARK.len() + end + 1);
    Ok((head, front, sealed))
}

async fn derive(salt: [u8; SALT_BYTES], values: BTreeMap<String, Value>) -> Result<PlanKey, StepError> {
    let made = tokio::task::spawn_blocking(move || -> Result<PlanKey, StepError> {
        let secret = serde_json::to_vec(&values).map_err(|error| broken(error.to_string()))?;
        let mut key = [0; 32];
        let iterations = std::num::NonZeroU32::new(ITERATIONS).expect("more than none");
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, &salt, &secret, &mut key);
        Ok(PlanKey(key))
    });
    made.await.map_err(|_| broken("the key of the plan cannot be made"))?
}

fn aead(key: &PlanKey) -> Result<LessSafeKey, StepError> {
    UnboundKey::new(&AES_256_GCM, &key.0).map(LessSafeKey::new).map_err(|_| broken("a key is not of 32 bytes"))
}

/// Each key has a salt of its own and seals one plan.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

fn broken(why: impl Into<String>) -> StepError {
    StepError::new("plan-invalid", why).hint("make a new plan")
}

#[cfg(test)]
mod tests {
    use freehold_domain::secrets::SecretRef;
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn a_plan_opens_with_the_very_secrets_and_no_byte_of_it_can_be_changed() {
        let reference = SecretRef {
            store: "vault".parse().expect("an id"),
            path: "db/prod".to_owned(),
            key: Some("password".to_owned()),
            version: Some(3),
        };
        let reads = BTreeMap::from([("password".to_owned(), SecretRead { reference, driver: None })]);
        let values = |value: &str| BTreeMap::from([("password".to_owned(), json!(value))]);
        let sealed = seal(b"{\"password\":\"s3cret\"}".to_vec(), reads.clone(), values("s3cret")).await.expect("sealed");
        assert!(is_sealed(&sealed) && !String::from_utf8_lossy(&sealed).contains("s3cret"));
        assert_eq!(reads_of(&sealed).expect("a head"), reads);

        let (plan, key) = open(&sealed, Opener::Secrets(values("s3cret"))).await.expect("opened");
        assert_eq!(plan, b"{\"password\":\"s3cret\"}");
        let refused = open(&sealed, Opener::Secrets(values("other"))).await.err().expect("another value");
        assert_eq!(refused.code, "secret-changed");
        assert!(refused.message.contains("db/prod#password") && !refused.message.contains("other"), "{refused}");
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(open(&changed, Opener::Key(key.clone())).await.is_err(), "byte {at} was changed unseen");
        }
    }
}
