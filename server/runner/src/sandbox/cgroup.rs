//! Control groups: what counts, limits and ends all that a program has started, whatever it does to escape (cgroups(7)).
//!
//! Version 2 where there is one that this process may write to, with the controllers that it was given there; version 1 for those
//! that are still there. Whatever the machine does not offer is left out, and [`Cgroup::confinement`] says so.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    process, thread,
    time::Duration,
};

use freehold_engines::Confinement;
use rustix::process::{Pid, Signal, kill_process};

use super::limits::{Limits, reached, size};

/// Where a runner moves itself, so that it may hand controllers to groups beside it (the rule of "no internal processes").
const RUNNER: &str = "freehold-runner";
/// Groups of programs are called so, with the supervisor's process id and its start.
const PREFIX: &str = "freehold-program-";

/// A control group of one program.
pub(super) struct Cgroup {
    /// Version 2.
    unified: Option<PathBuf>,
    pids: Option<PathBuf>,
    memory: Option<PathBuf>,
    /// Has `cpu.stat`, or `cpuacct.usage` of version 1.
    cpu: Option<PathBuf>,
    limits: Limits,
}

impl Cgroup {
    /// Makes one for the program that this process supervises.
    pub fn create(limits: &Limits) -> Self {
        let mut group = Self { unified: None, pids: None, memory: None, cpu: None, limits: limits.clone() };
        let id = process::id();
        let name = format!("{PREFIX}{id}-{}", start_of(id).unwrap_or_default());
        let hierarchies = hierarchies();
        let make = |controller: &str| {
            let dir = base(hierarchies.get(controller)?).join(&name);
            (dir.exists() || fs::create_dir(&dir).is_ok()).then_some(dir)
        };
        if let Some(dir) = make("") {
            let limited = |file: &str, value: &str| fs::write(dir.join(file), value).is_ok().then(|| dir.clone());
            group.pids = limited("pids.max", &limits.processes.to_string());
            group.memory = limited("memory.max", &limits.memory.to_string());
            // Without these two, memory only moves to the swap, or one process is ended and the others go on without it.
            let _ = limited("memory.swap.max", "0");
            let _ = limited("memory.oom.group", "1");
            group.cpu = dir.join("cpu.stat").exists().then(|| dir.clone());
            group.unified = dir.join("cgroup.kill").exists().then_some(dir);
        }
        if group.pids.is_none() {
            let limited = |dir: &PathBuf| fs::write(dir.join("pids.max"), limits.processes.to_string()).is_ok();
            group.pids = make("pids").filter(limited);
        }
        if group.memory.is_none() {
            let limited = |dir: &PathBuf| fs::write(dir.join("memory.limit_in_bytes"), limits.memory.to_string()).is_ok();
            group.memory = make("memory").filter(limited);
        }
        // The statistics of version 2 are those of whole ticks while its controller belongs to version 1.
        if let Some(dir) = make("cpuacct").filter(|dir| dir.join("cpuacct.usage").exists()) {
            group.cpu = Some(dir);
        }
        group
    }

    /// Which of its walls stand.
    pub fn confinement(&self) -> Confinement {
        Confinement {
            cgroup: self.unified.is_some(),
            processes_limited: self.pids.is_some(),
            memory_limited: self.memory.is_some(),
            cpu_limited: self.cpu.is_some(),
            ..Confinement::default()
        }
    }

    /// Moves a process, with all that it will start.
    ///
    /// # Errors
    /// When a group does not take it.
    pub fn enter(&self, process: u32) -> io::Result<()> {
        self.dirs().iter().try_for_each(|dir| fs::write(dir.join("cgroup.procs"), process.to_string()))
    }

    /// The limit that was reached, in words.
    pub fn reached(&self) -> Option<String> {
        let Limits { processes, memory, cpu_time, .. } = &self.limits;
        let count = |dir: &Option<PathBuf>, file: &str, key: &str| value(dir.as_deref(), file, key).unwrap_or(0);
        if count(&self.pids, "pids.events", "max") > 0 {
            return Some(reached("processes", processes, "it wanted to start more processes and threads at a time"));
        }
        if count(&self.memory, "memory.events", "oom_kill") + count(&self.memory, "memory.oom_control", "oom_kill") > 0 {
            return Some(reached("memory", size(*memory), "it and what it started needed more together"));
        }
        (self.cpu_time() >= *cpu_time).then(|| {
            let seconds = format!("{} s", cpu_time.as_secs());
            reached("cpu-time", seconds, "it and what it started used more together")
        })
    }

    fn cpu_time(&self) -> Duration {
        let version_1 = self.cpu.as_deref().and_then(|dir| fs::read_to_string(dir.join("cpuacct.usage")).ok());
        match version_1.and_then(|text| text.trim().parse().ok()) {
            Some(nanos) => Duration::from_nanos(nanos),
            None => Duration::from_micros(value(self.cpu.as_deref(), "cpu.stat", "usage_usec").unwrap_or(0)),
        }
    }

    /// Ends every process in it.
    pub fn kill(&self) {
        self.dirs().iter().for_each(|dir| kill(dir));
    }

    /// Ends every process in it and removes it.
    pub fn remove(&self) {
        self.dirs().iter().for_each(|dir| remove(dir));
    }

