//! `freehold-launch MODE BINARY FOLDER RECORD SCRIPT`: a runner's part in the life of a program. Starts it, says how it is confined,
//! and stays until it ends.

use std::{io::Write as _, path::PathBuf};

use freehold_engines::{Access, Launcher as _, Program};
use freehold_runner::sandbox::{Allowed, Egress, Limits, Mode, ORPHAN, Sandbox, SandboxSettings};

#[tokio::main]
async fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [mode, binary, folder, record, script] = &words[..] else { panic!("MODE BINARY FOLDER RECORD SCRIPT") };
    let settings = SandboxSettings {
        binary: PathBuf::from(binary),
        mode: if mode == "required" { Mode::Required } else { Mode::Preferred },
        limits: Limits::default(),
        egress: Egress { allowed: Allowed::None, private: false },
        orphan: ORPHAN,
    };
    let sandbox = match Sandbox::new(settings).await {
        Ok(sandbox) => sandbox,
        Err(error) => return println!("{}: {error}", error.code),
    };
    let program = Program {
        path: "/bin/sh".into(),
        arguments: vec!["-c".into(), script.into()],
        environment: [("PATH".to_owned(), "/usr/bin:/bin".into())].into(),
        directory: folder.clone().into(),
        folder: folder.into(),
        readable: Vec::new(),
        record: record.into(),
        disk: None,
        access: Access::Read,
    };
    let process = sandbox.launch(program).await.expect("a program");
    println!("started {}", process.confinement());
    std::io::stdout().flush().expect("somebody listens");
    println!("{:?}", process.ended().await);
}
