//! `tls_certificate`: a certificate for a key, signed by itself or by a certificate authority (RFC 5280).

use std::{net::IpAddr, sync::Arc, time::Duration};

use freehold_domain::{
    runs::Reversibility,
    time::{Clock, Random, Timestamp},
};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, SerialNumber, date_time_ymd,
};
use serde_json::Value;

use super::{
    drawn::Drawn,
    file::hex,
    provider::{flag, optional, text, texts, whole},
    schema::{Attribute, Kind, Problem, Schema},
};
use crate::StepError;
use crate::native::Attributes;

/// How far a certificate reaches back, for clocks that are late.
const LATE_CLOCKS: Duration = Duration::from_secs(300);
/// Longest validity: ten years.
const MAX_HOURS: i64 = 87_660;
const SUBJECT: [(&str, DnType); 6] = [
    ("common_name", DnType::CommonName),
    ("organization", DnType::OrganizationName),
    ("organizational_unit", DnType::OrganizationalUnitName),
    ("locality", DnType::LocalityName),
    ("province", DnType::StateOrProvinceName),
    ("country", DnType::CountryName),
];

/// Signs certificates.
pub(crate) struct TlsCertificate {
    schema: Schema,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
}

impl TlsCertificate {
    pub fn new(clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        let pem = Kind::text(64 << 10);
        let subject = SUBJECT.iter().map(|(name, _)| Attribute::new(name, Kind::text(64))).collect();
        let attributes = vec![
            Attribute::new("private_key_pem", pem.clone()).required().sensitive().replaces(),
            Attribute::new("ca_cert_pem", pem.clone()).replaces(),
            Attribute::new("ca_key_pem", pem.clone()).sensitive().replaces(),
            Attribute::new("subject", Kind::Object(subject)).required().replaces(),
            Attribute::new("dns_names", Kind::list(Kind::text(253), 100)).replaces(),
            Attribute::new("ip_addresses", Kind::list(Kind::text(45), 100)).replaces(),
            Attribute::new("is_ca", Kind::Flag).default(false).replaces(),
            Attribute::new("validity_hours", Kind::Whole { min: 1, max: MAX_HOURS }).required().replaces(),
            Attribute::new("early_renewal_hours", Kind::Whole { min: 0, max: MAX_HOURS }).default(0),
            Attribute::computed("certificate_pem", pem),
            Attribute::computed("serial_number", Kind::text(40)),
            Attribute::computed("not_before", Kind::text(40)),
            Attribute::computed("not_after", Kind::text(40)),
        ];
        Self { schema: Schema { kind: "tls_certificate", attributes }, clock, random }
    }
}

impl Drawn for TlsCertificate {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn rules(&self, known: &Attributes, unknown: &[&str]) -> Vec<Problem> {
        let mut problems = Vec::new();
        let given = |name: &str| optional(known, name).is_some() || unknown.contains(&name);
        match (given("ca_cert_pem"), given("ca_key_pem")) {
            (true, false) => problems.push(Problem::rule("ca_key_pem", "must be given together with `ca_cert_pem`")),
            (false, true) => problems.push(Problem::rule("ca_cert_pem", "must be given together with `ca_key_pem`")),
            _ => {}
        }
        for (index, ip) in texts(known, "ip_addresses").iter().enumerate() {
            if ip.parse::<IpAddr>().is_err() {
                problems.push(Problem::rule(&format!("ip_addresses[{index}]"), "is not an IP address"));
            }
        }
        for (index, name) in texts(known, "dns_names").iter().enumerate() {
            if !is_dns_name(name) {
                problems.push(Problem::rule(&format!("dns_names[{index}]"), "is not a DNS name (RFC 1123; `*.` only in front)"));
            }
        }
        if known.contains_key("validity_hours") && whole(known, "early_renewal_hours") >= whole(known, "validity_hours") {
            problems
                .push(Problem::rule("early_renewal_hours", "must be less than `validity_hours`, or each plan would renew it"));
        }
        if let Some(country) = known.get("subject").and_then(|subject| subject.get("country")).and_then(Value::as_str)
            && country.len() != 2
        {
            problems.push(Problem::rule("subject.country", "must be two letters (ISO 3166)"));
        }
        problems
    }

    /// Another one of the same key for the same subject does the same; its serial number and its times are others.
    fn loss(&self) -> Reversibility {
        Reversibility::ReversibleWithDataLoss
    }

