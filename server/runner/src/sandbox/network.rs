//! A network of a program's own: loopback, and sockets on it that lead to the supervisor.

use std::{
    io::{IoSlice, IoSliceMut},
    mem::MaybeUninit,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::net::UnixStream,
    },
};

use rustix::{
    cmsg_space, io,
    net::{
        AddressFamily, Protocol, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
        SendFlags, SocketFlags, SocketType, recv, recvmsg, send, sendmsg, socket_with,
    },
};

/// NETLINK_ROUTE, which is protocol 0.
const ROUTE: Option<Protocol> = None;

/// Switches on the loopback of the network namespace of this process.
///
/// # Errors
/// When the kernel refuses.
pub(super) fn loopback_up() -> io::Result<()> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, ROUTE)?;
    send(&socket, &link_up(1), SendFlags::empty())?;
    let mut answer = [0_u8; 512];
    let (length, _) = recv(&socket, &mut answer, RecvFlags::empty())?;
    // An NLMSG_ERROR, whose error number is behind its header, negative, and 0 for success.
    let number = answer.get(16..20).filter(|_| length >= 20).and_then(|bytes| bytes.try_into().ok());
    match number.map(i32::from_ne_bytes) {
        Some(0) => Ok(()),
        Some(number) => Err(io::Errno::from_raw_os_error(-number)),
        None => Err(io::Errno::PROTO),
    }
}

/// RTM_NEWLINK (rtnetlink(7)) that sets IFF_UP on the link with this index; loopback is always the first.
fn link_up(index: i32) -> [u8; 32] {
    const NEWLINK: u16 = 16;
    const REQUEST_AND_ACKNOWLEDGE: u16 = 0x1 | 0x4;
    const UP: u32 = 0x1;
    let mut message = [0; 32];
    message[..4].copy_from_slice(&32_u32.to_ne_bytes());
    message[4..6].copy_from_slice(&NEWLINK.to_ne_bytes());
    message[6..8].copy_from_slice(&REQUEST_AND_ACKNOWLEDGE.to_ne_bytes());
    message[8..12].copy_from_slice(&1_u32.to_ne_bytes());
    message[20..24].copy_from_slice(&index.to_ne_bytes());
    message[24..28].copy_from_slice(&UP.to_ne_bytes());
    message[28..32].copy_from_slice(&UP.to_ne_bytes());
    message
}

/// Sockets on the loopback of this network namespace: at each of these addresses, and one more, which is the last, at a free port.
/// They stay there, whoever accepts their connections.
pub(super) fn listen(addresses: &[SocketAddr]) -> std::io::Result<(Vec<TcpListener>, u16)> {
    let mut listeners = addresses.iter().map(TcpListener::bind).collect::<Result<Vec<_>, _>>()?;
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = free.local_addr()?.port();
    listeners.push(free);
    Ok((listeners, port))
}

/// Hands a descriptor to the process at the other end.
pub(super) fn give(socket: &UnixStream, listener: &TcpListener) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds = [listener.as_fd()];
    control.push(SendAncillaryMessage::ScmRights(&fds));
    sendmsg(socket, &[IoSlice::new(b"\n")], &mut control, SendFlags::empty()).map(drop)
}

/// Takes the descriptor that [`give`] hands over.
pub(super) fn take(socket: &UnixStream) -> io::Result<TcpListener> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0_u8; 1];
    recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let found = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    found.map(|fd: OwnedFd| fd.into()).ok_or(io::Errno::PROTO)
}
