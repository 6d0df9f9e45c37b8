//! The processes inside: one that makes the namespaces, and the first process of the new ones, which starts the program.

use std::{
    fs, io,
    os::{
        fd::OwnedFd,
        unix::{net::UnixStream, process::CommandExt as _},
    },
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
};

use rustix::{
    process::{
        DumpableBehavior, Gid, Pid, Resource, Rlimit, Signal, Uid, WaitOptions, getrlimit, kill_process, kill_process_group,
        set_dumpable_behavior, setrlimit, wait,
    },
    stdio,
    system::sethostname,
    thread::{
        CapabilitySet, CapabilitySets, UnshareFlags, capabilities, clear_ambient_capability_set,
        configure_capability_in_ambient_set, remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
        set_thread_groups, set_thread_res_gid, set_thread_res_uid,
    },
};

use super::{
    Stage,
    limits::Limits,
    mounts::View,
    network,
    order::{Order, Orders, Receiver, Said, Tell, send},
};

/// Makes namespaces, and a process in them that is the first of its kind; ends with it.
pub(super) fn enter() -> io::Result<()> {
    let socket = standard_input()?;
    let mut receiver = Receiver::new(socket.try_clone()?);
    match enter_by(&socket, &mut receiver) {
        Ok(mut first) => {
            drop((receiver, socket));
            first.wait().map(drop)
        }
        Err(why) => send(&socket, &Said::Failed(why)),
    }
}

fn enter_by(socket: &UnixStream, receiver: &mut Receiver) -> Result<Child, String> {
    let Tell::Run(orders) = receiver.next().map_err(told)? else { return Err("there is nothing to run".to_owned()) };
    let all = UnshareFlags::NEWUSER
        | UnshareFlags::NEWNS
        | UnshareFlags::NEWPID
        | UnshareFlags::NEWIPC
        | UnshareFlags::NEWUTS
        | UnshareFlags::NEWNET
        | UnshareFlags::NEWCGROUP;
    #[expect(deprecated, reason = "unsafe for the flag FILES, which is not among these")]
    rustix::thread::unshare(all).map_err(|errno| {
        format!("this machine does not let the runner make namespaces: {errno}; allow user namespaces to it, or run it as root")
    })?;
    let mut ask = |question: Said| {
        send(socket, &question).map_err(told)?;
        match receiver.next::<Tell>().map_err(told)? {
            Tell::Go => Ok(()),
            _ => Err("the supervisor answered out of turn".to_owned()),
        }
    };
    ask(Said::Unshared)?;
    sethostname(b"sandbox").map_err(|errno| format!("the host name cannot be set: {errno}"))?;
    network::loopback_up().map_err(|errno| format!("there is no loopback: {errno}"))?;
    let loopback = orders.order.egress.loopback();
    let (listeners, port) = network::listen(&loopback).map_err(|error| format!("there is no way out: {error}"))?;
    ask(Said::WayOut(port))?;
    for listener in &listeners {
        network::give(socket, listener).map_err(|errno| format!("there is no way out: {errno}"))?;
    }
    drop(listeners);
    view(&orders.order, |view| view.build())?;
    keep_powers().map_err(|errno| format!("its powers cannot be passed on: {errno}"))?;
    let stdin = socket.try_clone().map_err(told)?;
    // By this link, because the file itself may be in a folder that nobody else may enter.
    let mut first = Command::new("/proc/self/exe");
    first.args(Stage::Init.arguments(&orders.order)).env_clear().stdin(Stdio::from(OwnedFd::from(stdin)));
    first.spawn().map_err(|error| format!("the first process cannot be started: {error}"))
}

/// Lets the powers over the new namespaces outlast the start of the next program.
fn keep_powers() -> rustix::io::Result<()> {
    let powers = CapabilitySet::SYS_ADMIN
        | CapabilitySet::SETPCAP
        | CapabilitySet::SYS_RESOURCE
        | CapabilitySet::SETUID
        | CapabilitySet::SETGID;
    let sets = capabilities(None)?;
    set_capabilities(None, CapabilitySets { inheritable: powers, ..sets })?;
    powers.iter().try_for_each(|power| configure_capability_in_ambient_set(power, true))
}

/// The first process: takes the rest of the confinement on, starts the program, and is there until it ends.
pub(super) fn init() -> io::Result<()> {
    let socket = standard_input()?;
    let mut receiver = Receiver::new(socket.try_clone()?);
    send(&socket, &Said::Ready)?;
    let Tell::Run(orders) = receiver.next()? else { return Err(io::ErrorKind::InvalidData.into()) };
    let confine = orders.order.confine;
    let program = match prepare(&orders).and_then(|()| start(&orders)) {
        Ok(program) => program,
        Err(why) => return send(&socket, &Said::Failed(why)),
    };
    let leader = Pid::from_child(&program);
    send(&socket, &Said::Running)?;
    // What the supervisor wants; that it is gone means the same as that everything must end.
    thread::spawn(move || {
        while let Ok(Tell::Interrupt) = receiver.next() {
            let _ = kill_process(leader, Signal::INT);
        }
        end(leader, confine);
    });
    let ended = loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((process, status))) if process == leader => break status,
            // An orphan that somebody has to bury.
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    };
    let said = match (ended.exit_status(), ended.terminating_signal()) {
        (Some(code), _) => Said::Code(code),
        (None, signal) => Said::Signal(signal.unwrap_or_default()),
    };
    send(&socket, &said)?;
    end(leader, confine)
}

