//! The last stretch of a transaction that changes counters: its tenant's counters are locked from there to its end.
//!
//! Without a queue in front of them, each connection would wait for these rows inside of the database, where the end of one
//! transaction wakes every other to look again. Of one process, only the transaction whose turn it is does that.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use freehold_domain::access::TenantScope;
use tokio::sync::{Mutex as Queue, OwnedMutexGuard};
use uuid::Uuid;

/// The queues of all tenants that are being written to.
#[derive(Clone, Default)]
pub(crate) struct Turns(Arc<Mutex<HashMap<Uuid, Arc<Queue<()>>>>>);

impl Turns {
    /// The place of a transaction, which waits for nothing before [`Turn::take`].
    pub(crate) fn of(&self, tenant: TenantScope) -> Turn {
        Turn { turns: self.clone(), tenant: tenant.0.0, held: None }
    }
}

/// A transaction's turn, which ends when it is dropped.
pub(crate) struct Turn {
    turns: Turns,
    tenant: Uuid,
    held: Option<OwnedMutexGuard<()>>,
}

impl Turn {
    /// Waits for the turn. From here to its end the transaction must wait for nothing but counters.
    pub(crate) async fn take(&mut self) {
        let queue = {
            let mut queues = self.turns.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(queues.entry(self.tenant).or_default())
        };
        self.held = Some(queue.lock_owned().await);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.held.take().is_none() {
            return;
        }
        let mut queues = self.turns.0.lock().unwrap_or_else(PoisonError::into_inner);
        if queues.get(&self.tenant).is_some_and(|queue| Arc::strong_count(queue) == 1) {
            queues.remove(&self.tenant);
        }
    }
}
