//! Operations: long work that is not a run.

use freehold_proto::operations::v1 as pb;
use jiff::Timestamp;

use crate::{
    call::{Call, present, request, service},
    error::Result,
    list::{List, list},
    names::Kind,
    retry::Patience,
    wire::{Lift, resource},
};

resource! {
    /// Long work that is not a run. Kept for 30 days.
    Operation = pb::Operation {
        /// Resource name: `tenants/{tenant}/operations/{uid}`.
        name: String,
        /// What is done, for example `tenants.delete`.
        kind: String,
        /// The resource it is done to.
        target: String,
        /// Ended, well or badly.
        done: bool,
        /// Why it failed; absent while it runs and when it succeeded.
        error: Option<OperationError>,
        /// Resources it left; read them with the usual get.
        result_names: Vec<String>,
        /// When it began.
        create_time: Option<Timestamp>,
        /// When it last moved.
        update_time: Option<Timestamp>,
    }
}

resource! {
    /// Why an operation failed.
    OperationError = pb::OperationError {
        /// A reason of the contract's `ErrorReason`.
        reason: String,
        /// What to do about it.
        message: String,
    }
}

service! {
    /// Operations; see [`Client::operations`](crate::Client::operations).
    Operations
}

impl Operations {
    /// Reads one operation.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found).
    pub fn get(&self, name: impl AsRef<str>) -> GetOperation {
        let call = Call::new(&self.core, pb::GetOperationRequest::default());
        GetOperation { call: call.name(Kind::Operation, name.as_ref(), |request, name| request.name = name) }
    }

    /// Lists the operations of the client's tenant, oldest first.
    pub fn list(&self) -> List<Operation> {
        let call =
            Call::new(&self.core, pb::ListOperationsRequest::default()).in_tenant(|request, parent| request.parent = parent);
        list!(call, "/freehold.operations.v1.OperationService/ListOperations", pb::ListOperationsResponse { operations })
    }

    /// Waits until an operation has ended, well or badly, however long that takes. A server that is away for less than five
    /// minutes does not end the wait.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found). A failed operation is an answer, not an error.
    pub async fn wait_done(&self, name: impl AsRef<str>) -> Result<Operation> {
        let call =
            Call::new(&self.core, pb::WaitOperationRequest::default())
                .name(Kind::Operation, name.as_ref(), |request, name| request.name = name);
        let mut patience = Patience::new(self.core.policy);
        loop {
            let answer =
                call.clone().send::<pb::WaitOperationResponse>("/freehold.operations.v1.OperationService/WaitOperation").await;
            match answer {
                Ok(answer) => {
                    let operation: Operation = present(answer.operation, "operation")?.lift();
                    if operation.done {
                        return Ok(operation);
                    }
                    patience.restored();
                }
                Err(error) => patience.wait(error).await?,
            }
        }
    }
}

request! {
    /// An operation to read; see [`Operations::get`].
    GetOperation(pb::GetOperationRequest) -> Operation =
        "/freehold.operations.v1.OperationService/GetOperation", pb::GetOperationResponse { operation }
}
