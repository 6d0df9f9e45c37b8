//! The command line of Freehold, over its SDK. The binary `freehold` takes [`GlobalArgs`] and [`Command`] into its own
//! command line and hands them to [`run`].

use std::{io::Write as _, process::ExitCode};

use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};

mod approvals;
mod commands;
mod config;
mod document;
mod explanation;
mod failure;
mod follow;
mod input;
mod plan;
mod screen;
mod show;
mod table;
mod terraform;
mod yaml;

pub use clap_complete::Shell;

use commands::{
    access::{RoleBindingCommand, RoleCommand},
    api_keys::ApiKeyCommand,
    approval_policies::ApprovalPolicyCommand,
    audit::AuditCommand,
    blueprints::BlueprintCommand,
    connections::{ConnectionCommand, ConnectorCommand},
    deployments::DeploymentCommand,
    drift::DriftCommand,
    environments::EnvironmentCommand,
    events::EventCommand,
    import::ImportCommand,
    notification_rules::NotificationRuleCommand,
    operations::OperationCommand,
    projects::ProjectCommand,
    quotas::QuotaCommand,
    receipts::ReceiptCommand,
    runner_pools::RunnerPoolCommand,
    runs::RunCommand,
    secret_stores::SecretStoreCommand,
    service_accounts::ServiceAccountCommand,
    state::StateCommand,
    tenants::TenantCommand,
    users::UserCommand,
    webhook_endpoints::WebhookCommand,
};
use failure::Failure;
use screen::Screen;

/// What the long help of the program ends with.
pub const AFTER_HELP: &str = "\
Environment:
  FREEHOLD_ENDPOINT, FREEHOLD_CA, FREEHOLD_CERT, FREEHOLD_KEY, FREEHOLD_TENANT, FREEHOLD_TOKEN, FREEHOLD_API_KEY
                     as the options of the same name; an option wins over the environment, and both win over a profile
  FREEHOLD_PROFILE   the profile to use
  FREEHOLD_CONFIG    the file with the profiles; ~/.config/freehold/config.toml if not set
  NO_COLOR           no colours

Configuration file:
  default_profile = \"dev\"
  [profiles.dev]
  endpoint = \"https://localhost:7443\"
  ca = \"ca.pem\"          # paths are relative to this file
  cert = \"client.pem\"
  key = \"client.key\"
  tenant = \"acme\"

Exit codes:
  0  done
  1  the call failed, or a check found something
  2  the command line or the request is wrong
  3  there is no such thing
  4  refused: who you are is not known, or you may not
  5  a quota is used up
  6  its state does not allow it, it exists already, or somebody else was first
  7  the server cannot be reached, is too busy or too slow
  8  the run ended badly
  9  it still goes on, and --timeout is over
  130  Ctrl-C; the last line says what has become of what was under way";

/// Options that every command takes.
#[derive(Args, Clone, Debug, Default)]
pub struct GlobalArgs {
    /// Server, https://host:port; several separated by commas
    #[arg(long, global = true, value_name = "URL", help_heading = "Connection")]
    pub endpoint: Option<String>,
    /// PEM file with the CA that signs the server's certificate
    #[arg(long, global = true, value_name = "FILE", help_heading = "Connection")]
    pub ca: Option<String>,
    /// PEM file with the client certificate
    #[arg(long, global = true, value_name = "FILE", help_heading = "Connection")]
    pub cert: Option<String>,
    /// PEM file with the key of the client certificate
    #[arg(long, global = true, value_name = "FILE", help_heading = "Connection")]
    pub key: Option<String>,
    /// Tenant that short names belong to
    #[arg(long, global = true, value_name = "TENANT", help_heading = "Connection")]
    pub tenant: Option<String>,
    /// Bearer token; better given as FREEHOLD_TOKEN, which other users of the machine cannot see
    #[arg(long, global = true, value_name = "TOKEN", hide_env_values = true, help_heading = "Connection")]
    pub token: Option<String>,
    /// Profile of the configuration file
    #[arg(long, global = true, value_name = "NAME", help_heading = "Connection")]
    pub profile: Option<String>,
    /// How results are shown
    #[arg(long, short, global = true, value_enum, default_value_t, help_heading = "Output")]
    pub output: Output,
    /// Says nothing but results and errors
    #[arg(long, short, global = true, help_heading = "Output")]
    pub quiet: bool,
}

/// How results are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Tables, for people.
    #[default]
    Table,
    /// The full resource as JSON; streams are one object a line.
    Json,
    /// The full resource as YAML.
    Yaml,
}

