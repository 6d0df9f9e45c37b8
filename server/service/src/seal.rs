//! Envelope encryption: a master key wraps each tenant's data key, which seals the tenant's bytes (AES-256-GCM).

use freehold_domain::{
    Error, Result,
    access::TenantScope,
    time::{Random, Uid},
};
use freehold_store::payloads::Kind;
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hmac,
};

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;

/// The known text that a master key seals, and its place.
const MARK: &[u8] = b"v1|master key";

/// The key that wraps the tenants' keys. It is kept outside the database. Others, made of it, seal resume tokens and refresh
/// tokens, of which there are too many for the key itself.
pub struct MasterKey(LessSafeKey, LessSafeKey, LessSafeKey);

/// What the key of resume tokens is made of the master key with.
const RESUME_TOKENS: &[u8] = b"freehold resume tokens v1";

/// What the key of refresh tokens is made of the master key with.
const REFRESH_TOKENS: &[u8] = b"freehold refresh tokens v1";

/// The key that seals what belongs to one tenant, and another one, made of it, for digests that only the tenant's data gives.
pub struct DataKey(LessSafeKey, hmac::Key);

/// What the key of digests is made of the data key with.
const DIGESTS: &[u8] = b"freehold digests v1";

fn key(bytes: &[u8]) -> Result<LessSafeKey> {
    UnboundKey::new(&AES_256_GCM, bytes).map(LessSafeKey::new).map_err(|_| Error::internal("a key is not of 32 bytes"))
}

/// Nonce, ciphertext and tag in a row.
fn seal(key: &LessSafeKey, random: &dyn Random, associated: &[u8], plain: &[u8]) -> Result<Vec<u8>> {
    let mut nonce = [0; NONCE_LEN];
    random.fill(&mut nonce);
    let mut sealed = Vec::with_capacity(NONCE_LEN + plain.len() + AES_256_GCM.tag_len());
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(plain);
    let tag = key
        .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(associated), &mut sealed[NONCE_LEN..])
        .map_err(|_| Error::internal("sealing failed"))?;
    sealed.extend_from_slice(tag.as_ref());
    Ok(sealed)
}

fn open(key: &LessSafeKey, associated: &[u8], sealed: &[u8]) -> Result<Vec<u8>> {
    let broken = || Error::internal("sealed bytes cannot be opened: they were changed, or the key is another one");
    let (nonce, rest) = sealed.split_at_checked(NONCE_LEN).ok_or_else(broken)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| broken())?;
    let mut bytes = rest.to_vec();
    let length = key.open_in_place(nonce, Aad::from(associated), &mut bytes).map_err(|_| broken())?.len();
    bytes.truncate(length);
    Ok(bytes)
}

impl MasterKey {
    /// From the bytes of the key file.
    pub fn new(bytes: &[u8]) -> Result<Self> {
        let made = |what: &[u8]| key(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, bytes), what).as_ref());
        Ok(Self(key(bytes)?, made(RESUME_TOKENS)?, made(REFRESH_TOKENS)?))
    }

    /// Draws a data key for a tenant; answers it and its wrapped form.
    pub fn new_data_key(&self, random: &dyn Random, tenant: Uid) -> Result<Vec<u8>> {
        let mut bytes = [0; KEY_BYTES];
        random.fill(&mut bytes);
        seal(&self.0, random, tenant.0.as_bytes(), &bytes)
    }

    /// Seals a known text, by which this key can be told from another one.
    pub fn mark(&self, random: &dyn Random) -> Result<Vec<u8>> {
        seal(&self.0, random, MARK, MARK)
    }

    /// Whether this key has sealed that text.
    pub fn made(&self, mark: &[u8]) -> bool {
        open(&self.0, MARK, mark).is_ok_and(|plain| plain == MARK)
    }

    /// Opens a wrapped data key.
    pub fn unwrap(&self, tenant: Uid, wrapped: &[u8]) -> Result<DataKey> {
        let bytes = open(&self.0, tenant.0.as_bytes(), wrapped)?;
        let digests = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &bytes), DIGESTS);
        Ok(DataKey(key(&bytes)?, hmac::Key::new(hmac::HMAC_SHA256, digests.as_ref())))
    }

    /// Seals a place in the log of events for the readers of one tenant.
    pub fn seal_resume_token(&self, random: &dyn Random, tenant: TenantScope, place: &[u8]) -> Result<Vec<u8>> {
        seal(&self.1, random, tenant.0.0.as_bytes(), place)
    }

    /// Opens it.
    pub fn open_resume_token(&self, tenant: TenantScope, sealed: &[u8]) -> Result<Vec<u8>> {
        open(&self.1, tenant.0.0.as_bytes(), sealed)
    }

    /// Seals what renews a sign-in.
    pub fn seal_refresh_token(&self, random: &dyn Random, plain: &[u8]) -> Result<Vec<u8>> {
        seal(&self.2, random, REFRESH_TOKENS, plain)
    }

    /// Opens it.
    pub fn open_refresh_token(&self, sealed: &[u8]) -> Result<Vec<u8>> {
        open(&self.2, REFRESH_TOKENS, sealed)
    }

    /// Seals the private half of a key that signs receipts.
    pub fn seal_receipt_key(&self, random: &dyn Random, number: i64, seed: &[u8]) -> Result<Vec<u8>> {
        seal(&self.0, random, receipt_key(number).as_bytes(), seed)
    }

    /// Opens it.
    pub fn open_receipt_key(&self, number: i64, sealed: &[u8]) -> Result<Vec<u8>> {
        open(&self.0, receipt_key(number).as_bytes(), sealed)
    }
}

