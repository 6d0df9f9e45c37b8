//! A server of OpenBao with TLS, and its administrator.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as URL_SAFE_NO_PAD};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use serde_json::{Value, json};
use tokio::net::TcpSocket;

use crate::{Process, eventually, tools::openbao};

/// The token of its administrator.
const ROOT: &str = "root-of-a-test";

/// The server. It keeps everything in memory, and has version 2 of the key-value engine at `secret`.
pub struct OpenBao {
    /// Where it is.
    pub address: SocketAddr,
    /// The process.
    pub process: Process,
    dir: PathBuf,
    _reserved: TcpSocket,
}

impl OpenBao {
    /// Starts one with its files in this folder, with roles and with version 1 of the key-value engine at `old` as well.
    pub async fn start(dir: &Path) -> Self {
        fs::create_dir_all(dir).expect("the folder can be made");
        // Beside a socket that does not listen, one that does can be bound (`SO_REUSEADDR`, socket(7)).
        let reserved = TcpSocket::new_v4().expect("a socket");
        reserved.set_reuseaddr(true).expect("an option");
        reserved.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a free port");
        let address = reserved.local_addr().expect("an address");
        let mut command = Command::new(openbao());
        command.args(["server", "-dev", "-dev-tls", "-dev-no-store-token"]);
        command.arg(format!("-dev-tls-cert-dir={}", dir.display())).arg(format!("-dev-listen-address={address}"));
        command.arg(format!("-dev-root-token-id={ROOT}")).env("HOME", dir);
        let mut process = Process::start(command, &dir.join("log"));
        eventually("OpenBao", || {
            let (said, ended) = (process.said(), process.ended());
            async move {
                assert!(ended.is_none(), "it ended: {said}");
                if said.contains("Root Token:") { Ok(()) } else { Err(said) }
            }
        })
        .await;
        let bao = Self { address, process, dir: dir.to_owned(), _reserved: reserved };
        bao.run(&["auth", "enable", "approle"]);
        bao.run(&["secrets", "enable", "-path=old", "-version=1", "kv"]);
        bao
    }

    /// Where it is, as a store says it.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// The authority to trust.
    pub fn ca(&self) -> PathBuf {
        self.dir.join("vault-ca.pem")
    }

    /// Has its administrator do this by its own program; answers what that prints.
    ///
    /// # Panics
    /// When it cannot be done.
    pub fn run(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(openbao());
        command.args(arguments).env("BAO_ADDR", self.url()).env("BAO_CACERT", self.ca()).env("BAO_TOKEN", ROOT);
        let output = command.env("HOME", &self.dir).output().expect("the program starts");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {errors}");
        String::from_utf8(output.stdout).expect("text")
    }

    /// Writes a new version of a secret with one key.
    pub fn put(&self, path: &str, key: &str, value: &str) {
        self.run(&["kv", "put", "-mount=secret", path, &format!("{key}={value}")]);
    }

    /// Makes a role that may read below these paths of the API; answers its id, and a file with its secret id.
    pub fn role(&self, name: &str, paths: &[&str]) -> (String, PathBuf) {
        let rules: String = paths.iter().map(|path| format!("path \"{path}\" {{ capabilities = [\"read\"] }}\n")).collect();
        let policy = self.dir.join(format!("{name}.hcl"));
        fs::write(&policy, rules).expect("the folder can be written");
        self.run(&["policy", "write", name, &policy.display().to_string()]);
        self.run(&["write", &format!("auth/approle/role/{name}"), &format!("token_policies={name}"), "token_ttl=10m"]);
        let field = |answer: &str, field: &str| {
            let answer: Value = serde_json::from_str(answer).expect("JSON");
            answer["data"][field].as_str().expect("a text").to_owned()
        };
        let role = self.run(&["read", "-format=json", &format!("auth/approle/role/{name}/role-id")]);
        let secret = self.run(&["write", "-f", "-format=json", &format!("auth/approle/role/{name}/secret-id")]);
        let file = self.dir.join(format!("{name}.secret-id"));
        fs::write(&file, field(&secret, "secret_id")).expect("the folder can be written");
        (field(&role, "role_id"), file)
    }

    /// A file with a token that has this policy.
    pub fn token(&self, policy: &str) -> PathBuf {
        let token = self.run(&["token", "create", &format!("-policy={policy}"), "-field=token"]);
        let file = self.dir.join(format!("{policy}.token"));
        fs::write(&file, token).expect("the folder can be written");
        file
    }

    /// Lets in as this role, with the policy of the same name, whoever has a certificate of this authority.
    pub fn trust_certificates(&self, role: &str, authority: &Path) {
        self.run(&["auth", "enable", "cert"]);
        let (certificate, policy) = (format!("certificate=@{}", authority.display()), format!("token_policies={role}"));
        self.run(&["write", &format!("auth/cert/certs/{role}"), &certificate, &policy]);
    }

    /// Lets in as this role, with the policy of the same name, whoever has a JWT of an issuer of its own; answers a file with one.
    pub fn trust_jwt(&self, role: &str) -> PathBuf {
        let key = rcgen::KeyPair::generate().expect("a key");
        let public = self.dir.join("jwt.pem");
        fs::write(&public, key.public_key_pem()).expect("the folder can be written");
        self.run(&["auth", "enable", "jwt"]);
        self.run(&["write", "auth/jwt/config", &format!("jwt_validation_pubkeys=@{}", public.display())]);
        let policy = format!("token_policies={role}");
        let path = format!("auth/jwt/role/{role}");
        self.run(&["write", &path, "role_type=jwt", "user_claim=sub", "bound_subject=runner", &policy]);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_secs();
        let claims = json!({ "sub": "runner", "iat": now, "exp": now + 3600 });
        let part = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let signed = format!("{}.{}", part(&json!({ "alg": "ES256", "typ": "JWT" })), part(&claims));
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &key.serialize_der(), &random).expect("a key");
        let signature = key.sign(&random, signed.as_bytes()).expect("a signature");
        let file = self.dir.join(format!("{role}.jwt"));
        fs::write(&file, format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))).expect("the folder can be written");
        file
    }

    /// Tokens that live, but for that of the administrator.
    pub fn tokens(&self) -> usize {
        let listed = self.run(&["list", "-format=json", "auth/token/accessors"]);
        serde_json::from_str::<Vec<String>>(&listed).expect("a list").len() - 1
    }
}
