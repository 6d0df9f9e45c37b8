//! The connections that are open.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio_util::sync::CancellationToken;

use crate::peer::{Peer, SpiffeId};

/// The open connections of a listener. Clones speak of the same ones.
#[derive(Clone, Debug, Default)]
pub struct Connections(Arc<Mutex<Open>>);

#[derive(Debug, Default)]
struct Open {
    next: u64,
    by_number: HashMap<u64, (Option<Peer>, CancellationToken)>,
}

impl Connections {
    /// How many are open.
    pub fn len(&self) -> usize {
        self.open().by_number.len()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Closes those of this identity at once, calls in progress included. Returns how many.
    pub fn close_identity(&self, id: &SpiffeId) -> usize {
        self.close(|peer| peer.spiffe_id() == Some(id))
    }

    /// Closes those of this certificate at once, calls in progress included; the serial number is in lower-case hex without
    /// leading zeros. Returns how many.
    pub fn close_serial(&self, serial: &str) -> usize {
        self.close(|peer| peer.serial() == serial)
    }

    pub(super) fn close(&self, which: impl Fn(&Peer) -> bool) -> usize {
        let open = self.open();
        let chosen = open.by_number.values().filter(|(peer, _)| peer.as_ref().is_some_and(&which));
        chosen.map(|(_, close)| close.cancel()).count()
    }

    /// Notes a connection until the entry is dropped.
    pub(super) fn enter(&self, peer: Option<Peer>) -> Entry {
        let close = CancellationToken::new();
        let mut open = self.open();
        let number = open.next;
        open.next += 1;
        open.by_number.insert(number, (peer, close.clone()));
        Entry { number, close, connections: self.clone() }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One open connection.
pub(super) struct Entry {
    /// Counts up from 0 in the listener.
    pub(super) number: u64,
    /// Cancelled when the connection must end at once.
    pub(super) close: CancellationToken,
    connections: Connections,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.connections.open().by_number.remove(&self.number);
    }
}