/// Ends this process. When it is the first of its namespace, the kernel ends all others in it.
#[expect(clippy::disallowed_methods, reason = "nothing is kept here that must be closed, and another thread waits for ever")]
fn end(leader: Pid, confine: bool) -> ! {
    if !confine {
        let _ = kill_process_group(leader, Signal::KILL);
    }
    std::process::exit(0)
}

fn prepare(orders: &Orders) -> Result<(), String> {
    let refused = |errno: rustix::io::Errno| format!("its powers cannot be dropped: {errno}");
    if orders.order.confine {
        view(&orders.order, |view| view.enter())?;
        // Namespaces of its own would make it powerful in them, and so much of the kernel reachable. Best effort: without `/proc`
        // the kernel's own limit holds.
        let _ = fs::write("/proc/sys/user/max_user_namespaces", "0");
        drop_powers(orders.user).map_err(refused)?;
    }
    set_no_new_privs(true).map_err(refused)?;
    // Nothing inside reads its memory or steers it.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(refused)?;
    limit(&orders.order.limits, orders.memory_limited).map_err(|errno| format!("its limits cannot be set: {errno}"))
}

/// Becomes the user of the program, who may nothing that the file modes do not say.
fn drop_powers(user: u32) -> rustix::io::Result<()> {
    for power in CapabilitySet::all().iter() {
        match remove_capability_from_bounding_set(power) {
            // One that this kernel does not know.
            Ok(()) | Err(rustix::io::Errno::INVAL) => {}
            Err(errno) => return Err(errno),
        }
    }
    // Nobody but root could have given it groups, and nobody but root may take them away.
    let _ = set_thread_groups(&[]);
    let (uid, gid) = (Uid::from_raw(user), Gid::from_raw(user));
    if rustix::process::getuid() != uid {
        set_thread_res_gid(gid, gid, gid)?;
        set_thread_res_uid(uid, uid, uid)?;
    }
    clear_ambient_capability_set()?;
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
}

/// Limits of each single process: the second line where groups count all of them together, the only one elsewhere.
fn limit(limits: &Limits, memory_limited: bool) -> rustix::io::Result<()> {
    let lower = |resource, most: u64| {
        let hard = getrlimit(resource).maximum.map_or(most, |hard| hard.min(most));
        setrlimit(resource, Rlimit { current: Some(hard), maximum: Some(hard) })
    };
    lower(Resource::Core, 0)?;
    lower(Resource::Nofile, limits.open_files)?;
    lower(Resource::Fsize, limits.disk)?;
    lower(Resource::Nproc, limits.processes)?;
    let seconds = limits.cpu_time.as_secs().max(1);
    lower(Resource::Cpu, seconds + 1)?;
    // Its own signal first, which tells this limit from other deaths; at the hard limit the kernel kills.
    let hard = getrlimit(Resource::Cpu).maximum;
    setrlimit(Resource::Cpu, Rlimit { current: Some(hard.map_or(seconds, |hard| hard.min(seconds))), maximum: hard })?;
    if memory_limited { Ok(()) } else { lower(Resource::Data, limits.memory) }
}

fn start(orders: &Orders) -> Result<Child, String> {
    let Order { path, arguments, environment, directory, .. } = &orders.order;
    let mut program = Command::new(path);
    program.args(arguments).env_clear().envs(environment).current_dir(directory).stdin(Stdio::null()).process_group(0);
    if let Some(port) = orders.way_out {
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"] {
            program.env(name, format!("http://127.0.0.1:{port}"));
        }
    }
    program.spawn().map_err(|error| format!("{} cannot be started: {error}", path.display()))
}

fn view<T>(order: &Order, act: impl FnOnce(View<'_>) -> T) -> T {
    let mut readable: Vec<_> = order.readable.iter().map(PathBuf::as_path).collect();
    readable.push(&order.path);
    let (root, tmp) = (order.record.join("root"), order.record.join("tmp"));
    act(View { root: &root, folder: &order.folder, tmp: &tmp, readable })
}

fn standard_input() -> io::Result<UnixStream> {
    Ok(stdio::stdin().try_clone_to_owned()?.into())
}

fn told(error: io::Error) -> String {
    format!("the supervisor is gone: {error}")
}