/// What can be done with an installation.
#[derive(Subcommand, Clone, Debug)]
pub enum Command {
    /// Tenants, for platform administrators
    #[command(subcommand)]
    Tenant(TenantCommand),
    /// Projects of a tenant
    #[command(subcommand)]
    Project(ProjectCommand),
    /// Environments of a project: shop/dev
    #[command(subcommand)]
    Environment(EnvironmentCommand),
    /// Quotas of a tenant
    #[command(subcommand)]
    Quota(QuotaCommand),
    /// People of a tenant
    #[command(subcommand)]
    User(UserCommand),
    /// Programs of a tenant and their certificate identities
    #[command(subcommand)]
    ServiceAccount(ServiceAccountCommand),
    /// Long-lived secrets that are exchanged for short tokens
    #[command(subcommand)]
    ApiKey(ApiKeyCommand),
    /// Roles of the installation
    #[command(subcommand)]
    Role(RoleCommand),
    /// Who has which role where
    #[command(subcommand)]
    RoleBinding(RoleBindingCommand),
    /// Blueprints, their drafts and versions: greeting, greeting@1.0.0
    #[command(subcommand)]
    Blueprint(BlueprintCommand),
    /// Deployments: shop/dev/web
    #[command(subcommand)]
    Deployment(DeploymentCommand),
    /// What is not as it was made: found on schedule, taken by somebody, put right or accepted
    #[command(subcommand)]
    Drift(DriftCommand),
    /// What deployments have made: its versions, downloads, locks, resources and their graph
    #[command(subcommand)]
    State(StateCommand),
    /// Brings what was made without Freehold under its care
    #[command(subcommand)]
    Import(ImportCommand),
    /// Runs of deployments: shop/dev/web/RUN
    #[command(subcommand)]
    Run(RunCommand),
    /// Rules on whose approval plans need
    #[command(subcommand)]
    ApprovalPolicy(ApprovalPolicyCommand),
    /// Stores of secrets that inputs name secrets in
    #[command(subcommand)]
    SecretStore(SecretStoreCommand),
    /// Connections to other systems, and what those called us for
    #[command(subcommand)]
    Connection(ConnectionCommand),
    /// Systems that connections can be made to
    #[command(subcommand)]
    Connector(ConnectorCommand),
    /// Signed receipts of what was approved and applied
    #[command(subcommand)]
    Receipt(ReceiptCommand),
    /// Runner pools and their runners, for platform administrators
    #[command(subcommand)]
    RunnerPool(RunnerPoolCommand),
    /// Who did what
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Webhooks: events sent to receivers over HTTP, signed
    #[command(subcommand)]
    Webhook(WebhookCommand),
    /// Rules on who is told what of what happens
    #[command(subcommand)]
    NotificationRule(NotificationRuleCommand),
    /// What happens: followed, or looked up
    #[command(subcommand)]
    Event(EventCommand),
    /// Long work that is not a run
    #[command(subcommand)]
    Operation(OperationCommand),
    /// Who you are, and by what proof
    Whoami,
    /// Writes the completions of a shell to standard output
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// The client's commands as a program of their own.
#[derive(Parser)]
#[command(name = "freehold", version, about = "Freehold, a control plane for infrastructure", after_long_help = AFTER_HELP)]
struct Program {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: Command,
}

/// The client's commands as a program of their own, for completions and documentation.
pub fn command() -> clap::Command {
    Program::command()
}

/// Writes the completions of a program to standard output. A program with more commands than the client's calls this itself.
pub fn completions(shell: Shell, program: &mut clap::Command) {
    let name = program.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, program, name, &mut script);
    // Whoever closes the pipe has read enough.
    let _ = std::io::stdout().write_all(&script);
}

/// A plan as the commands show it, without colours.
pub fn plan_text(plan: &freehold::RunPlan) -> String {
    anstream::adapter::strip_str(&plan::plan(plan)).to_string()
}

/// The client that options, environment and profile describe.
///
/// # Errors
/// What is missing or wrong, in words.
pub async fn client(global: &GlobalArgs) -> Result<freehold::Client, String> {
    let settings = config::settings(global, &config::Environment::process()).map_err(|failure| failure.to_string())?;
    settings.client().await.map_err(|failure| failure.to_string())
}

/// Does what the command says, shows the result or the error, and returns one of the exit codes that the help names.
pub async fn run(global: GlobalArgs, command: Command) -> ExitCode {
    if let Command::Completions { shell } = command {
        completions(shell, &mut self::command());
        return ExitCode::SUCCESS;
    }
    let mut screen = Screen::standard(global.output, global.quiet);
    match attempt(&global, command, &mut screen).await {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever closes the pipe has read enough.
        Err(Failure::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            screen.failure(&failure);
            ExitCode::from(failure.code())
        }
    }
}

async fn attempt(global: &GlobalArgs, command: Command, screen: &mut Screen) -> Result<(), Failure> {
    // What is checked offline needs neither a server nor a configuration.
    if let Command::Receipt(ReceiptCommand::Verify { file }) = &command {
        return commands::receipts::verify(file, global.key.as_deref(), screen);
    }
    let settings = config::settings(global, &config::Environment::process())?;
    let client = settings.client().await?;
    commands::run(command, &client, screen).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn options_can_stand_anywhere_and_the_help_names_every_exit_code() {
        let words = ["freehold", "--tenant", "acme", "deployment", "apply", "shop/dev/web", "-y", "--output", "json", "-q"];
        let program = Program::try_parse_from(words).expect("a command line");
        assert_eq!(
            (program.global.tenant.as_deref(), program.global.output, program.global.quiet),
            (Some("acme"), Output::Json, true)
        );
        let help = command().render_long_help().to_string();
        for code in (0..=9).chain([130]) {
            assert!(help.lines().any(|line| line.starts_with(&format!("  {code}  "))), "{code}");
        }
    }
}
