//! An authority for one fake, and a certificate for this machine under it.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{
    ServerConfig,
    crypto::ring::default_provider,
    version::{TLS12, TLS13},
};
use rustls_pki_types::PrivateKeyDer;

/// What a server shows, and what its clients trust; in PEM, and ready to listen with.
pub(crate) struct Identity {
    pub ca: String,
    pub certificate: String,
    pub key: String,
    pub config: Arc<ServerConfig>,
}

pub(crate) fn identity() -> Identity {
    let ca_key = KeyPair::generate().expect("keys can be made");
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = ca.self_signed(&ca_key).expect("an authority signs itself");
    let issuer = Issuer::new(ca, ca_key);

    let key = KeyPair::generate().expect("keys can be made");
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned(), "vendor.example".to_owned()];
    let params = CertificateParams::new(names).expect("names are names");
    let certificate = params.signed_by(&key, &issuer).expect("an authority signs");

    let chain = vec![certificate.der().clone()];
    let private = PrivateKeyDer::try_from(key.serialize_der()).expect("a key is a key");
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .expect("ring speaks both")
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .expect("the key is that of the certificate");
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Identity { ca: authority.pem(), certificate: certificate.pem(), key: key.serialize_pem(), config: Arc::new(config) }
}