fn receipt_key(number: i64) -> String {
    format!("v1|receipt key|{number}")
}

impl DataKey {
    /// A digest of bytes of this kind, `hmac-sha256:…`. Who does not have the key cannot try out what the bytes may be, so it may
    /// be shown even where they are a secret that can be guessed.
    pub fn digest(&self, kind: &str, bytes: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&self.1);
        context.update(kind.as_bytes());
        context.update(&[0]);
        context.update(bytes);
        context.sign().as_ref().iter().fold("hmac-sha256:".to_owned(), |text, byte| text + &format!("{byte:02x}"))
    }

    /// Seals bytes for their one place in the database; elsewhere they do not open.
    pub fn seal(&self, random: &dyn Random, place: &SealedPlace, plain: &[u8]) -> Result<Vec<u8>> {
        seal(&self.0, random, place.associated().as_bytes(), plain)
    }

    /// Opens bytes from their place.
    pub fn open(&self, place: &SealedPlace, sealed: &[u8]) -> Result<Vec<u8>> {
        open(&self.0, place.associated().as_bytes(), sealed)
    }
}

/// Where sealed bytes belong.
#[derive(Clone, Debug)]
pub struct SealedPlace {
    /// Whose they are.
    pub tenant: TenantScope,
    /// The resource.
    pub owner: Uid,
    /// What they are: the name of a payload kind, or of a column.
    pub kind: &'static str,
    /// Their serial, or the id of a step.
    pub serial: String,
}

impl SealedPlace {
    /// A payload.
    pub fn payload(tenant: TenantScope, owner: Uid, kind: Kind, serial: i64) -> Self {
        Self { tenant, owner, kind: kind.as_str(), serial: serial.to_string() }
    }

    fn associated(&self) -> String {
        format!("v1|{}|{}|{}|{}", self.tenant.0, self.owner, self.kind, self.serial)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::SystemRandom;

    #[test]
    fn sealed_bytes_open_only_where_they_belong() {
        let random = SystemRandom::new();
        let master = MasterKey::new(&[7; KEY_BYTES]).expect("32 bytes");
        let (one, two) = (random.uid(), random.uid());
        let wrapped = master.new_data_key(&random, one).expect("wraps");
        let key = master.unwrap(one, &wrapped).expect("opens");
        assert!(master.unwrap(two, &wrapped).is_err(), "a key moved to another tenant opens nothing");

        let place = SealedPlace::payload(TenantScope(one), two, Kind::State, 1);
        let mut sealed = key.seal(&random, &place, b"state").expect("seals");
        assert_eq!(key.open(&place, &sealed).expect("opens"), b"state");
        assert!(
            key.open(&SealedPlace::payload(TenantScope(one), two, Kind::State, 2), &sealed).is_err(),
            "replayed to another serial"
        );
        for index in 0..sealed.len() {
            sealed[index] ^= 1;
            assert!(key.open(&place, &sealed).is_err(), "byte {index} was changed unseen");
            sealed[index] ^= 1;
        }
    }
}
