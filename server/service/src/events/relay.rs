//! The log as somebody works through it who passes it on: one replica at a time, at a place that outlives them all.

use std::{sync::Arc, time::Duration};

use freehold_domain::{Result, events::Logged, time::Uid};
use freehold_store::{INSTALLATION, event_consumers, events};
use prometheus_client::metrics::{counter::Counter, gauge::Gauge};
use tokio::sync::watch::Receiver;

use crate::app::App;

pub use freehold_store::{event_consumers::Claim, events::Cursor};

/// What one who passes the log on is counted by.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Events that were taken.
    pub published: Counter,
    /// 1 while there is a connection to whoever takes them.
    pub connected: Gauge,
}

/// One who passes the log on, by its name.
pub struct Relay {
    app: Arc<App>,
    name: &'static str,
    lease: Duration,
    wake: Receiver<()>,
    /// What is counted of it.
    pub figures: Figures,
}

impl Relay {
    /// One of this name, whose claims last so long after each report.
    pub fn new(app: &Arc<App>, name: &'static str, lease: Duration) -> Self {
        let figures = app.metrics.relayed(name);
        Self { app: Arc::clone(app), name, lease, wake: app.feed.subscribe(INSTALLATION), figures }
    }

    /// Takes the place over; `None` while another replica has it. Who was never here begins with the oldest event that is kept.
    pub async fn claim(&self) -> Result<Option<Claim>> {
        let mut tx = self.app.store.begin_as("server", INSTALLATION).await?;
        let oldest = events::oldest_cursor(events::ends(&mut tx).await?);
        event_consumers::ensure(&mut tx, self.name, oldest).await?;
        let claim = event_consumers::claim(&mut tx, self.name, self.lease).await?;
        tx.commit(&()).await?;
        Ok(claim)
    }

    /// Writes down what was passed on, and keeps the place for another lease; `false` when somebody else has it by now.
    pub async fn report(&self, epoch: i64, to: Cursor) -> Result<bool> {
        let mut tx = self.app.store.begin_as("server", INSTALLATION).await?;
        let ours = event_consumers::report(&mut tx, self.name, epoch, to, self.lease).await?;
        tx.commit(&()).await?;
        Ok(ours)
    }

    /// Lets another replica have the place at once.
    pub async fn release(&self, epoch: i64) -> Result<()> {
        let mut tx = self.app.store.begin_as("server", INSTALLATION).await?;
        event_consumers::release(&mut tx, self.name, epoch).await?;
        tx.commit(&()).await
    }

    /// What comes after a place, at most so much.
    pub async fn after(&mut self, at: Cursor, most: u32) -> Result<Vec<Logged>> {
        self.wake.mark_unchanged();
        events::between(&mut self.app.store.read().await?, INSTALLATION, at.position, i64::MAX, most).await
    }

    /// Waits until something has happened since the last reading.
    pub async fn more(&mut self) {
        // The feed lives as long as the service.
        let _ = self.wake.changed().await;
    }

    /// The place of an event that is kept.
    pub async fn place_of(&self, event: Uid) -> Result<Option<Cursor>> {
        events::place_of(&mut self.app.store.read().await?, event).await
    }

    /// The place before everything that is kept.
    pub async fn oldest(&self) -> Result<Cursor> {
        Ok(events::oldest_cursor(events::ends(&mut self.app.store.read().await?).await?))
    }

    /// A number that differs from replica to replica and from time to time, so that they do not all try again at once.
    pub fn draw(&self) -> u8 {
        let mut byte = [0];
        self.app.random.fill(&mut byte);
        byte[0]
    }
}
