//! Receipts: what was approved by whom and what was applied on it, in a form that anybody can check who has the public key.

use serde::{Deserialize, Serialize};

use crate::{
    access::Principal,
    names::{ApprovalPolicyName, DeploymentName, EnvironmentName, ReceiptName, RunName, VersionName},
    runs::Run,
    time::Timestamp,
};

/// Says what the signed bytes are, and is signed with them.
pub const PAYLOAD_TYPE: &str = "application/vnd.freehold.receipt.v1+json";

/// A receipt as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Its name; the number in it is its place in the chain of its tenant, from 1.
    pub name: ReceiptName,
    /// The run.
    pub run: RunName,
    /// Which end of the apply it is about.
    pub kind: ReceiptKind,
    /// SHA-256 of the envelope, `sha256:…`.
    pub digest: String,
    /// Id of the key that signed it.
    pub key_id: String,
    /// When it was signed.
    pub create_time: Timestamp,
    /// The signed bytes with their signature, one line of JSON.
    pub envelope: String,
}

/// Which end of an apply a receipt is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ReceiptKind {
    /// The apply began.
    Begun,
    /// The apply ended.
    Ended,
}

/// The public half of a key that signs receipts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptKey {
    /// Its number, from 1; the highest one signs.
    pub number: i64,
    /// The 32 bytes of the Ed25519 public key (RFC 8032).
    pub public: Vec<u8>,
    /// When it was made.
    pub create_time: Timestamp,
}

/// What is signed, as JSON in this order of fields; deploy/receipts.md describes each.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[expect(missing_docs, reason = "as in deploy/receipts.md")]
pub struct Statement {
    pub kind: ReceiptKind,
    pub installation: String,
    pub sequence: i64,
    pub previous: String,
    pub time: String,
    pub audit_record: String,
    pub run: RunName,
    pub run_kind: &'static str,
    pub author: Principal,
    pub environment: EnvironmentName,
    pub deployment: DeploymentName,
    pub blueprint_version: VersionName,
    pub blueprint_digest: String,
    pub inputs_digest: String,
    pub review_digest: String,
    pub plan: PlanStatement,
    pub demand: DemandStatement,
    pub approvals: Vec<ApprovalStatement>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<EndStatement>,
}

/// The plan of a receipt.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[expect(missing_docs, reason = "as in deploy/receipts.md")]
pub struct PlanStatement {
    pub digest: String,
    pub engine: String,
    pub binding: &'static str,
    pub base_serial: i64,
    pub time: String,
    pub create: i32,
    pub update: i32,
    pub replace: i32,
    pub delete: i32,
    pub reversible: i32,
    pub data_loss: i32,
    pub irreversible: i32,
    pub unknown: i32,
}

/// What the plan of a receipt needed.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[expect(missing_docs, reason = "as in deploy/receipts.md")]
pub struct DemandStatement {
    pub policy: Option<ApprovalPolicyName>,
    pub policy_digest: String,
    pub rule: String,
    pub approvals: u32,
    pub from: Vec<String>,
    pub allow_self_approval: bool,
}

/// One approval of a receipt.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[expect(missing_docs, reason = "as in deploy/receipts.md")]
pub struct ApprovalStatement {
    pub principal: Principal,
    pub time: String,
    pub channel: String,
    pub comment_digest: String,
    pub plan_digest: String,
    pub review_digest: String,
}

/// How the apply of a receipt ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[expect(missing_docs, reason = "as in deploy/receipts.md")]
pub struct EndStatement {
    pub outcome: &'static str,
    pub changed: bool,
    pub state_serial: i64,
    pub error: String,
}

/// Where a receipt stands in its chain, and what signs it.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as in deploy/receipts.md")]
pub struct Link {
    pub installation: String,
    pub sequence: i64,
    pub previous: String,
    pub time: Timestamp,
    pub audit_record: String,
}

impl Statement {
    /// Of a run whose apply begins, or has ended with the state of this serial. `digest` is SHA-256 of a text, `sha256:…`.
    ///
    /// `None` of a run that never had a plan.
    pub fn of(run: &Run, link: Link, ended_at: Option<i64>, digest: impl Fn(&str) -> String) -> Option<Self> {
        let plan = run.plan.as_ref()?;
        let deployment = run.name.deployment_name();
        let counted = run.approvals.iter().filter(|approval| approval.void.is_none());
        let end = match (ended_at, run.outcome) {
            (Some(state_serial), Some(outcome)) => Some(EndStatement {
                outcome: outcome.as_str(),
                changed: run.changed,
                state_serial,
                error: run.error.as_ref().map(|error| error.code.clone()).unwrap_or_default(),
            }),
            _ => None,
        };
        Some(Self {
            kind: if end.is_some() { ReceiptKind::Ended } else { ReceiptKind::Begun },
            installation: link.installation,
            sequence: link.sequence,
            previous: link.previous,
            time: link.time.to_string(),
            audit_record: link.audit_record,
            run: run.name.clone(),
            run_kind: run.kind.as_str(),
            author: run.creator.clone(),
            environment: deployment.environment_name(),
            deployment,
            blueprint_version: run.blueprint_version.clone(),
            blueprint_digest: plan.reviewed.blueprint_digest.clone(),
            inputs_digest: plan.reviewed.inputs_digest.clone(),
            review_digest: run.review_digest(),
            plan: PlanStatement {
                digest: plan.digest.clone(),
                engine: run.engine.clone(),
                binding: plan.binding.as_str(),
                base_serial: plan.base_serial,
                time: plan.create_time.to_string(),
                create: plan.create,
                update: plan.update,
                replace: plan.replace,
                delete: plan.delete,
                reversible: plan.reversibility.reversible,
                data_loss: plan.reversibility.data_loss,
                irreversible: plan.reversibility.irreversible,
                unknown: plan.reversibility.unknown,
            },
            demand: DemandStatement {
                policy: run.demand.policy.clone(),
                policy_digest: run.demand.policy_digest.clone(),
                rule: run.demand.rule.clone(),
                approvals: run.demand.require.approvals,
                from: run.demand.require.from.iter().map(ToString::to_string).collect(),
                allow_self_approval: run.demand.require.allow_self_approval,
            },
            approvals: counted
                .map(|approval| ApprovalStatement {
                    principal: approval.principal.clone(),
                    time: approval.create_time.to_string(),
                    channel: approval.channel.clone(),
                    comment_digest: digest(&approval.comment),
                    plan_digest: approval.plan_digest.clone(),
                    review_digest: approval.review_digest.clone(),
                })
                .collect(),
            end,
        })
    }
}

/// The bytes that a signature is made of: the pre-authentication encoding of DSSE v1.
pub fn to_sign(payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!("DSSEv1 {} {PAYLOAD_TYPE} {} ", PAYLOAD_TYPE.len(), payload.len()).into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}
