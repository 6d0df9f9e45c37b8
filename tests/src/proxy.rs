//! A line between two processes that a test can cut: in both directions, or in one, as a network does.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
};

/// What does not get through. Nobody is told: connections stay open, and what is sent into them waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// What clients say.
    pub there: bool,
    /// What the server answers.
    pub back: bool,
}

impl Cut {
    /// In both directions.
    pub const BOTH: Self = Self { there: true, back: true };
    /// The server hears nothing.
    pub const THERE: Self = Self { there: true, back: false };
    /// The server hears and does everything, and its answers are not heard.
    pub const BACK: Self = Self { there: false, back: true };
}

/// The line.
pub struct Proxy {
    /// Where clients connect to.
    pub address: SocketAddr,
    cut: watch::Sender<Cut>,
    severed: watch::Sender<()>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// A line to this server.
    pub async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let cut = watch::Sender::new(Cut::default());
        let severed = watch::Sender::new(());
        let (state, ends) = (cut.clone(), severed.clone());
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let state = state.clone();
                let mut end = ends.subscribe();
                tokio::spawn(async move {
                    let server = TcpStream::connect(server).await.ok()?;
                    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
                    let there = pump(from_client, to_server, state.subscribe(), |cut| cut.there);
                    let back = pump(from_server, to_client, state.subscribe(), |cut| cut.back);
                    tokio::select! {
                        ((), ()) = async { tokio::join!(there, back) } => {}
                        _ = end.changed() => {}
                    }
                    Some(())
                });
            }
        });
        Self { address, cut, severed, accepting }
    }

    /// Cuts the line so.
    pub fn cut(&self, cut: Cut) {
        self.cut.send_replace(cut);
    }

    /// Closes every connection there is; new ones get through.
    pub fn sever(&self) {
        self.severed.send_replace(());
    }

    /// Makes it whole; what waited gets through.
    pub fn heal(&self) {
        self.cut.send_replace(Cut::default());
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Hands on what comes as long as the line is not cut.
async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut state: watch::Receiver<Cut>, is_cut: fn(&Cut) -> bool) {
    let mut bytes = vec![0; 16 << 10];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        // An end of the test is an end of the line.
        if state.wait_for(|cut| !is_cut(cut)).await.is_err() || to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}
