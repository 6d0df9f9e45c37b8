//! The process that a runner starts for each program, and that outlives it: it makes the sandbox, keeps what the program says,
//! watches its limits, ends it when it is told to or when nobody claims it, and writes down how it ended.

use std::{
    fs::{self, File, Permissions, TryLockError},
    io::{self, BufRead, Write as _},
    os::{
        fd::OwnedFd,
        unix::{fs::PermissionsExt as _, net::UnixStream},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use freehold_domain::fault;
use freehold_engines::Exit;
use rustix::{
    fs::{Mode as FileMode, statvfs},
    process::{setsid, umask},
    stdio::dup2_stdout,
};
use tokio::{
    io::AsyncReadExt as _,
    net::unix::pipe,
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{MissedTickBehavior, interval, timeout},
};

use super::{
    cgroup::Cgroup,
    disk, egress,
    limits::{Limits, reached, size},
    order::{Order, START, Said, Started, Tell, send},
    record::Record,
    start::{Inside, prepare},
};

/// Between two looks at what the runner wants and what the program takes.
const LOOK: Duration = Duration::from_millis(100);
/// For a program that nobody claims, between being asked to end and being ended.
const GRACE: Duration = Duration::from_secs(60);
/// For the last bytes of output, once every process that is known is gone.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// A program is ended when the disk of its folder has less room than this, whoever took it.
const ROOM: u64 = 256 << 20;
/// Numbers of signals, the same on all machines that Linux runs on today.
const KILL: i32 = 9;
const XCPU: i32 = 24;
const XFSZ: i32 = 25;

/// Supervises the program of the order on the standard input, from its start to its end.
pub(super) fn supervise() -> io::Result<()> {
    // It does not end with the terminal or the process group of its runner.
    let _ = setsid();
    umask(FileMode::from_raw_mode(0o077));
    let (mut input, mut order) = (io::stdin().lock(), String::new());
    input.read_line(&mut order)?;
    let order: Order = serde_json::from_str(&order)?;
    let record = Record::new(&order.record);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // A signal that is handled here has its usual effect on what is started from here, also where whoever started the runner has
    // it ignored, as shells do for what they start in the background.
    let asked = {
        let _context = runtime.enter();
        Asked { term: signal(SignalKind::terminate())?, int: signal(SignalKind::interrupt())? }
    };
    let (answer, supervised) = match begin(order, &record, input) {
        Ok(supervised) => (Started::Yes(supervised.inside.confinement), Some(supervised)),
        Err(why) => (Started::No(why), None),
    };
    let mut out = io::stdout();
    // A runner that died meanwhile finds the answer in the record.
    let _ = out.write_all(&serde_json::to_vec(&answer)?).and_then(|()| out.flush());
    dup2_stdout(File::options().write(true).open("/dev/null")?)?;
    let Some(supervised) = supervised else { return Ok(()) };
    runtime.block_on(supervised.run(record, asked))
}

/// Signals that ask this process to end, as when the machine goes down.
struct Asked {
    term: Signal,
    int: Signal,
}

/// A program that runs.
struct Supervised {
    order: Order,
    inside: Inside,
    cgroup: Cgroup,
    /// Held as long as this process lives, which is how others see that it does.
    _lock: File,
}

/// Takes the record, makes everything ready, and starts the program when the runner says so.
fn begin(order: Order, record: &Record, runner: impl BufRead) -> Result<Supervised, String> {
    let unusable = |error: io::Error| format!("the record {} cannot be used: {error}", order.record.display());
    fs::create_dir_all(&order.record).map_err(unusable)?;
    fs::set_permissions(&order.record, Permissions::from_mode(0o700)).map_err(unusable)?;
    let lock = record.lock_file().map_err(unusable)?;
    match lock.try_lock() {
        Ok(()) if record.is_used() => return Err("a program was started with this record before; adopt it".to_owned()),
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err("a program runs with this record; adopt it".to_owned()),
        Err(TryLockError::Error(error)) => return Err(unusable(error)),
    }
    let cgroup = Cgroup::create(&order.limits);
    let begun = || {
        for dir in ["root", "tmp"] {
            fs::create_dir_all(record.path(dir)).map_err(unusable)?;
        }
        let (mut inside, orders) = prepare(&order, &cgroup)?;
        if !is_told_to_start(runner) {
            return Err("the runner does not want it any more".to_owned());
        }
        inside.run(orders)?;
        record.write_supervisor(&inside.confinement, order.durable).map_err(unusable)?;
        Ok(inside)
    };
    match begun() {
        Ok(inside) => Ok(Supervised { order, inside, cgroup, _lock: lock }),
        Err(why) => {
            cgroup.remove();
            record.clear();
            Err(why)
        }
    }
}

/// Waits for the word of the runner; one that has ended says nothing.
fn is_told_to_start(mut runner: impl BufRead) -> bool {
    let mut word = String::new();
    runner.read_line(&mut word).is_ok() && word == START
}

impl Supervised {
    /// Watches the program to its end, and writes that down.
    async fn run(self, record: Record, asked: Asked) -> io::Result<()> {
        let Self { order, inside, cgroup, _lock } = self;
        let Inside { outermost, socket, mut receiver, output: [out, err], way_out, loopback, .. } = inside;
        let (told, words) = mpsc::channel(8);
        thread::spawn(move || while receiver.next().is_ok_and(|word| told.blocking_send(word).is_ok()) {});
        let listener = |listener: std::net::TcpListener| {
            listener.set_nonblocking(true)?;
            tokio::net::TcpListener::from_std(listener)
        };
        if let Some(way_out) = way_out {
            tokio::spawn(egress::serve(listener(way_out)?, order.egress.clone()));
        }
        for (address, inside) in loopback {
            tokio::spawn(egress::relay(listener(inside)?, address));
        }
        let output = watch::Sender::new(0);
        let mut copies = Vec::new();
        for (pipe, name) in [(out, "stdout"), (err, "stderr")] {
            copies.push(copy(pipe, File::create(record.path(name))?, output.clone(), &order)?);
        }
        let mut watcher = Watcher {
            record: &record,
            order: &order,
            cgroup: &cgroup,
            socket: &socket,
            began: Instant::now(),
            claimed: (record.claimed(), Instant::now()),
            measure_disk_at: Instant::now(),
            interrupted: false,
            overdue: None,
            limit: None,
            ended: None,
        };
        watcher.watch(words, output.subscribe(), asked).await?;

        drop(outermost);
        // What the first process did not take with it.
        cgroup.kill();
        for mut copy in copies {
            // Somebody outside of every group may still hold the pipe; what it says is no output of this program.
            let _ = timeout(LAST_WORDS, &mut copy).await;
            copy.abort();
        }
        let exit = watcher.exit();
        cgroup.remove();
        for dir in ["root", "tmp"] {
            let _ = fs::remove_dir_all(record.path(dir));
        }
        record.write_exit(&exit, order.durable)
    }
}

/// Keeps what comes out of a pipe, up to the limit of all output together.
fn copy(
    pipe: io::PipeReader,
    mut file: File,
    output: watch::Sender<u64>,
    order: &Order,
) -> io::Result<JoinHandle<io::Result<()>>> {
    let mut pipe = pipe::Receiver::from_owned_fd(OwnedFd::from(pipe))?;
    let (most, durable) = (order.limits.output, order.durable);
    Ok(tokio::spawn(async move {
        let mut buffer = vec![0; 64 << 10];
        loop {
            let length = pipe.read(&mut buffer).await?;
            let room = most.saturating_sub(*output.borrow());
            let kept = length.min(usize::try_from(room).unwrap_or(usize::MAX));
            // This process has nothing else to do that could not wait for the disk, and a thread for each piece would take longer.
            file.write_all(&buffer[..kept])?;
            output.send_modify(|bytes| *bytes += length as u64);
            if length == 0 || kept < length {
                return if durable { file.sync_all() } else { Ok(()) };
            }
        }
    }))
}

/// Looks after a program that runs.
struct Watcher<'a> {
    record: &'a Record,
    order: &'a Order,
    cgroup: &'a Cgroup,
    socket: &'a UnixStream,
    began: Instant,
    /// The last claim, and when this process saw it: clocks of machines jump, this one does not.
    claimed: (Option<SystemTime>, Instant),
    measure_disk_at: Instant,
    interrupted: bool,
    /// The time for which it was asked to end.
    overdue: Option<String>,
    /// The limit that was reached.
    limit: Option<String>,
    ended: Option<Exit>,
}

impl Watcher<'_> {
    /// Until everything inside is gone.
    async fn watch(
        &mut self,
        mut words: mpsc::Receiver<Said>,
        mut output: watch::Receiver<u64>,
        mut asked: Asked,
    ) -> io::Result<()> {
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let most = self.order.limits.output;
        loop {
            tokio::select! {
                word = words.recv() => match word {
                    Some(Said::Code(code)) => self.ended = Some(Exit::Code(code)),
                    Some(Said::Signal(signal)) => self.ended = Some(Exit::Signal(signal)),
                    Some(_) => {}
                    None => return Ok(()),
                },
                Ok(_) = output.wait_for(|bytes| *bytes > most), if self.limit.is_none() => {
                    self.end(reached("output", size(most), "it wrote more to standard output and standard error"));
                }
                _ = ticks.tick() => self.look(),
                _ = asked.term.recv() => self.interrupt(),
                _ = asked.int.recv() => self.interrupt(),
            }
        }
    }

    fn look(&mut self) {
        let now = Instant::now();
        let claim = self.record.claimed();
        if claim != self.claimed.0 {
            self.claimed = (claim, now);
        }
        if self.record.is_ordered("kill") {
            self.kill();
        } else if self.record.is_ordered("interrupt") {
            self.interrupt();
        }
        if self.limit.is_some() {
            // It may have started something since it was ended.
            return self.kill();
        }
        if let Some(limit) = self.cgroup.reached() {
            return self.end(limit);
        }
        if now >= self.measure_disk_at {
            if let Some(limit) = self.disk_reached() {
                return self.end(limit);
            }
            // Large folders take long to measure; that must not become all it does.
            self.measure_disk_at = Instant::now() + LOOK.max(now.elapsed() * 10);
        }
        let Limits { time, .. } = self.order.limits;
        let orphan = self.order.orphan;
        let unclaimed = || {
            let time = format!("{} s", orphan.as_secs());
            format!("no runner claimed it for {time}: the one that started it is gone, or has lost its run")
        };
        let too_long = || reached("time", format!("{} s", time.as_secs()), "it still ran");
        self.overdue(self.claimed.1, orphan, unclaimed);
        self.overdue(self.began, time, too_long);
    }

    /// Ends the program when a time is over. In its last quarter, or minute, it is asked to end in order.
    fn overdue(&mut self, since: Instant, most: Duration, why: impl Fn() -> String) {
        let elapsed = since.elapsed();
        if elapsed + GRACE.min(most / 4) >= most {
            self.overdue.get_or_insert_with(&why);
            self.interrupt();
        }
        if elapsed >= most {
            self.end(why());
        }
    }

    fn disk_reached(&self) -> Option<String> {
        let Order { folder, limits, .. } = self.order;
        if disk::usage(folder) + disk::usage(&self.record.path("tmp")) >= limits.disk {
            return Some(reached("disk", size(limits.disk), "it wrote more to its folder and to /tmp"));
        }
        let room = statvfs(folder).map_or(u64::MAX, |disk| disk.f_bavail.saturating_mul(disk.f_frsize));
        (room < ROOM).then(|| format!("the disk of {} has less than {} left; make room on it", folder.display(), size(ROOM)))
    }

    /// Asks the program to end, once.
    fn interrupt(&mut self) {
        if !self.interrupted || fault::mutant("interrupt") {
            self.interrupted = true;
            // Refused only when it has ended.
            let _ = send(self.socket, &Tell::Interrupt);
        }
    }

    fn end(&mut self, limit: String) {
        self.limit.get_or_insert(limit);
        self.kill();
    }

    fn kill(&self) {
        let _ = send(self.socket, &Tell::Kill);
        self.cgroup.kill();
    }

    /// How it ended. A limit that was reached in the last moment counts too, unless the program succeeded all the same.
    fn exit(&self) -> Exit {
        let last = || match self.ended {
            Some(Exit::Code(0)) => None,
            _ => self.cgroup.reached().or_else(|| self.disk_reached()).or_else(|| self.overdue.clone()),
        };
        if let Some(limit) = self.limit.clone().or_else(last) {
            return Exit::Limit(limit);
        }
        let Limits { cpu_time, disk, .. } = &self.order.limits;
        match self.ended {
            Some(Exit::Signal(XCPU)) => {
                Exit::Limit(reached("cpu-time", format!("{} s", cpu_time.as_secs()), "one process used more"))
            }
            Some(Exit::Signal(XFSZ)) => Exit::Limit(reached("disk", size(*disk), "one file became larger")),
            Some(ref exit) => exit.clone(),
            None => Exit::Signal(KILL),
        }
    }
}
