//! Signatures with a shared secret, compared in constant time.

use ring::{digest::SHA256, hmac};

/// HMAC-SHA256 of these parts in a row.
pub(crate) fn sign(secret: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, secret));
    parts.iter().for_each(|part| context.update(part));
    context.sign().as_ref().to_vec()
}

/// Whether a signature is that of these parts. How long that takes says nothing about where they differ.
pub(crate) fn verify(secret: &[u8], parts: &[&[u8]], signature: &[u8]) -> bool {
    hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, secret), &parts.concat(), signature).is_ok()
}

/// SHA-256 in hex.
pub(crate) fn digest(bytes: &[u8]) -> String {
    hex(ring::digest::digest(&SHA256, bytes).as_ref())
}

/// Bytes in lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes out of hex in either case.
pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_those_of_the_vendors_examples() {
        // GitHub, "Validating webhook deliveries": the secret and the payload of its test.
        let signature = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        assert_eq!(hex(&sign(b"It's a Secret to Everybody", &[b"Hello, ", b"World!"])), signature);
        assert!(verify(b"It's a Secret to Everybody", &[b"Hello, World!"], &unhex(signature).expect("hex")));
        assert!(!verify(b"It's a Secret to Everybody", &[b"Hello, World?"], &unhex(signature).expect("hex")));
        assert!(!verify(b"It's a Secret to Everybody", &[b"Hello, World!"], &[]));
    }

    #[test]
    fn hex_goes_both_ways_and_nothing_else_is_taken_for_it() {
        assert_eq!(unhex(&hex(&[0, 15, 255])), Some(vec![0, 15, 255]));
        assert_eq!(unhex("FF"), Some(vec![255]));
        for wrong in ["0", "0g", "+1", "é"] {
            assert_eq!(unhex(wrong), None, "{wrong}");
        }
    }
}
