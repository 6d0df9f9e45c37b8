//! Who used the processor meanwhile, from /proc.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, process,
    time::Instant,
};

use crate::Failure;

/// Length of the ticks in which Linux tells the time of processes, whatever the kernel's own.
const TICKS_PER_SECOND: f64 = 100.0;

/// What other processes may take of one core before the figures mean nothing.
const TOLERANCE: f64 = 0.15;

/// The state of the processor at one moment.
pub struct Moment {
    at: Instant,
    /// Ticks of all processes together, and those that the hypervisor gave to other machines.
    busy: u64,
    stolen: u64,
    own: u64,
    server: u64,
    /// Ticks of each process that is neither of these, with its name.
    others: BTreeMap<u32, (String, u64)>,
}

/// What was used between two moments, in cores.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Usage {
    /// By this process.
    pub own: f64,
    /// By the server and its children; none when it is not known which process that is.
    pub server: Option<f64>,
    /// By everything else, the hypervisor included.
    pub others: f64,
    /// The greediest of the others.
    pub greediest: Vec<(String, f64)>,
}

impl Moment {
    /// Now. The server is these processes and their children.
    ///
    /// # Errors
    /// When there is no /proc, or one of the processes is gone.
    pub fn now(server: &[u32]) -> Result<Self, Failure> {
        let at = Instant::now();
        let (busy, stolen) =
            total(&fs::read_to_string("/proc/stat").map_err(|error| format!("/proc/stat cannot be read: {error}"))?)?;
        let mut processes = processes()?;
        for pid in server {
            if !processes.contains_key(pid) {
                return Err(format!("there is no process {pid}; the server has ended, or --pid names another one").into());
            }
        }
        let own = processes.remove(&process::id()).map_or(0, |it| it.ticks);
        let mut sum = 0;
        for pid in family(server, &processes) {
            sum += processes.remove(&pid).map_or(0, |it| it.ticks + it.reaped);
        }
        let others = processes.into_iter().map(|(pid, it)| (pid, (it.name, it.ticks))).collect();
        Ok(Self { at, busy, stolen, own, server: sum, others })
    }

    /// What was used from then on.
    pub fn usage_until(&self, later: &Self, server_known: bool) -> Usage {
        let seconds = later.at.duration_since(self.at).as_secs_f64().max(1e-3);
        let cores = |from: u64, to: u64| to.saturating_sub(from) as f64 / TICKS_PER_SECOND / seconds;
        let (own, server) = (cores(self.own, later.own), cores(self.server, later.server));
        let mut greediest: Vec<_> = later
            .others
            .iter()
            .map(|(pid, (name, ticks))| (name.clone(), cores(self.others.get(pid).map_or(0, |(_, ticks)| *ticks), *ticks)))
            .filter(|(_, cores)| *cores > 0.0)
            .collect();
        // The whole knows processes that came and went; the parts are exact where the whole only samples. The greater is true.
        let whole = cores(self.busy, later.busy) - own - server;
        let parts: f64 = greediest.iter().map(|(_, cores)| cores).sum();
        greediest.sort_by(|a, b| b.1.total_cmp(&a.1));
        greediest.truncate(3);
        let others = whole.max(parts) + cores(self.stolen, later.stolen);
        Usage { own, server: server_known.then_some(server), others, greediest }
    }
}

impl Usage {
    /// Why the figures mean nothing, if others took too much.
    pub fn rejection(&self) -> Option<String> {
        (self.others > TOLERANCE).then(|| {
            let names: Vec<_> = self.greediest.iter().map(|(name, cores)| format!("{name} {cores:.2}")).collect();
            let names = if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) };
            format!(
                "other processes took {:.2} of a core{names}, and {TOLERANCE} is the most that leaves figures true",
                self.others
            )
        })
    }
}

/// The processes that listen on this port of this machine.
pub fn listening(port: u16) -> Vec<u32> {
    let sockets: BTreeSet<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .into_iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| table.lines().skip(1).filter_map(|line| listener(line, port)).collect::<Vec<_>>())
        .collect();
    let holds = |pid: u32| {
        let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        files.filter_map(|file| fs::read_link(file.path()).ok()).any(|link| sockets.contains(link.to_string_lossy().as_ref()))
    };
    if sockets.is_empty() { Vec::new() } else { pids().filter(|pid| holds(*pid)).collect() }
}