    fn renewal(&self, prior: &Attributes) -> Option<String> {
        let end: jiff::Timestamp = text(prior, "not_after").parse().ok()?;
        let early = Duration::from_secs(whole(prior, "early_renewal_hours").unsigned_abs() * 3600);
        let now = self.clock.now();
        let left = Timestamp::from_micros(end.as_microsecond()).since(now);
        (left <= early).then(|| {
            if left.is_zero() { "it has expired".to_owned() } else { format!("it expires at {end}, and is renewed early") }
        })
    }

    fn draw(&self, desired: &Attributes) -> Result<Attributes, StepError> {
        let key =
            KeyPair::from_pem(text(desired, "private_key_pem")).map_err(|_| unreadable("private_key_pem", "a private key"))?;
        let now = self.clock.now();
        let second = u64::try_from(now.as_micros() / 1_000_000).unwrap_or_default();
        let begin = second.saturating_sub(LATE_CLOCKS.as_secs());
        let end = second + whole(desired, "validity_hours").unsigned_abs() * 3600;
        let mut serial = [0; 16];
        self.random.fill(&mut serial);
        // A positive number without leading zeros takes the same 16 bytes in every encoder.
        serial[0] = (serial[0] & 0x7f) | 0x40;
        let params = params(desired, begin, end, &serial)?;
        let certificate = match optional(desired, "ca_cert_pem") {
            None => params.self_signed(&key),
            Some(pem) => {
                let ca_key =
                    KeyPair::from_pem(text(desired, "ca_key_pem")).map_err(|_| unreadable("ca_key_pem", "a private key"))?;
                let issuer = Issuer::from_ca_cert_pem(pem, ca_key).map_err(|_| unreadable("ca_cert_pem", "a certificate"))?;
                params.signed_by(&key, &issuer)
            }
        }
        .map_err(|error| {
            StepError::new("tls-certificate-failed", format!("the certificate could not be signed: {error}"))
                .hint("look at the names and keys it is made from")
        })?;
        Ok([
            ("certificate_pem".to_owned(), Value::String(certificate.pem())),
            ("serial_number".to_owned(), Value::String(hex(&serial))),
            ("not_before".to_owned(), Value::String(shown(begin))),
            ("not_after".to_owned(), Value::String(shown(end))),
        ]
        .into())
    }

    fn id(&self, drawn: &Attributes) -> String {
        text(drawn, "serial_number").to_owned()
    }
}

fn params(desired: &Attributes, begin: u64, end: u64, serial: &[u8]) -> Result<CertificateParams, StepError> {
    let epoch = date_time_ymd(1970, 1, 1);
    let mut params = CertificateParams::default();
    params.not_before = epoch + Duration::from_secs(begin);
    params.not_after = epoch + Duration::from_secs(end);
    params.serial_number = Some(SerialNumber::from_slice(serial));
    params.use_authority_key_identifier_extension = optional(desired, "ca_cert_pem").is_some();
    params.distinguished_name = DistinguishedName::new();
    for (name, kind) in SUBJECT {
        if let Some(value) = desired.get("subject").and_then(|subject| subject.get(name)).and_then(Value::as_str) {
            params.distinguished_name.push(kind, value);
        }
    }
    for name in texts(desired, "dns_names") {
        let name = name.try_into().map_err(|_| unreadable("dns_names", "a list of DNS names"))?;
        params.subject_alt_names.push(SanType::DnsName(name));
    }
    for ip in texts(desired, "ip_addresses") {
        params
            .subject_alt_names
            .push(SanType::IpAddress(ip.parse().map_err(|_| unreadable("ip_addresses", "a list of IP addresses"))?));
    }
    if flag(desired, "is_ca") {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    } else {
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    }
    Ok(params)
}

fn unreadable(attribute: &str, what: &str) -> StepError {
    StepError::new("attribute-invalid", format!("`{attribute}` is not {what} that can be read"))
        .hint("keys are PKCS#8 in PEM: ECDSA P-256, P-384 or Ed25519")
}

fn shown(second: u64) -> String {
    Timestamp::from_micros(i64::try_from(second).unwrap_or(i64::MAX / 1_000_000).saturating_mul(1_000_000)).to_string()
}

fn is_dns_name(name: &str) -> bool {
    let name = name.strip_prefix("*.").unwrap_or(name);
    !name.is_empty()
        && name.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
}