    fn dirs(&self) -> Vec<&Path> {
        let mut dirs: Vec<_> =
            [&self.unified, &self.pids, &self.memory, &self.cpu].into_iter().filter_map(Option::as_deref).collect();
        dirs.sort_unstable();
        dirs.dedup();
        dirs
    }
}

/// Lets groups beside that of this runner have limits, where this runner may. To be called once, before there is any program.
pub(super) fn prepare() {
    let Some(own) = hierarchies().remove("") else { return };
    // The root group has no type, and no rule of "no internal processes".
    if own.join("cgroup.type").exists() && !own.ends_with(RUNNER) {
        let leaf = own.join(RUNNER);
        if (leaf.exists() || fs::create_dir(&leaf).is_ok())
            && fs::write(leaf.join("cgroup.procs"), process::id().to_string()).is_err()
        {
            let _ = fs::remove_dir(&leaf);
        }
    }
    for controller in ["+pids", "+memory", "+cpu"] {
        // One that is not there, or not ours to give, is missing from what programs report of their confinement.
        let _ = fs::write(base(&own).join("cgroup.subtree_control"), controller);
    }
}

/// Ends and removes groups whose supervisor is gone, as after a `kill -9` of it.
pub(super) fn sweep() {
    for own in hierarchies().values() {
        let Ok(groups) = fs::read_dir(base(own)) else { continue };
        for group in groups.flatten() {
            let name = group.file_name().to_string_lossy().into_owned();
            let supervisor = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-'));
            let Some((id, start)) = supervisor.and_then(|(id, start)| Some((id.parse().ok()?, start))) else { continue };
            if start_of(id).as_deref() != Some(start) {
                remove(&group.path());
            }
        }
    }
}

/// When a process began, in ticks since the start of the machine: with its id, which process it is. Nothing when it is gone.
fn start_of(process: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The second field is a name in brackets, which may hold anything.
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(19).map(str::to_owned)
}

fn kill(dir: &Path) {
    if fs::write(dir.join("cgroup.kill"), "1").is_ok() {
        return;
    }
    // Version 1 knows no such order. What is started between two looks is found by the next.
    for _ in 0..100 {
        let found = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
        let processes: Vec<_> = found.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)).collect();
        if processes.is_empty() {
            return;
        }
        for process in processes {
            let _ = kill_process(process, Signal::KILL);
        }
        thread::sleep(Duration::from_millis(5));
    }
}

fn remove(dir: &Path) {
    // Most are empty by now.
    let mut pause = Duration::from_micros(200);
    for _ in 0..200 {
        // Refused until the last process has been reaped.
        match fs::remove_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                kill(dir);
                thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(5));
            }
            _ => return,
        }
    }
}

/// The group below which those of programs are made.
fn base(own: &Path) -> &Path {
    own.parent().filter(|_| own.ends_with(RUNNER)).unwrap_or(own)
}

/// The number behind a key in a file of keys and numbers.
fn value(dir: Option<&Path>, file: &str, key: &str) -> Option<u64> {
    let text = fs::read_to_string(dir?.join(file)).ok()?;
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

/// The groups that this process is in, by controller; that of version 2 by the empty name.
fn hierarchies() -> BTreeMap<String, PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    found(&mounts, &groups)
}

fn found(mounts: &str, groups: &str) -> BTreeMap<String, PathBuf> {
    let mut all = BTreeMap::new();
    for group in groups.lines() {
        let mut parts = group.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        for controller in controllers.split(',') {
            let here = mounts.lines().find_map(|mount| {
                let (before, after) = mount.split_once(" - ")?;
                let mut after = after.split(' ');
                let (kind, options) = (after.next()?, after.nth(1)?);
                let fits = match controller {
                    "" => kind == "cgroup2",
                    name => kind == "cgroup" && options.split(',').any(|option| option == name),
                };
                let mut before = before.split(' ').skip(3);
                let (root, point) = (before.next()?, before.next()?);
                let inside = if root == "/" { path } else { path.strip_prefix(root)? };
                fits.then(|| Path::new(point).join(inside.trim_start_matches('/')))
            });
            all.extend(here.map(|dir| (controller.to_owned(), dir)));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_of_a_process_is_found_in_either_version() {
        let mounts = "31 23 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
                      32 23 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                      33 23 0:29 /docker/x /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n";
        let all = found(mounts, "3:pids:/docker/x/y\n2:cpu,cpuacct:/\n1:name=systemd:/a\n0::/user.slice/run\n");
        let of = |name: &str| all.get(name).map(|dir| dir.to_str().expect("text"));
        assert_eq!(of(""), Some("/sys/fs/cgroup/unified/user.slice/run"));
        assert_eq!(of("cpuacct"), Some("/sys/fs/cgroup/cpu,cpuacct/"));
        assert_eq!(of("pids"), Some("/sys/fs/cgroup/pids/y"));
        assert_eq!(of("name=systemd"), None);
        assert_eq!(base(Path::new("/a/freehold-runner")), Path::new("/a"));
        assert_eq!(base(Path::new("/a/b")), Path::new("/a/b"));
    }

    #[test]
    fn a_process_is_told_from_a_later_one_by_its_start() {
        assert!(start_of(process::id()).is_some_and(|start| start.parse::<u64>().is_ok()));
        assert_eq!(start_of(u32::MAX), None);
    }
}
