//! The program's state, as the engine needs it.

use std::collections::BTreeMap;

pub(super) use freehold_domain::terraform_state::TerraformState;

use crate::{OutputValue, Redactor, Snapshot, StepError};

/// Reads a state.
///
/// # Errors
/// `state-invalid` when it is none, or of a version that this cannot read.
pub(super) fn read(bytes: &[u8]) -> Result<TerraformState, StepError> {
    TerraformState::read(bytes)
        .map_err(|why| StepError::new("state-invalid", why).hint("restore an earlier state version of the deployment"))
}

/// A state as the server keeps it.
///
/// # Errors
/// `state-invalid` when it is none.
pub(super) fn snapshot(bytes: Vec<u8>) -> Result<Snapshot, StepError> {
    let resources = read(&bytes)?.managed();
    Ok(Snapshot { bytes, resources })
}

/// Teaches the redactor every value that is marked as secret.
pub(super) fn learn_secrets(state: &TerraformState, redactor: &mut Redactor) {
    state.secrets().into_iter().for_each(|secret| redactor.learn(secret));
}

/// The outputs in a state.
pub(super) fn outputs(state: TerraformState) -> BTreeMap<String, OutputValue> {
    let output = |(name, output): (String, freehold_domain::terraform_state::TerraformOutput)| {
        (name, OutputValue { value: output.value, sensitive: output.sensitive })
    };
    state.outputs.into_iter().map(output).collect()
}
