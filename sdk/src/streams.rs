//! Streams that a task fills, which opens what they are made of again when it breaks.

use std::time::Duration;

use futures::stream;
use tokio::sync::mpsc;

use crate::{error::Result, list::Answers};

/// A stream without a message for so long is taken for dead and opened again: three signs of life of the server.
pub(crate) const IDLE: Duration = Duration::from_secs(45);

/// Where a task puts what it reads.
pub(crate) type Out<T> = mpsc::Sender<Result<T>>;

/// A stream of what the work puts out. The work ends with the stream, and its failure is the stream's last item.
pub(crate) fn in_task<T, F>(work: impl FnOnce(Out<T>) -> F) -> Answers<T>
where
    T: Send + 'static,
    F: Future<Output = Result<()>> + Send + 'static,
{
    let (out, answers) = mpsc::channel(16);
    let work = work(out.clone());
    tokio::spawn(async move {
        tokio::select! {
            done = work => if let Err(error) = done {
                // Nobody listens any more when this fails, and then nobody needs it.
                let _ = out.send(Err(error)).await;
            },
            () = out.closed() => {}
        }
    });
    Box::pin(stream::unfold(answers, |mut answers| async move { Some((answers.recv().await?, answers)) }))
}

/// Nobody listens any more.
pub(crate) struct Gone;

pub(crate) async fn put<T>(out: &Out<T>, item: T) -> Result<(), Gone> {
    out.send(Ok(item)).await.map_err(|_| Gone)
}
