//! Programs that mean harm, each in the sandbox that runners run engines' programs in: they end as their limit says or are
//! refused, nothing of them is left, and what is not theirs they do not see.
//!
//! What a machine does not let its user do cannot be shown there. Such a row says so by name, and shows what holds all the same.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use freehold_engines::{Access, Confinement, Exit, Launcher as _, Process, Program};
use freehold_runner::sandbox::{Allowed, Egress, Limits, Mode, ORPHAN, Sandbox, SandboxSettings};
use freehold_tests::{binary, eventually, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// A machine with a runner, a key of its own, and folders of runs.
struct Lab {
    dir: tempfile::TempDir,
    sandbox: Sandbox,
    /// In the arguments of whatever should not be left over.
    mark: String,
}

/// What a program said and how it ended.
#[derive(Debug)]
struct Ended {
    exit: Exit,
    out: String,
    err: String,
}

fn small() -> Limits {
    Limits {
        processes: 60,
        memory: 96 << 20,
        cpu_time: Duration::from_secs(60),
        time: Duration::from_secs(120),
        disk: 24 << 20,
        output: 1 << 20,
        open_files: 256,
    }
}

impl Lab {
    async fn new() -> Self {
        Self::with(small(), "none", ORPHAN).await
    }

    async fn with(limits: Limits, egress: &str, orphan: Duration) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let dir = tempfile::Builder::new().prefix("freehold-sandbox-").tempdir().expect("a temporary folder");
        let egress = Egress { allowed: egress.parse::<Allowed>().expect("rules"), private: true };
        let settings = SandboxSettings { binary: binary(), mode: Mode::Preferred, limits, egress, orphan };
        let sandbox = Sandbox::new(settings).await.expect("a sandbox, or at least limits");
        let mark = format!("{}.{}", 1_000_000 + std::process::id(), 1000 + COUNT.fetch_add(1, Ordering::Relaxed));
        fs::write(dir.path().join("runner.key"), "the key of the runner").expect("a key");
        fs::set_permissions(dir.path().join("runner.key"), fs::Permissions::from_mode(0o600)).expect("a mode");
        let lab = Self { dir, sandbox, mark };
        lab.folder("other");
        fs::write(lab.path("other/secret"), "the secret of another run").expect("a secret");
        lab
    }

    fn walls(&self) -> Confinement {
        self.sandbox.confinement()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn folder(&self, name: &str) -> PathBuf {
        let folder = self.path(name);
        fs::create_dir_all(&folder).expect("a folder");
        folder
    }

    fn program(&self, name: &str, script: &str) -> Program {
        Program {
            path: "/bin/bash".into(),
            arguments: vec!["-c".into(), script.replace("MARK", &self.mark).into()],
            environment: [("PATH".to_owned(), "/usr/bin:/bin".into()), ("GIVEN".to_owned(), "yes".into())].into(),
            directory: self.folder(name),
            folder: self.folder(name),
            readable: Vec::new(),
            record: self.path(&format!("{name}.record")),
            disk: None,
            access: Access::Read,
        }
    }

    async fn launch(&self, name: &str, script: &str) -> Box<dyn Process> {
        self.sandbox.launch(self.program(name, script)).await.unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Has a runner of its own process start it; this command is that of the runner.
    fn elsewhere(&self, mut command: Command, name: &str, script: &str) -> Child {
        command.arg("preferred").arg(binary()).args([self.folder(name), self.path(&format!("{name}.record"))]).arg(script);
        let mut runner = command.stdout(Stdio::piped()).spawn().expect("a runner");
        let mut line = String::new();
        BufReader::new(runner.stdout.take().expect("it says something")).read_line(&mut line).expect("a line");
        assert_eq!(line, format!("started {}\n", self.walls()));
        runner
    }

    async fn run(&self, name: &str, script: &str) -> Ended {
        let process = self.launch(name, script).await;
        let exit = tokio::time::timeout(Duration::from_secs(100), process.ended()).await;
        let exit = exit.unwrap_or_else(|_| panic!("{name} does not end"));
        self.nothing_left(name).await;
        Ended { exit, out: self.said(name, "stdout"), err: self.said(name, "stderr") }
    }

    fn said(&self, name: &str, stream: &str) -> String {
        let bytes = fs::read(self.path(&format!("{name}.record")).join(stream)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    async fn said_eventually(&self, name: &str, text: &str) {
        until(&format!("{name} says {text}"), || async { self.said(name, "stdout").contains(text) }).await;
    }

    /// No process of this lab's programs, and none that supervises them, is left on the machine.
    async fn nothing_left(&self, name: &str) {
        let record = self.path(&format!("{name}.record")).display().to_string();
        eventually(&format!("the end of everything that {name} started"), || {
            let left: Vec<_> =
                commands().into_iter().filter(|(_, line)| line.contains(&self.mark) || line.contains(&record)).collect();
            async move { if left.is_empty() { Ok(()) } else { Err(left) } }
        })
        .await;
    }
}

/// Process ids and command lines of everything on this machine.
fn commands() -> Vec<(u32, String)> {
    let processes = fs::read_dir("/proc").expect("processes").flatten();
    let command = |entry: fs::DirEntry| {
        let id = entry.file_name().to_str()?.parse().ok()?;
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        Some((id, String::from_utf8_lossy(&line).replace('\0', " ")))
    };
    processes.filter_map(command).collect()
}

/// Says what this machine does not let a row show.
fn not_here(row: &str, wall: &str) {
    eprintln!("NOT SHOWN HERE: {row}: this machine gives its user no {wall}");
}

fn limit(ended: &Ended, name: &str) {
    match &ended.exit {
        Exit::Limit(text) => {
            assert!(text.contains(&format!("`{name}`")) && text.contains(&format!("--limit {name}=")), "{text}");
            eprintln!("{text}");
        }
        other => panic!("{name}: {other:?}, {}", ended.err),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_that_take_too_much_end_by_the_limit_they_reach() {
    let lab = Lab::new().await;
    let walls = lab.walls();
    eprintln!("this machine confines by: {walls}");

    let bomb = lab.run("fork-bomb", "while :; do sleep MARK & done").await;
    if walls.processes_limited {
        limit(&bomb, "processes");
    } else {
        not_here("fork-bomb ends by its limit", "control group that counts processes");
        assert_ne!(bomb.exit, Exit::Code(0), "{bomb:?}");
    }

    let hungry = lab.run("hungry", "x=0123456789abcdef; while :; do x=$x$x; done").await;
    if walls.memory_limited {
        limit(&hungry, "memory");
    } else {
        not_here("hungry ends by its limit", "control group that counts memory");
        assert_ne!(hungry.exit, Exit::Code(0), "{hungry:?}");
    }

    limit(&lab.run("one-large-file", "dd if=/dev/zero of=large bs=1M").await, "disk");
    limit(&lab.run("many-files", "i=0; while :; do : > f$i; i=$((i+1)); done").await, "disk");
    if walls.mounts {
        limit(&lab.run("large-tmp", "dd if=/dev/zero of=/tmp/large bs=1M").await, "disk");
    } else {
        not_here("large-tmp", "mount namespace");
    }

    let loud = lab.run("loud", "yes").await;
    limit(&loud, "output");
    assert_eq!(loud.out.len(), 1 << 20, "what is kept is what the limit says");
    limit(&lab.run("loud-error", "yes >&2").await, "output");

    let brief = Lab::with(Limits { time: Duration::from_secs(2), ..small() }, "none", ORPHAN).await;
    limit(&brief.run("never-ends", "trap '' INT TERM; while :; do sleep 1; done").await, "time");
    let idle = Lab::with(Limits { cpu_time: Duration::from_secs(1), ..small() }, "none", ORPHAN).await;
    limit(&idle.run("busy", "while :; do :; done").await, "cpu-time");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_program_outlives_it_and_one_signal_is_one() {
    let lab = Lab::new().await;

    let left = lab.run("grandchild", "setsid sh -c 'sleep MARK & setsid sleep MARK' & echo started; sleep 0.3; exit 3").await;
    assert_eq!((left.exit, left.out.as_str()), (Exit::Code(3), "started\n"));

    let process = lab.launch("killed", "trap '' INT TERM HUP; setsid sh -c 'sleep MARK' & echo up; sleep MARK").await;
    lab.said_eventually("killed", "up").await;
    process.kill();
    assert_eq!(process.ended().await, Exit::Signal(9));
    lab.nothing_left("killed").await;

    // Its children get none: they would say so. Dash, which may be `sh`, loses signals that come while it starts something.
    let script = "exec bash <<'END'
                  bash -c 'trap \"echo child\" INT; echo child ready; for i in {1..20}; do sleep 0.1; done' &
                  n=0; trap 'n=$((n+1))' INT; echo waits; while [ $n = 0 ]; do sleep 0.05; done; for i in {1..20}; do sleep 0.1; done; wait; exit $n
END";
    let process = lab.launch("asked", script).await;
    lab.said_eventually("asked", "waits").await;
    process.interrupt();
    process.interrupt();
    let again = lab.sandbox.adopt(lab.path("asked.record")).await.expect("it runs");
    again.interrupt();
    assert_eq!(process.ended().await, Exit::Code(1), "{}", lab.said("asked", "stdout"));
    assert!(!lab.said("asked", "stdout").contains("child\n"));
    assert_eq!(again.ended().await, Exit::Code(1), "whoever asks later learns the same");

    assert!(lab.sandbox.adopt(lab.path("never.record")).await.is_none());
    let twice = lab.sandbox.launch(lab.program("asked", "echo twice")).await.err().expect("refused");
    assert!(twice.code == "launch-failed" && twice.message.contains("adopt"), "{twice}");
    let missing = Program { path: "/bin/no-such-program".into(), ..lab.program("missing", "") };
    let missing = lab.sandbox.launch(missing).await.err().expect("refused");
    assert!(missing.code == "launch-failed" && missing.message.contains("/bin/no-such-program"), "{missing}");
    lab.run("missing", "true").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_was_made_ready_runs_when_it_is_told_to_or_never() {
    let lab = Lab::new().await;
    let first = lab.launch("shared", "echo up; while ! test -e go; do sleep 0.05; done; echo first > written").await;
    lab.said_eventually("shared", "up").await;
    let second = Program { record: lab.path("second.record"), ..lab.program("shared", "cat written; echo second > written") };
    let second = lab.sandbox.prepare(second).await.expect("it can be made ready");
    // Whose folder it is changes when the program starts, and not before.
    fs::write(lab.path("shared/go"), "").expect("a word");
    assert_eq!(first.ended().await, Exit::Code(0), "{}", lab.said("shared", "stderr"));
    assert_eq!(lab.said("second", "stdout"), "");
    assert_eq!(second.start().await.expect("it starts").ended().await, Exit::Code(0), "{}", lab.said("second", "stderr"));
    assert_eq!(lab.said("second", "stdout"), "first\n");
    lab.nothing_left("second").await;

    let ready = async |name: &str| lab.sandbox.prepare(lab.program(name, "touch ran")).await.expect("it can be made ready");
    ready("cancelled").await.cancel().await;
    // As by a runner that dies.
    drop(ready("dropped").await);
    for name in ["cancelled", "dropped"] {
        lab.nothing_left(name).await;
        let record = lab.path(&format!("{name}.record"));
        assert!(lab.sandbox.adopt(record).await.is_none(), "{name}");
        assert!(!lab.path(name).join("ran").exists(), "{name}");
        assert_eq!(lab.run(name, "exit 4").await.exit, Exit::Code(4), "its record is free again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_sees_its_folder_and_nothing_of_the_runner() {
    let lab = Lab::new().await;
    let outside = lab.path("outside");
    let here = std::process::id();

    assert!(std::env::vars().any(|(name, _)| name.starts_with("CARGO")), "there is something to inherit");
    let environment = lab.run("environment", "env").await;
    assert!(environment.out.contains("GIVEN=yes") && !environment.out.contains("CARGO"), "{environment:?}");

    let written =
        lab.run("writes", &format!("echo x > inside; echo x > {}; echo x > /usr/evil; echo done", outside.display())).await;
    assert_eq!(written.out, "done\n", "{written:?}");
    assert!(lab.path("writes/inside").exists() && !Path::new("/usr/evil").exists(), "{written:?}");

    let powers = lab.run("powers", "grep -E '^(CapEff|CapPrm|CapBnd|NoNewPrivs)' /proc/self/status").await;
    let reads = format!(
        "cat {}; cat {}; cat /proc/{here}/environ; kill -9 {here}; echo done",
        lab.path("runner.key").display(),
        lab.path("other/secret").display()
    );
    if !lab.walls().isolates() {
        not_here("powers, keys, other runs, the runner itself", "user, mount and process namespaces");
        return;
    }
    assert!(!outside.exists(), "{written:?}");
    let none = "0000000000000000";
    assert_eq!(powers.out, format!("CapPrm:\t{none}\nCapEff:\t{none}\nCapBnd:\t{none}\nNoNewPrivs:\t1\n"));

    let read = lab.run("reads", &reads).await;
    assert_eq!(read.out, "done\n", "{read:?}");
    let places = lab
        .run(
            "places",
            "ls -d /home /root /run /var /sys /boot; ls /proc | grep -c '^[0-9]'; ls /tmp | grep -v freehold; echo done",
        )
        .await;
    let (processes, done) = places.out.split_once('\n').expect("two lines");
    assert!(done == "done\n" && processes.parse::<u32>().is_ok_and(|count| count < 6), "it sees only its own: {places:?}");
    let tries = "mount -t tmpfs none /mnt; mount -o remount,rw /usr; unshare -U true && echo unshared;
                 chroot / true && echo chrooted; echo 1 > /proc/sys/kernel/panic; : < /proc/1/mem; echo done";
    let tried = lab.run("tries", tries).await;
    assert_eq!(tried.out, "done\n", "{tried:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_only_way_out_is_where_the_runner_allows_it() {
    let service = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = service.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = service.accept().await {
            let _ = client.read(&mut [0; 4096]).await;
            let _ = client.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nreached").await;
        }
    });
    let direct = |host: &str, port: u16| {
        format!("(exec 3<>/dev/tcp/{host}/{port} && printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3 && cat <&3); echo; ")
    };
    let by_proxy = |url: &str| {
        format!(
            "exec 3<>/dev/tcp/127.0.0.1/${{HTTP_PROXY##*:}} && printf 'GET {url} HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n' >&3 && cat <&3; echo;"
        )
    };
    let tunnel = |target: &str| {
        format!(
            "exec 3<>/dev/tcp/127.0.0.1/${{HTTPS_PROXY##*:}} && printf 'CONNECT {target} HTTP/1.1\\r\\n\\r\\nGET / HTTP/1.0\\r\\n\\r\\n' >&3 && cat <&3; echo;"
        )
    };

    let open = Lab::with(small(), "all", ORPHAN).await;
    if !open.walls().network {
        not_here("the way out", "network namespace; what programs connect to is not limited, and runs say so");
        return;
    }
    let out = open.run("direct", &(direct("127.0.0.1", port) + &direct("169.254.169.254", 80))).await;
    assert_eq!(out.out.trim(), "", "nothing is there but the way out: {out:?}");
    let out =
        open.run("allowed", &(by_proxy(&format!("http://127.0.0.1:{port}/x")) + &tunnel(&format!("localhost:{port}")))).await;
    assert_eq!(out.out.matches("reached").count(), 2, "{out:?}");
    let metadata = by_proxy("http://169.254.169.254/latest/meta-data/") + &tunnel("169.254.169.254:80") + &tunnel("[fe80::1]:80");
    let out = open.run("metadata", &metadata).await;
    assert_eq!(out.out.matches("403 Forbidden").count(), 3, "{out:?}");

    let local = Lab::with(small(), &format!("registry.example:443,127.0.0.1:{port}"), ORPHAN).await;
    let out = local.run("local", &(direct("127.0.0.1", port) + &direct("127.0.0.1", port.wrapping_add(1)))).await;
    assert_eq!(out.out.matches("reached").count(), 1, "a port of this machine is there as nothing else is: {out:?}");

    let listed = Lab::with(small(), "registry.example:443", ORPHAN).await;
    let out = listed.run("unlisted", &(by_proxy(&format!("http://127.0.0.1:{port}/x")) + &tunnel("elsewhere.example:443"))).await;
    assert_eq!(out.out.matches("403 Forbidden").count(), 2, "{out:?}");
    let closed = Lab::new().await;
    let out = closed.run("closed", &by_proxy(&format!("http://127.0.0.1:{port}/x"))).await;
    assert!(out.out.contains("403 Forbidden") && out.out.contains("connect to nothing"), "{out:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_outlives_its_runner_and_is_found_again_or_ends_when_nobody_claims_it() {
    let lab = Lab::new().await;
    let script = "echo up; while ! test -e go; do sleep 0.1; done; echo went on; exit 5";
    let mut runner = lab.elsewhere(Command::new(env!("CARGO_BIN_EXE_freehold-launch")), "long", script);
    lab.said_eventually("long", "up").await;
    runner.kill().expect("kill -9");
    runner.wait().expect("it is gone");

    let found = lab.sandbox.adopt(lab.path("long.record")).await.expect("it runs on");
    assert_eq!(found.confinement(), lab.walls());
    fs::write(lab.path("long/go"), "").expect("a word");
    assert_eq!(found.ended().await, Exit::Code(5));
    assert_eq!(lab.said("long", "stdout"), "up\nwent on\n");
    lab.nothing_left("long").await;
    let later = lab.sandbox.adopt(lab.path("long.record")).await.expect("there was one");
    assert_eq!(later.ended().await, Exit::Code(5));

    let forgetful = Lab::with(small(), "none", Duration::from_secs(2)).await;
    let claimed = forgetful.launch("claimed", "sleep 4; exit 6").await;
    let ended = async {
        loop {
            claimed.claim();
            if let Ok(exit) = tokio::time::timeout(Duration::from_millis(200), claimed.ended()).await {
                break exit;
            }
        }
    };
    assert_eq!(ended.await, Exit::Code(6), "who is claimed goes on");
    drop(forgetful.launch("forgotten", "trap '' INT; sleep MARK & wait; sleep MARK").await);
    forgetful.nothing_left("forgotten").await;
    let found = forgetful.sandbox.adopt(forgetful.path("forgotten.record")).await.expect("there was one");
    let exit = found.ended().await;
    assert!(matches!(&exit, Exit::Limit(text) if text.contains("no runner claimed it")), "{exit:?}");
}

/// Shells have it ignored by what they start in the background, and whoever has a signal ignored leaves that to what it starts.
#[tokio::test(flavor = "multi_thread")]
async fn a_program_heeds_a_signal_that_is_ignored_where_its_runner_was_started() {
    let lab = Lab::new().await;
    let mut background = Command::new("/bin/sh");
    background.args(["-c", "trap '' INT; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_freehold-launch")]);
    let heedful = "exec bash -c 'trap \"exit 7\" INT; echo up; while :; do sleep 0.1; done'";
    let mut runner = lab.elsewhere(background, "heedful", heedful);
    lab.said_eventually("heedful", "up").await;
    runner.kill().expect("kill -9");
    runner.wait().expect("it is gone");
    let process = lab.sandbox.adopt(lab.path("heedful.record")).await.expect("it runs");
    process.interrupt();
    let exit = tokio::time::timeout(Duration::from_secs(20), process.ended()).await;
    process.kill();
    assert_eq!(exit, Ok(Exit::Code(7)));
    lab.nothing_left("heedful").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_supervisor_a_program_is_gone_and_nobody_knows_how_it_ended() {
    let lab = Lab::new().await;
    let process = lab.launch("lost", "echo up; setsid sleep MARK & sleep MARK").await;
    lab.said_eventually("lost", "up").await;
    let record = lab.path("lost.record").display().to_string();
    let supervisor = commands().into_iter().find(|(_, line)| line.contains("supervise") && line.contains(&record));
    let (id, _) = supervisor.expect("a supervisor");
    assert!(Command::new("kill").args(["-9", &id.to_string()]).status().expect("kill").success());
    assert_eq!(process.ended().await, Exit::Unknown);
    if lab.walls().pids {
        lab.nothing_left("lost").await;
    } else {
        not_here("everything ends with the supervisor", "process namespace");
    }
}

/// Inside of a sandbox there are no namespaces to be had: the machine of the poorest runner.
#[tokio::test(flavor = "multi_thread")]
async fn a_machine_without_namespaces_is_refused_or_told_of() {
    let lab = Lab::with(Limits { memory: 1 << 30, disk: 1 << 30, ..small() }, "none", ORPHAN).await;
    if !lab.walls().isolates() {
        return not_here("a runner on a poorer machine", "user namespace");
    }
    let launch = PathBuf::from(env!("CARGO_BIN_EXE_freehold-launch"));
    let script = format!(
        "mkdir $PWD/f; for mode in required preferred; do {} $mode {} $PWD/f $PWD/$mode 'echo inside; exit 4'; cat $PWD/$mode/stdout; done",
        launch.display(),
        binary().display()
    );
    let program = Program { readable: vec![launch, binary()], ..lab.program("poor", &script) };
    let process = lab.sandbox.launch(program).await.expect("a program");
    assert_eq!(process.ended().await, Exit::Code(0), "{}", lab.said("poor", "stderr"));
    let out = lab.said("poor", "stdout");
    let (required, preferred) = out.split_once("started ").expect("one starts");
    assert!(required.starts_with("launch-failed: ") && required.contains("does not let the runner make namespaces"), "{out}");
    assert_eq!(preferred, "none\nCode(4)\ninside\n", "{out}");
}
