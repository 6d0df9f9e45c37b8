//! The start of a program, from outside: the processes inside are made, moved, mapped and told what to do.

use std::{
    fs, io,
    net::{SocketAddr, TcpListener},
    os::{
        fd::OwnedFd,
        unix::{net::UnixStream, process::CommandExt as _},
    },
    process::{self, Child, Command, Stdio},
    time::Duration,
};

use freehold_engines::Confinement;
use rustix::{
    fs::{Gid, Mode, Uid, fchown},
    process::{getuid, umask},
};

use super::{
    Stage,
    cgroup::Cgroup,
    disk, network,
    order::{Order, Orders, Receiver, Said, Tell, send},
};

/// For each word of the processes inside until the program runs.
const PATIENCE: Duration = Duration::from_secs(30);
/// Where root has users of programs begin; each is the process id of its supervisor further on, so that no two share one. Above
/// what distributions and containers give out, below what has a sign.
const USERS: u32 = 0x7000_0000;
/// The user that is nobody, where root of a container has few to give.
const NOBODY: u32 = 65_534;

/// The processes inside, seen from outside.
pub(super) struct Inside {
    pub outermost: Outermost,
    pub socket: UnixStream,
    pub receiver: Receiver,
    /// Standard output and standard error.
    pub output: [io::PipeReader; 2],
    /// Listens for the proxy.
    pub way_out: Option<TcpListener>,
    /// Listens where programs look for these addresses of this machine.
    pub loopback: Vec<(SocketAddr, TcpListener)>,
    pub confinement: Confinement,
}

/// The process that started the others inside; ended and buried when it is dropped.
pub(super) struct Outermost(Child);

impl Drop for Outermost {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Makes the processes inside, up to the one that waits to start the program.
///
/// # Errors
/// With what was not possible.
pub(super) fn prepare(order: &Order, cgroup: &Cgroup) -> Result<(Inside, Orders), String> {
    let user = if order.confine { user() } else { getuid().as_raw() };
    let (mut inside, mut orders) = spawn(order, cgroup, user)?;
    if order.confine {
        inside.say(&Tell::Run(Box::new(orders.clone())))?;
        inside.expect(|said| matches!(said, Said::Unshared).then_some(()))?;
        map_users(inside.outermost.0.id(), user).map_err(|error| format!("its users cannot be mapped: {error}"))?;
        inside.say(&Tell::Go)?;
        orders.way_out = Some(inside.expect(|said| if let Said::WayOut(port) = said { Some(port) } else { None })?);
        inside.say(&Tell::Go)?;
        let take = |socket| network::take(socket).map_err(|errno| format!("there is no way out: {errno}"));
        for address in order.egress.loopback() {
            inside.loopback.push((address, take(&inside.socket)?));
        }
        inside.way_out = Some(take(&inside.socket)?);
        let (user, mounts, pids, ipc, uts, network) = (true, true, true, true, true, true);
        inside.confinement = Confinement { user, mounts, pids, ipc, uts, network, ..inside.confinement };
    }
    inside.expect(|said| matches!(said, Said::Ready).then_some(()))?;
    Ok((inside, orders))
}

/// Whether the program has another user than this process.
fn is_another(user: u32) -> bool {
    getuid().as_raw() != user
}

fn spawn(order: &Order, cgroup: &Cgroup, user: u32) -> Result<(Inside, Orders), String> {
    let failed = |error: io::Error| format!("the processes of a sandbox cannot be started: {error}");
    let (socket, theirs) = UnixStream::pair().map_err(failed)?;
    let ((out, their_out), (err, their_err)) = (io::pipe().map_err(failed)?, io::pipe().map_err(failed)?);
    if is_another(user) {
        // So that a program may open `/dev/stdout`, which is this pipe.
        let (uid, gid) = (Uid::from_raw(user), Gid::from_raw(user));
        for pipe in [&their_out, &their_err] {
            fchown(pipe, Some(uid), Some(gid)).map_err(|errno| failed(errno.into()))?;
        }
    }
    let stage = if order.confine { Stage::Enter } else { Stage::Init };
    let mut command = Command::new("/proc/self/exe");
    command.args(stage.arguments(order)).env_clear().process_group(0);
    // What the supervisor makes is its own, what is made inside is for its user to see.
    let before = umask(Mode::from_raw_mode(0o022));
    command.stdin(Stdio::from(OwnedFd::from(theirs))).stdout(their_out).stderr(their_err);
    let spawned = command.spawn();
    umask(before);
    let outermost = Outermost(spawned.map_err(failed)?);
    // It waits for its orders, so everything that it will ever start is counted.
    let entered = cgroup.enter(outermost.0.id());
    socket.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
    let receiver = Receiver::new(socket.try_clone().map_err(failed)?);
    let confinement = cgroup.confinement();
    let inside = Inside { outermost, socket, receiver, output: [out, err], way_out: None, loopback: Vec::new(), confinement };
    entered.map_err(|error| format!("its control group does not take it: {error}"))?;
    let memory_limited = confinement.memory_limited;
    Ok((inside, Orders { order: order.clone(), user, way_out: None, memory_limited }))
}

impl Inside {
    /// Starts the program.
    ///
    /// # Errors
    /// With what was not possible.
    pub fn run(&mut self, orders: Orders) -> Result<(), String> {
        let Orders { order, user, .. } = &orders;
        if is_another(*user) {
            // Not before: until now another program, of another user, may have worked in the same folder.
            let given = disk::give(&order.folder, *user).and_then(|()| disk::give(&order.record.join("tmp"), *user));
            given.map_err(|error| format!("its folder cannot be given to its user: {error}"))?;
        }
        self.say(&Tell::Run(Box::new(orders)))?;
        self.expect(|said| matches!(said, Said::Running).then_some(()))?;
        self.socket.set_read_timeout(None).map_err(lost)
    }

