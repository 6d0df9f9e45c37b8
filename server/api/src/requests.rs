//! Requests of certificates (PKCS #10) by runners, and what the built-in authority makes of them.

use std::time::Duration;

use freehold_domain::{Error, Reason, Result, names::RunnerName, registration::Certificate};
use freehold_service::Issuer;
use rcgen::{CertificateSigningRequestParams, IsCa, PublicKey, PublicKeyData as _, SanType};
use ring::digest::{SHA256, digest};

use crate::authority::{Authority, Profile, Usage};

/// Bytes of a request, at most.
const MOST: usize = 16 << 10;
/// The field of the contract that holds it.
const FIELD: &str = "certificate_request";

impl Issuer for Authority {
    fn key_digest(&self, request: &str, runner: &RunnerName) -> Result<String> {
        let key = self.read(request, runner)?;
        let sum = digest(&SHA256, key.der_bytes());
        Ok(sum.as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
    }

    fn issue(&self, request: &str, runner: &RunnerName, life: Duration) -> Result<Certificate> {
        let key = self.read(request, runner)?;
        let profile = Profile {
            spiffe_id: self.spiffe_id(runner).parse().map_err(|why: String| Error::internal(why))?,
            dns_names: Vec::new(),
            ips: Vec::new(),
            lifetime: life,
            usage: Usage::Client,
        };
        // What the request asks for is not in it: only its key is.
        let signed = self.sign(&profile, &key).map_err(|error| {
            Error::new(Reason::StateNotAllowed, format!("the authority of this server cannot sign: {error}")).caused_by(error)
        })?;
        Ok(Certificate { pem: signed.cert_pem, expire_time: signed.not_after })
    }
}

impl Authority {
    fn spiffe_id(&self, runner: &RunnerName) -> String {
        format!("spiffe://{}/{runner}", self.trust_domain())
    }

    /// The key of a request that is signed by it and asks for nothing but the identity of this runner.
    fn read(&self, request: &str, runner: &RunnerName) -> Result<PublicKey> {
        if request.len() > MOST {
            return Err(Error::field(FIELD, format!("at most {MOST} bytes")));
        }
        let request = CertificateSigningRequestParams::from_pem(request).map_err(|error| {
            Error::field(FIELD, format!("no request of a certificate (PKCS #10, in PEM) that can be signed: {error}"))
        })?;
        let own = self.spiffe_id(runner);
        let asks_for_own = |name: &SanType| matches!(name, SanType::URI(uri) if uri.as_str() == own);
        let mut wrong = Vec::new();
        if request.params.is_ca != IsCa::NoCa {
            wrong.push("it asks to be an authority".to_owned());
        }
        if !request.params.subject_alt_names.iter().all(asks_for_own) {
            wrong.push(format!("it asks for other names than {own}"));
        }
        if wrong.is_empty() { Ok(request.public_key) } else { Err(Error::field(FIELD, wrong.join("; "))) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use freehold_domain::time::{Clock, Timestamp};
    use rcgen::{BasicConstraints, CertificateParams, KeyPair};

    use super::*;

    struct Now;
    impl Clock for Now {
        fn now(&self) -> Timestamp {
            Timestamp::from_micros(1_800_000_000_000_000)
        }
    }

    fn request(change: impl FnOnce(&mut CertificateParams)) -> String {
        let mut params = CertificateParams::default();
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        params.serialize_request(&key).expect("a request").pem().expect("PEM")
    }

    fn uri(text: &str) -> SanType {
        SanType::URI(text.try_into().expect("ASCII"))
    }

    #[test]
    fn only_the_key_of_a_request_counts_and_more_than_the_own_name_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let authority = Authority::create(dir.path(), "test.example", Arc::new(Now)).expect("an authority");
        let runner: RunnerName = "runnerPools/default/runners/r1".parse().expect("a name");
        let own = "spiffe://test.example/runnerPools/default/runners/r1";
        let day = Duration::from_secs(86_400);

        for good in [request(|_| ()), request(|params| params.subject_alt_names.push(uri(own)))] {
            let certificate = Issuer::issue(&authority, &good, &runner, day).expect("signed");
            assert_eq!(certificate.expire_time, Now.now().plus(day));
            assert_eq!(authority.key_digest(&good, &runner).expect("a key").len(), 64);
        }
        let issued = authority.list().expect("records");
        assert!(issued.iter().all(|record| record.spiffe_id == own), "{issued:?}");

        let forged = request(|_| ()).replacen("\nM", "\nN", 1);
        let bad = [
            request(|params| params.subject_alt_names.push(uri("spiffe://test.example/platform/admin"))),
            request(|params| {
                params.subject_alt_names.extend([uri(own), SanType::DnsName("x.example".try_into().expect("ASCII"))])
            }),
            request(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)),
            forged,
            "x".repeat(MOST + 1),
            String::new(),
        ];
        for (number, bad) in bad.iter().enumerate() {
            let refused = Issuer::issue(&authority, bad, &runner, day).expect_err("refused");
            assert_eq!(refused.reason(), Reason::FieldInvalid, "{number}: {refused:?}");
        }
        assert_eq!(authority.list().expect("records").len(), 2, "nothing else was signed");
    }
}
