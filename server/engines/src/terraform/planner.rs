//! Makes plans.

use std::collections::BTreeMap;

use freehold_domain::blueprints::{DOCUMENT_PATH, Document, Files, Module, Scope, Severity};
use serde_json::{Map, Value};

use super::{
    TerraformEngine,
    bundle::{Bundle, Bytes},
    session::{Material, Session, module_of},
    source::fetch,
    state::{learn_secrets, read},
    workspace::Workspace,
};
use crate::{Level, MadePlan, PlanRequest, Sink, StepError};

/// Compares what a module wants, or what its state says, with what is there.
pub(super) async fn plan(engine: &TerraformEngine, request: PlanRequest, sink: &dyn Sink) -> Result<MadePlan, StepError> {
    let document = parse(&request.files)?;
    let module = module_of(&document)?;
    expect_version(engine, module)?;
    let variables = variables(&document, module, &request)?;
    let secrets: Vec<Value> =
        document.inputs().sensitive_names().iter().filter_map(|name| request.inputs.get(name)).cloned().collect();
    let workspace = Workspace::new(&engine.settings.folder, &request.run, "plan", &module.path);
    let session = Session::new(engine, workspace, sink, &secrets);
    if let Some(state) = request.state.as_ref().filter(|state| !state.is_empty()) {
        let mut redactor = session.redactor.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        learn_secrets(&read(state)?, &mut redactor);
    }
    session.log(Level::Info, &engine.settings.program.version.to_string());
    let made = match &module.git {
        None => make(engine, &request, &session, None, variables, secrets).await,
        Some(git) => match fetch(&session, &request.run, git, &module.path).await {
            Ok(files) => make(engine, &request, &session, Some(files), variables, secrets).await,
            Err(error) => Err(error),
        },
    };
    session.workspace.remove();
    made
}

async fn make(
    engine: &TerraformEngine,
    request: &PlanRequest,
    session: &Session<'_>,
    repository: Option<Files>,
    variables: Map<String, Value>,
    secrets: Vec<Value>,
) -> Result<MadePlan, StepError> {
    let state = request.state.clone().unwrap_or_default();
    let files = repository.as_ref().unwrap_or(&request.files);
    let material = Material { files: files.iter().collect(), variables: &variables, lock: &[], state: &state };
    session.prepare(&material).await?;
    let found = session.plan(request.mode).await?;
    let summary = {
        let redactor = session.redactor.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        found.shown.summary(request.serial, request.mode, &redactor)
    };
    let bundle = Bundle {
        format: Bundle::FORMAT,
        engine: TerraformEngine::NAME.to_owned(),
        program: engine.settings.program.version.clone(),
        run: request.run.clone(),
        deployment: request.deployment.clone(),
        mode: request.mode,
        base_serial: request.serial,
        files: kept(&request.files),
        repository: repository.as_ref().map(kept),
        variables,
        secrets,
        lock: Bytes(found.lock),
        state: Bytes(state),
        plan: Bytes(found.plan),
    };
    Ok(MadePlan { bytes: bundle.to_bytes(), summary })
}

fn kept(files: &Files) -> BTreeMap<String, Bytes> {
    files.iter().map(|(path, content)| (path.to_owned(), Bytes(content.to_vec()))).collect()
}

/// Reads the document of a blueprint.
pub(super) fn parse(files: &Files) -> Result<Document, StepError> {
    let (document, diagnostics) = Document::parse(files);
    document.ok_or_else(|| {
        let errors = diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error);
        let errors: Vec<_> = errors.map(|error| format!("{DOCUMENT_PATH}:{}: {}", error.line, error.message)).collect();
        invalid(errors)
    })
}

/// One error that names every problem of a blueprint.
fn invalid(problems: Vec<String>) -> StepError {
    StepError::new("blueprint-invalid", problems.join("; ")).hint("mend the blueprint or the inputs, and plan again")
}

fn expect_version(engine: &TerraformEngine, module: &Module) -> Result<(), StepError> {
    let version = &engine.settings.program.version;
    match module.version.as_ref().filter(|wanted| !wanted.matches(&version.number)) {
        None => Ok(()),
        Some(wanted) => Err(StepError::new("program-version", format!("the module wants {wanted}; this runner has {version}"))
            .hint("give the environment a pool whose runners have it, or widen `version` in the blueprint")),
    }
}

/// Values of the module's variables.
fn variables(document: &Document, module: &Module, request: &PlanRequest) -> Result<Map<String, Value>, StepError> {
    let Some(written) = &module.variables else { return Ok(request.inputs.clone()) };
    let (facts, resources) = (request.deployment.facts(), BTreeMap::new());
    let scope = Scope { inputs: &request.inputs, resources: &resources, deployment: &facts, files: document.files() };
    let (mut values, mut problems) = (Map::new(), Vec::new());
    for (name, template) in written {
        match template.evaluate(&scope) {
            Ok(value) => {
                values.insert(name.clone(), value);
            }
            Err(error) => problems.push(format!("variable {name}: {error}")),
        }
    }
    if problems.is_empty() { Ok(values) } else { Err(invalid(problems)) }
}
