//! A real relay, `aiosmtpd`, with a script of refusals.

use std::{
    env, fs,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    sync::watch,
};

use crate::tls;

const SCRIPT: &str = include_str!("smtp.py");

/// A relay on free ports. It takes mail of `ada`, whose password is `correct horse`, and only in secret. How it fails is decided by
/// who is written to (`later@`, `nobody@`, `blocked@`, `grey@`, `shut@`) and by a word in the subject (`[full]`, `[refused]`, `[broken]`,
/// `[cut]`, `[slow]`; only for the first mail of that subject `[once]`, `[closing once]`, `[short once]`, `[cut once]`).
pub struct RealSmtp {
    /// Where a connection begins in the open.
    pub starttls_port: u16,
    /// Where it is secret from its beginning.
    pub implicit_port: u16,
    /// The authority to trust, in PEM.
    pub ca: String,
    mails: Arc<Mutex<Vec<Value>>>,
    count: watch::Receiver<usize>,
    _child: Child,
    _folder: TempDir,
}

impl RealSmtp {
    /// Starts it.
    ///
    /// # Panics
    /// When there is no Python with `aiosmtpd`, with how to get it.
    pub async fn start() -> Self {
        let identity = tls::identity();
        let folder = TempDir::new().expect("there is a place for files");
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).expect("a file can be written");
            path
        };
        let (script, certificate, key) =
            (file("smtp.py", SCRIPT), file("relay.crt", &identity.certificate), file("relay.key", &identity.key));
        let mut command = Command::new(python().await);
        command.arg(script).args([certificate, key]).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("Python starts");
        let mut lines = BufReader::new(child.stdout.take().expect("it was asked for")).lines();
        let first =
            lines.next_line().await.expect("it says something").expect("the relay says its ports; see above why it does not");
        let ports: Vec<u16> = serde_json::from_str(&first).expect("ports are numbers");
        let mails: Arc<Mutex<Vec<Value>>> = Arc::default();
        let (told, count) = watch::channel(0);
        let kept = Arc::clone(&mails);
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.push(serde_json::from_str(&line).unwrap_or_default());
                told.send_replace(kept.len());
            }
        });
        let [starttls_port, implicit_port] = ports[..] else { panic!("two ports, and not {first}") };
        Self { starttls_port, implicit_port, ca: identity.ca, mails, count, _child: child, _folder: folder }
    }

    /// The mails that came, once there are so many: `from`, `to`, `content` in base64, `secret`, `login`.
    pub async fn mails(&self, count: usize) -> Vec<Value> {
        let mut came = self.count.clone();
        came.wait_for(|there| *there >= count).await.expect("the relay lives");
        self.mails.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A Python that has `aiosmtpd`: the one of the system may have it where the first on the PATH does not.
async fn python() -> String {
    let given = env::var("FREEHOLD_PYTHON").ok();
    for python in given.into_iter().chain(["python3".to_owned(), "/usr/bin/python3".to_owned()]) {
        let asked =
            Command::new(&python).args(["-m", "aiosmtpd", "--version"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        if asked.await.is_ok_and(|status| status.success()) {
            return python;
        }
    }
    panic!(
        "there is no Python with aiosmtpd: install the package `python3-aiosmtpd` (Debian, Ubuntu) or run `pip install aiosmtpd`, \
         or set FREEHOLD_PYTHON to a python3 that has it"
    );
}
