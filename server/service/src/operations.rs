//! Long work that is not a run.

use freehold_domain::{
    Error, Result,
    access::Caller,
    names::{OperationName, TenantName},
    operations::Operation,
    resource::{Listed, Page},
};
use freehold_store::operations;
use tokio::time::Instant;

use crate::app::App;

/// Returns an operation.
pub async fn get(app: &App, caller: &Caller, name: &OperationName) -> Result<Operation> {
    let place = app.enter(caller, &name.tenant_name(), &name.to_string()).await?;
    operations::get(&mut app.store.read().await?, place.scope, name.operation).await?.ok_or_else(|| Error::not_found(name))
}

/// Lists the operations of a tenant.
pub async fn list(app: &App, caller: &Caller, parent: &TenantName, page: Page) -> Result<Listed<Operation>> {
    let place = app.enter(caller, parent, &parent.to_string()).await?;
    operations::list(&mut app.store.read().await?, place.scope, page).await
}

/// Waits until an operation is done, or until the end; answers it as it then is.
pub async fn wait(app: &App, caller: &Caller, name: &OperationName, end: Instant) -> Result<Operation> {
    let look = || async { get(app, caller, name).await.map(|operation| Some(operation).filter(|operation| operation.done)) };
    match app.wakeups.wait_for(name.operation, end, look).await? {
        Some(done) => Ok(done),
        None => get(app, caller, name).await,
    }
}
