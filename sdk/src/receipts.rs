//! Receipts: signed records of what was approved and applied, and the keys to check them with.

use freehold_proto::approvals::v1 as pb;
use jiff::Timestamp;

use crate::{
    call::{Call, options, request, service},
    channel::new_id,
    list::{List, list},
    names::Kind,
    wire::{Lift, resource, values},
};

resource! {
    /// A receipt. What is signed is in `envelope`, and [`verify_receipts`](crate::verify_receipts) checks it; the other fields are
    /// there to find it by and prove nothing.
    Receipt = pb::Receipt {
        /// Resource name: `tenants/{tenant}/receipts/{sequence}`.
        name: String,
        /// Its place in the chain of the tenant, from 1.
        sequence: i64,
        /// The run.
        run: String,
        /// Which end of the apply it is about.
        kind: ReceiptKind,
        /// Digest of the envelope, `sha256:…`; the next receipt names it.
        digest: String,
        /// Id of the key that signed it.
        key_id: String,
        /// When it was signed.
        create_time: Option<Timestamp>,
        /// The signed bytes with their signature, one line of JSON without its end.
        envelope: String,
    }
}

values! {
    /// Which end of an apply a receipt is about.
    ReceiptKind {
        /// The apply began.
        Begun = 1 "BEGUN",
        /// The apply ended.
        Ended = 2 "ENDED",
    }
}

resource! {
    /// A public key that receipts were or are signed with.
    ReceiptKey = pb::ReceiptKey {
        /// Resource name: `receiptKeys/{number}`.
        name: String,
        /// SHA-256 of the public key as DER, in hexadecimal digits.
        key_id: String,
        /// The public key as PEM.
        public_key_pem: String,
        /// When it was made.
        create_time: Option<Timestamp>,
    }
}

service! {
    /// Receipts; see [`Client::receipts`](crate::Client::receipts).
    Receipts
}

impl Receipts {
    /// Lists the receipts of the client's tenant in the order of their chain, oldest first.
    pub fn list(&self) -> List<Receipt> {
        let call = Call::new(&self.core, pb::ListReceiptsRequest::default()).in_tenant(|request, parent| request.parent = parent);
        list!(call, "/freehold.approvals.v1.ReceiptService/ListReceipts", pb::ListReceiptsResponse { receipts })
    }

    /// Lists the receipts of one run: one of the beginning of its apply, one of the end.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found).
    pub fn of_run(&self, run: impl AsRef<str>) -> ListRunReceipts {
        let call = Call::new(&self.core, pb::ListRunReceiptsRequest::default());
        ListRunReceipts { call: call.name(Kind::Run, run.as_ref(), |request, name| request.name = name) }
    }

    /// Lists the public keys of the installation, oldest first.
    pub fn keys(&self) -> ListReceiptKeys {
        ListReceiptKeys { call: Call::new(&self.core, pb::ListReceiptKeysRequest {}) }
    }

    /// Has new receipts signed with a new key, for platform administrators. The old ones stay, to check with.
    ///
    /// # Errors
    /// [`is_permission_denied`](crate::Error::is_permission_denied).
    pub fn rotate_key(&self) -> RotateReceiptKey {
        let request = pb::RotateReceiptKeyRequest { request_id: new_id() };
        RotateReceiptKey { call: Call::new(&self.core, request) }
    }
}

request! {
    /// Receipts to list; see [`Receipts::of_run`].
    ListRunReceipts(pb::ListRunReceiptsRequest) -> Vec<Receipt> =
        "/freehold.approvals.v1.ReceiptService/ListRunReceipts",
        |answer: pb::ListRunReceiptsResponse| Ok(answer.receipts.lift())
}

request! {
    /// Keys to list; see [`Receipts::keys`].
    ListReceiptKeys(pb::ListReceiptKeysRequest) -> Vec<ReceiptKey> =
        "/freehold.approvals.v1.ReceiptService/ListReceiptKeys",
        |answer: pb::ListReceiptKeysResponse| Ok(answer.receipt_keys.lift())
}

request! {
    /// A key to make; see [`Receipts::rotate_key`].
    RotateReceiptKey(pb::RotateReceiptKeyRequest) -> ReceiptKey =
        "/freehold.approvals.v1.ReceiptService/RotateReceiptKey", pb::RotateReceiptKeyResponse { receipt_key }
}
options!(RotateReceiptKey: request_id);
