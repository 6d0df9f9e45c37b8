//! Compiles the contract without `protoc`, and refuses a contract in which a method has no policy.

use std::{env, fmt::Write as _, fs, path::Path};

use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor, ReflectMessage as _};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    println!("cargo::rerun-if-changed={}", root.display());
    let mut files = Vec::new();
    protos(&root, &mut files)?;
    files.sort();

    let out = env::var("OUT_DIR")?;
    let mut compiler = protox::Compiler::new([&root])?;
    compiler.include_imports(true).include_source_info(true).open_files(&files)?;
    let pool = compiler.descriptor_pool();

    fs::write(Path::new(&out).join("methods.rs"), methods(&pool)?)?;
    fs::write(Path::new(&out).join("freehold.bin"), without_source(compiler.file_descriptor_set()).encode_to_vec())?;
    tonic_prost_build::configure()
        .build_client(env::var_os("CARGO_FEATURE_CLIENT").is_some())
        .build_server(env::var_os("CARGO_FEATURE_SERVER").is_some())
        .build_transport(false)
        .btree_map(".")
        .skip_debug(SECRET)
        .include_file("freehold.rs")
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}

/// Messages that carry a secret: their `Debug` is written by hand and shows none of it.
const SECRET: &[&str] = &[
    ".freehold.deployments.v1.DownloadLateResultResponse",
    ".freehold.deployments.v1.DownloadStateResponse",
    ".freehold.deployments.v1.ImportStateRequest",
    ".freehold.deployments.v1.WriteStateRequest",
    ".freehold.iam.v1.AuthorizationCode",
    ".freehold.iam.v1.CreateApiKeyResponse",
    ".freehold.iam.v1.ExchangeTokenRequest",
    ".freehold.iam.v1.ExchangeTokenResponse",
    ".freehold.iam.v1.RevokeRefreshTokenRequest",
    ".freehold.integrations.v1.CreateWebhookEndpointResponse",
    ".freehold.integrations.v1.RotateWebhookSecretResponse",
    ".freehold.integrations.v1.Connection",
    ".freehold.integrations.v1.InboundMessage",
    ".freehold.integrations.v1.InvokeConnectionRequest",
    ".freehold.integrations.v1.InvokeConnectionResponse",
    ".freehold.integrations.v1.LinkAccountRequest",
    ".freehold.integrations.v1.RotateConnectionCredentialsRequest",
    ".freehold.runners.v1.ApplyResult",
    ".freehold.runners.v1.CreateRegistrationTokenResponse",
    ".freehold.runners.v1.Job",
    ".freehold.runners.v1.JournalEntry",
    ".freehold.runners.v1.PlanResult",
    ".freehold.runners.v1.RegisterRunnerRequest",
    ".freehold.runners.v1.ReportJobProgressRequest",
];

fn protos(dir: &Path, files: &mut Vec<std::path::PathBuf>) -> Result<(), Failure> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            protos(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            files.push(path);
        }
    }
    Ok(())
}

/// Comments stay out of what every binary embeds.
fn without_source(mut set: prost_types::FileDescriptorSet) -> prost_types::FileDescriptorSet {
    for file in &mut set.file {
        file.source_code_info = None;
    }
    set
}

/// One line of Rust for each method: the policy table.
fn methods(pool: &DescriptorPool) -> Result<String, Failure> {
    let mut all: Vec<MethodDescriptor> = pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()).collect();
    all.sort_by_key(path);
    let extension = pool.get_extension_by_name("freehold.common.v1.policy").ok_or("the policy extension is missing")?;
    let mut rust =
        String::from("/// Every method of the contract with its policy, ordered by path.\npub static METHODS: &[Method] = &[\n");
    let mut missing = Vec::new();
    for method in all {
        let options = method.options();
        if !options.has_extension(&extension) {
            missing.push(path(&method));
            continue;
        }
        let value = options.get_extension(&extension);
        let policy = value.as_message().ok_or("the policy is not a message")?;
        let permission = text(policy, "permission");
        let (public, any) = (flag(policy, "public"), flag(policy, "any_caller"));
        if [!permission.is_empty(), public, any].iter().filter(|set| **set).count() != 1 {
            return Err(format!("{}: say exactly one of permission, public and any_caller", path(&method)).into());
        }
        let quota = policy.get_field_by_name("quota").filter(|_| policy.has_field_by_name("quota"));
        let quota = match quota.as_deref().and_then(|value| value.as_message()) {
            None => "None".to_owned(),
            Some(cost) => {
                let amount = cost.get_field_by_name("amount").and_then(|value| value.as_i64()).unwrap_or_default();
                format!("Some((Dimension::{}, {amount}))", variant(cost, "dimension", "DIMENSION_")?)
            }
        };
        let deadline = policy.get_field_by_name("max_deadline").ok_or("max_deadline")?;
        let deadline = deadline.as_message().and_then(|d| d.get_field_by_name("seconds")?.as_i64()).unwrap_or_default();
        if deadline <= 0 {
            return Err(format!("{}: say its max_deadline", path(&method)).into());
        }
        writeln!(
            rust,
            "    Method {{ path: {:?}, permission: {permission:?}, public: {public}, any_caller: {any}, quota: {quota}, kind: MethodKind::{}, audit: AuditLevel::{}, service_class: ServiceClass::{}, cost: {}, max_deadline: Duration::from_secs({deadline}), streams: {} }},",
            path(&method),
            variant(policy, "kind", "METHOD_KIND_")?,
            variant(policy, "audit", "AUDIT_LEVEL_")?,
            variant(policy, "service_class", "SERVICE_CLASS_")?,
            policy.get_field_by_name("cost").and_then(|value| value.as_u32()).unwrap_or_default(),
            method.is_server_streaming(),
        )?;
    }
    if !missing.is_empty() {
        return Err(format!("methods without a policy: {}", missing.join(", ")).into());
    }
    rust.push_str("];\n");
    Ok(rust)
}

fn path(method: &MethodDescriptor) -> String {
    format!("/{}/{}", method.parent_service().full_name(), method.name())
}

fn text(message: &DynamicMessage, field: &str) -> String {
    message.get_field_by_name(field).and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

fn flag(message: &DynamicMessage, field: &str) -> bool {
    message.get_field_by_name(field).and_then(|value| value.as_bool()).unwrap_or_default()
}

fn variant(message: &DynamicMessage, field: &str, prefix: &str) -> Result<String, Failure> {
    let descriptor = message.descriptor().get_field_by_name(field).ok_or(field)?;
    let number = message.get_field(&descriptor).as_enum_number().unwrap_or_default();
    let kind = descriptor.kind();
    let value = kind.as_enum().and_then(|all| all.get_value(number)).ok_or(field)?;
    let name = value.name().strip_prefix(prefix).ok_or(field)?;
    if name == "UNSPECIFIED" {
        return Err(format!("a policy leaves out `{field}`").into());
    }
    Ok(name.split('_').map(|word| word[..1].to_owned() + &word[1..].to_lowercase()).collect())
}