/// The socket of a line of /proc/net/tcp that listens on the port.
fn listener(line: &str, port: u16) -> Option<String> {
    let words: Vec<_> = line.split_whitespace().collect();
    let (_, local) = words.get(1)?.rsplit_once(':')?;
    let listens = u16::from_str_radix(local, 16).ok()? == port && *words.get(3)? == "0A";
    listens.then(|| format!("socket:[{}]", words.get(9).unwrap_or(&"")))
}

/// One line of /proc/PID/stat.
struct Process {
    name: String,
    parent: u32,
    ticks: u64,
    /// Ticks of children that have ended.
    reaped: u64,
}

impl Process {
    /// See proc(5): the name is in parentheses and can hold anything; parent, then utime, stime, cutime, cstime follow it.
    fn parse(line: &str) -> Option<Self> {
        let (start, end) = (line.find('(')?, line.rfind(')')?);
        let fields: Vec<_> = line.get(end + 1..)?.split_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
        Some(Self {
            name: line.get(start + 1..end)?.to_owned(),
            parent: u32::try_from(number(1)?).ok()?,
            ticks: number(11)? + number(12)?,
            reaped: number(13)? + number(14)?,
        })
    }
}

fn pids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn processes() -> Result<BTreeMap<u32, Process>, Failure> {
    // A process that ends while it is looked at is none.
    let found: BTreeMap<_, _> =
        pids().filter_map(|pid| Some((pid, Process::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?))).collect();
    if found.is_empty() { Err("/proc shows no processes".into()) } else { Ok(found) }
}

/// These processes and everything they have started.
fn family(roots: &[u32], processes: &BTreeMap<u32, Process>) -> BTreeSet<u32> {
    let mut family: BTreeSet<u32> = roots.iter().copied().collect();
    loop {
        let more: Vec<_> = processes
            .iter()
            .filter(|(pid, it)| family.contains(&it.parent) && !family.contains(pid))
            .map(|(pid, _)| *pid)
            .collect();
        if more.is_empty() {
            return family;
        }
        family.extend(more);
    }
}

/// Busy and stolen ticks of the first line of /proc/stat. Interrupts are left out: most of them are our own network's.
fn total(stat: &str) -> Result<(u64, u64), Failure> {
    let fields: Vec<u64> =
        stat.lines().next().unwrap_or_default().split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    match fields[..] {
        [user, nice, system, _, _, _, _, stolen, ..] => Ok((user + nice + system, stolen)),
        _ => Err("/proc/stat is not as Linux writes it".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_is_read_as_its_manual_says() {
        let process = Process::parse("42 (a (b) c) S 7 1 1 0 -1 4194560 1 2 3 4 250 50 30 20 20 0 9 0 1").expect("a process");
        assert_eq!((process.name.as_str(), process.parent, process.ticks, process.reaped), ("a (b) c", 7, 300, 50));
        assert_eq!(total("cpu  10 1 5 900 3 2 2 4 0 0\ncpu0 1 2 3").expect("a total"), (16, 4));
        let line = "   0: 0100007F:1D13 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0";
        assert_eq!((listener(line, 7443).as_deref(), listener(line, 7444)), (Some("socket:[4711]"), None));
    }

    #[test]
    fn children_belong_to_the_server() {
        let process = |parent| Process { name: String::new(), parent, ticks: 0, reaped: 0 };
        let processes = BTreeMap::from([(10, process(1)), (11, process(10)), (12, process(11)), (20, process(1))]);
        assert_eq!(family(&[10], &processes), BTreeSet::from([10, 11, 12]));
    }

    #[test]
    fn the_run_is_rejected_for_what_others_take_and_not_for_the_server() {
        let at = Instant::now();
        let moment = |seconds, busy, own, server, greedy| Moment {
            at: at + std::time::Duration::from_secs(seconds),
            busy,
            stolen: 0,
            own,
            server,
            others: BTreeMap::from([(9, ("rustc".to_owned(), greedy))]),
        };
        let start = moment(0, 1000, 100, 500, 40);
        let quiet = start.usage_until(&moment(10, 2000, 500, 1100, 50), true);
        assert_eq!((quiet.own, quiet.server, quiet.rejection()), (0.4, Some(0.6), None));
        let loud = start.usage_until(&moment(10, 2200, 500, 1100, 240), true).rejection().expect("rejected");
        assert!(loud.contains("0.20 of a core (rustc 0.20)"), "{loud}");
    }
}