    fn say(&self, word: &Tell) -> Result<(), String> {
        send(&self.socket, word).map_err(lost)
    }

    /// The next word from inside, which must be the one that is awaited.
    fn expect<T>(&mut self, awaited: impl FnOnce(Said) -> Option<T>) -> Result<T, String> {
        match self.receiver.next::<Said>().map_err(lost)? {
            Said::Failed(why) => Err(why),
            said => awaited(said).ok_or_else(|| "the processes of a sandbox answered out of turn".to_owned()),
        }
    }
}

fn lost(error: io::Error) -> String {
    format!("the processes of a sandbox do not answer: {error}; the kernel's log may say why")
}

/// The user of a program that is confined: one of its own where this process is root, that of this process elsewhere.
fn user() -> u32 {
    let own = getuid();
    if !own.is_root() {
        return own.as_raw();
    }
    let maps = ["/proc/self/uid_map", "/proc/self/gid_map"].map(|map| fs::read_to_string(map).unwrap_or_default());
    let there = |id: &u32| maps.iter().all(|map| has(map, *id));
    [USERS + process::id(), NOBODY].into_iter().find(there).unwrap_or(0)
}

/// Whether a map of users or groups has this one.
fn has(map: &str, id: u32) -> bool {
    map.lines().any(|range| {
        let numbers: Vec<u64> = range.split_ascii_whitespace().filter_map(|number| number.parse().ok()).collect();
        matches!(numbers[..], [first, _, count] if (first..first + count).contains(&u64::from(id)))
    })
}

/// Lets a process in a new user namespace be whom this process is, and the user of the program. No others are in it.
fn map_users(process: u32, user: u32) -> io::Result<()> {
    let write = |file: &str, text: &str| fs::write(format!("/proc/{process}/{file}"), text);
    let (own, group) = (getuid(), rustix::process::getgid().as_raw());
    if own.is_root() {
        let map = if user == 0 { "0 0 1".to_owned() } else { format!("0 0 1\n{user} {user} 1") };
        write("uid_map", &map)?;
        return write("gid_map", &map);
    }
    // Demanded before a group may be mapped without privileges (user_namespaces(7)).
    write("setgroups", "deny")?;
    write("uid_map", &format!("{user} {user} 1"))?;
    write("gid_map", &format!("{group} {group} 1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_that_can_be_given_are_found_in_the_map() {
        let all = "         0          0 4294967295\n";
        let container = "0 100000 1000\n65534 165534 1\n";
        for (map, id, there) in [(all, USERS + 1, true), (container, USERS, false), (container, NOBODY, true), ("", 0, false)] {
            assert_eq!(has(map, id), there, "{map} {id}");
        }
    }
}
