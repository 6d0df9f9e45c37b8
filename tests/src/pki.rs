//! A certificate authority for one test, and the certificates of everybody in it.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use freehold::Credentials;
use freehold_api::authority::{Authority, Profile, Usage};
use freehold_service::SystemClock;

/// Trust domain of test installations.
pub const TRUST_DOMAIN: &str = "freehold.test";

/// An authority in a folder.
pub struct Pki {
    dir: PathBuf,
    /// The authority itself, to issue and revoke with.
    pub authority: Authority,
}

impl Pki {
    /// A new authority.
    pub fn create(dir: &Path) -> Self {
        let authority = Authority::create(dir, TRUST_DOMAIN, Arc::new(SystemClock)).expect("an empty folder takes an authority");
        Self { dir: dir.to_owned(), authority }
    }

    /// Path of one of its files.
    pub fn path(&self, file: &str) -> PathBuf {
        self.dir.join(file)
    }

    /// Issues a certificate to a principal, for example `platform/admin`, or to `server/NAME`, in place of an earlier one of the
    /// same file name. Answers its serial number.
    pub fn issue(&self, file: &str, identity: &str) -> String {
        let server = identity.starts_with("server/");
        let profile = Profile {
            spiffe_id: format!("spiffe://{TRUST_DOMAIN}/{identity}").parse().expect("a SPIFFE id"),
            dns_names: if server { vec!["localhost".to_owned()] } else { Vec::new() },
            ips: if server { vec!["127.0.0.1".parse().expect("an address")] } else { Vec::new() },
            lifetime: Duration::from_secs(24 * 3600),
            usage: if server { Usage::Both } else { Usage::Client },
        };
        let issued = self.authority.issue(&profile).expect("the authority issues");
        issued.save(&self.path(&format!("{file}.crt")), &self.path(&format!("{file}.key"))).expect("the folder can be written");
        issued.serial
    }

    /// Credentials with the certificate of this file name.
    pub fn credentials(&self, file: &str) -> Credentials {
        self.trust().certificate_files(self.path(&format!("{file}.crt")), self.path(&format!("{file}.key")))
    }

    /// Credentials that trust the server and prove nothing.
    pub fn trust(&self) -> Credentials {
        Credentials::new().ca_file(self.path("ca.crt"))
    }
}
