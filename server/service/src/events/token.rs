//! Resume tokens: a place in the log, sealed. Places count the events of all tenants, which is nobody's business.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use freehold_domain::{Error, Result, access::TenantScope, time::Random};
use freehold_store::events::Cursor;
use uuid::Uuid;

use crate::seal::MasterKey;

/// The longest text that is looked at.
const LONGEST: usize = 128;

/// Writes a token for the readers of one tenant, or of the installation.
pub(super) fn seal(key: &MasterKey, random: &dyn Random, scope: TenantScope, cursor: Cursor) -> Result<String> {
    let mut plain = cursor.position.to_be_bytes().to_vec();
    plain.extend_from_slice(cursor.uid.as_bytes());
    Ok(URL_SAFE_NO_PAD.encode(key.seal_resume_token(random, scope, &plain)?))
}

/// Reads a token.
///
/// Fails with `FIELD_INVALID` when it is none of this installation, or one for another tenant.
pub(super) fn open(key: &MasterKey, scope: TenantScope, token: &str) -> Result<Cursor> {
    let read = || {
        let sealed = URL_SAFE_NO_PAD.decode(Some(token).filter(|token| token.len() <= LONGEST)?).ok()?;
        let plain = key.open_resume_token(scope, &sealed).ok()?;
        let (position, uid) = plain.split_first_chunk::<8>()?;
        Some(Cursor { position: i64::from_be_bytes(*position), uid: Uuid::from_slice(uid).ok()? })
    };
    read().ok_or_else(|| {
        Error::field("resume_token", "not a token that this installation gave for this tenant; begin without one, or with a time")
    })
}

#[cfg(test)]
mod tests {
    use freehold_domain::time::Uid;

    use super::*;
    use crate::SystemRandom;

    #[test]
    fn a_token_opens_where_it_was_given_and_nowhere_else() {
        let (key, other) = (MasterKey::new(&[1; 32]).expect("a key"), MasterKey::new(&[2; 32]).expect("a key"));
        let random = SystemRandom::new();
        let [acme, rival] = [1, 2].map(|number| TenantScope(Uid(Uuid::from_u128(number))));
        let cursor = Cursor { position: 7, uid: Uuid::from_u128(9) };
        let token = seal(&key, &random, acme, cursor).expect("a token");
        assert_eq!(open(&key, acme, &token).expect("its own"), cursor);
        let mut changed = token.clone().into_bytes();
        changed[20] ^= 1;
        let changed = String::from_utf8(changed).expect("text");
        for (key, scope, token) in
            [(&key, rival, token.as_str()), (&other, acme, &token), (&key, acme, &changed), (&key, acme, ""), (&key, acme, "ä")]
        {
            assert!(open(key, scope, token).is_err(), "{token}");
        }
    }
}
