//! The master key of an installation is the one that its database was begun with, or nothing in it opens.

use freehold_domain::{Error, Reason, Result, time::Uid};
use freehold_store::{INSTALLATION, master_key};

use crate::App;

/// Refuses a master key that is not the one of this database. Called before anything is written: what is sealed with a wrong key
/// is lost as soon as the right one is back.
///
/// # Errors
/// `STATE_NOT_ALLOWED` when it is another one.
pub async fn check(app: &App) -> Result<()> {
    let refuse = |right: bool| if right { Ok(()) } else { Err(another()) };
    if let Some(mark) = master_key::get(&mut app.store.read().await?).await? {
        return refuse(app.master_key.made(&mark));
    }
    // A database of a version that kept no mark is told by a tenant's key.
    let mut tx = app.store.begin_as("server", INSTALLATION).await?;
    if let Some((tenant, wrapped)) = master_key::oldest_data_key(&mut tx).await? {
        refuse(app.master_key.unwrap(Uid(tenant), &wrapped).is_ok())?;
    }
    master_key::insert(&mut tx, &app.master_key.mark(app.random.as_ref())?).await?;
    tx.commit(&()).await?;
    // Another replica may have been first, with another key.
    let mark = master_key::get(&mut app.store.read().await?).await?;
    refuse(mark.is_some_and(|mark| app.master_key.made(&mark)))
}

fn another() -> Error {
    Error::new(
        Reason::StateNotAllowed,
        "the master key is not the one that this database was begun with, and would open nothing in it; \
         start with the file that --master-key named before, or restore it from your backup",
    )
}
