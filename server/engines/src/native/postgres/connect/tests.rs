use std::{
    io::{Read, Write},
    net::TcpListener,
    process::Command,
    thread::JoinHandle as Thread,
};

use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer},
};
use serde_json::json;

use super::*;

/// A server that asks for a password and answers nothing but that the client is in. Gives what it was sent, after TLS.
fn listen(tls: Option<ServerConfig>) -> (SocketAddr, Thread<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it has one");
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a limit");
        stream.read_exact(&mut [0; 8]).expect("the question for TLS");
        stream.write_all(if tls.is_some() { b"S" } else { b"N" }).expect("an answer");
        let mut heard = Vec::new();
        let _ = match tls {
            None => greet(&mut stream, &mut heard),
            Some(config) => {
                let connection = ServerConnection::new(Arc::new(config)).expect("a good configuration");
                greet(&mut StreamOwned::new(connection, stream), &mut heard)
            }
        };
        heard
    });
    (address, thread)
}

fn greet(stream: &mut (impl Read + Write), heard: &mut Vec<u8>) -> io::Result<()> {
    hear(stream, heard, 0)?;
    stream.write_all(b"R\0\0\0\x08\0\0\0\x03")?; // a password in clear
    stream.flush()?;
    hear(stream, heard, 1)?;
    stream.write_all(b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I")?; // welcome, ready
    stream.flush()?;
    stream.read_to_end(heard).map(drop)
}

/// Reads one message: its type, if it has one, its length, its rest.
fn hear(stream: &mut impl Read, heard: &mut Vec<u8>, kind: usize) -> io::Result<()> {
    let mut head = vec![0; kind + 4];
    stream.read_exact(&mut head)?;
    let length = head[kind..].iter().fold(0, |length, byte| (length << 8) | usize::from(*byte));
    let mut rest = vec![0; length - 4];
    stream.read_exact(&mut rest)?;
    heard.extend_from_slice(&rest);
    Ok(())
}

/// All that a server was sent, once its client is gone.
async fn heard(thread: Thread<Vec<u8>>) -> String {
    let joined = tokio::task::spawn_blocking(|| thread.join()).await.expect("it ends");
    String::from_utf8_lossy(&joined.expect("it ends well")).into_owned()
}

fn servers() -> Servers {
    Servers(Arc::new(Policy::new(Vec::new(), true)))
}

fn attributes(url: String) -> Attributes {
    [("connection".to_owned(), json!(url))].into()
}

#[test]
fn a_connection_url_is_whole_names_no_files_and_is_never_told() {
    let full = parse("postgres://u:p%40ss@db.example:5433/app?sslmode=verify-full").expect("a URL");
    assert_eq!((full.get_host(), full.get_port(), full.get_database()), ("db.example", 5433, Some("app")));
    let short = parse("postgresql://u:@[::1]").expect("a URL");
    assert_eq!((short.get_host(), short.get_port(), short.get_database()), ("::1", 5432, Some("u")));
    for bad in [
        "mysql://u:s3cret@h/d",
        "host=h password=s3cret",
        "postgres://u:s3cret@h/d?sslkey=/etc/key",
        "postgres://u:s3cret@h/d?ssl%6Bey=/etc/key",
        "postgres://u:s3cret@h/d?hostaddr=10.0.0.1",
        "postgres://u:s3cret@h/d?host=[/tmp]",
        "postgres://u:s3cret@h:port/d",
        "postgres://:s3cret@h/d",
        "postgres:///d?user=u&password=s3cret",
        "postgres://u@h/s3cret",
    ] {
        let error = parse(bad).expect_err(bad);
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }
}

#[tokio::test]
async fn a_socket_needs_a_runner_that_may_reach_private_addresses_and_its_path_allowed() {
    let given = attributes("postgres://u:p@localhost/d?host=/nowhere".to_owned());
    for (allowed, allow_private, code) in [
        (vec![], false, "host-refused"),
        (vec!["localhost".to_owned()], true, "host-refused"),
        (vec!["/nowhere".to_owned()], true, "postgres-unreachable"),
        (vec![], true, "postgres-unreachable"),
    ] {
        let servers = Servers(Arc::new(Policy::new(allowed.clone(), allow_private)));
        let error = servers.connect(&given, None).await.err().expect("nobody is there");
        assert_eq!(error.code, code, "{allowed:?} {allow_private}: {error}");
    }
}

#[tokio::test]
async fn the_checked_address_is_connected_to_and_the_name_is_verified() {
    for (name, fits) in [("db.example", true), ("other.example", false)] {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate");
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![CertificateDer::from(made.cert.der().to_vec())], key)
            .expect("a pair");
        let (address, thread) = listen(Some(config));
        // No lookup finds this name: only the address that was given can be meant.
        let options = parse("postgres://me:mine@db.example/app?sslmode=verify-full").expect("a URL");
        let options = options.ssl_root_cert_from_pem(made.cert.pem().into_bytes());

        let session = through(&options, &[address]).await;

        assert_eq!(session.is_ok(), fits, "{name}");
        drop(session);
        let heard = heard(thread).await;
        assert_eq!(heard.contains("mine"), fits, "{heard:?}");
    }
}

/// Starts itself once more, with an environment that nothing may come from.
#[test]
fn nothing_of_the_runner_reaches_a_server() {
    const NAME: &str = "native::postgres::connect::tests::nothing_of_the_runner_reaches_a_server";
    const THEIRS: &str = "of-the-runner";
    if env::var("PGPASSWORD").as_deref() == Ok(THEIRS) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        return runtime.block_on(only_what_the_url_says(THEIRS));
    }
    let home = tempfile::tempdir().expect("a folder");
    let passwords = home.path().join(".pgpass");
    fs::write(&passwords, format!("*:*:*:*:{THEIRS}\n")).expect("a file");
    fs::set_permissions(&passwords, fs::Permissions::from_mode(0o600)).expect("its owner may");
    for refused in [None, Some("PGOPTIONS"), Some("PGSSLCERT")] {
        let mut again = Command::new(env::current_exe().expect("this program"));
        again.args(["--exact", NAME]).env("HOME", home.path()).env("PGPASSFILE", &passwords);
        for name in ["PGPASSWORD", "PGUSER", "PGDATABASE", "PGAPPNAME", "PGHOST", "PGHOSTADDR"].into_iter().chain(refused) {
            again.env(name, THEIRS);
        }
        let ended = again.env("PGPORT", "1").env("PGSSLMODE", "disable").output().expect("it runs");
        let told = String::from_utf8_lossy(&ended.stdout).into_owned();
        assert!(ended.status.success() && told.contains("1 passed"), "{refused:?}: {told}");
    }
}

async fn only_what_the_url_says(theirs: &str) {
    let (address, thread) = listen(None);
    for incomplete in [format!("postgres://me@{address}/app"), format!("postgres://:x@{address}/app"), "postgres://u:p@".into()] {
        let error = servers().connect(&attributes(incomplete), None).await.err().expect("it is refused");
        assert_eq!(error.code, "attribute-invalid", "{error}");
    }
    let opened = servers().connect(&attributes(format!("postgres://me:mine@{address}")), None).await;
    if REFUSED_VARIABLES.iter().any(|name| env::var_os(name).is_some()) {
        assert_eq!(opened.err().map(|error| error.code).as_deref(), Some("postgres-environment"));
        return;
    }
    drop(opened.expect("it is let in"));
    let heard = heard(thread).await;
    assert!(heard.contains("user\0me\0database\0me\0") && heard.contains("mine"), "{heard:?}");
    assert!(!heard.contains(theirs), "{heard:?}");
}
