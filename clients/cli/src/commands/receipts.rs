//! `freehold receipt`

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::Subcommand;
use freehold::{Client, VerifiedReceipt, verify_receipts};
use futures::TryStreamExt as _;

use super::Listing;
use crate::{failure::Failure, screen::Screen, show::short, table::clean};

/// What can be done with receipts.
#[derive(Subcommand, Clone, Debug)]
pub enum ReceiptCommand {
    /// Writes the receipts of a run to standard output, one a line, just as they were signed
    Get {
        /// The run: shop/dev/web/RUN
        run: String,
    },
    /// Lists the receipts of the tenant in the order of their chain
    List(Listing),
    /// Writes all receipts of the tenant to standard output, one a line, just as they were signed
    Export,
    /// Checks receipts with a public key alone, without a server, and shows what was approved by whom; --key names the PEM file
    /// with the public keys. Exit code 1 if anything is not right
    Verify {
        /// File with receipts, as `get` and `export` write it
        file: PathBuf,
    },
    /// Keys that receipts are signed with
    #[command(subcommand)]
    Key(KeyCommand),
}

/// What can be done with keys of receipts.
#[derive(Subcommand, Clone, Debug)]
pub enum KeyCommand {
    /// Writes all public keys of the installation to standard output, as PEM
    Get,
    /// Lists the public keys
    List,
    /// Makes a new key, for platform administrators; the old ones stay, to check with
    Rotate,
}

impl ReceiptCommand {
    pub(crate) async fn run(self, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
        let receipts = client.receipts();
        match self {
            Self::Get { run } => {
                let found = receipts.of_run(&run).send().await?;
                if found.is_empty() {
                    return Err(Failure::Found(format!("the apply of {run} has not begun, so there is no receipt of it")));
                }
                found.iter().try_for_each(|receipt| screen.verbatim(&format!("{}\n", receipt.envelope)))
            }
            Self::List(listing) => listing.show(receipts.list(), screen).await,
            Self::Export => {
                let mut all = receipts.list().page_size(500).items();
                while let Some(receipt) = all.try_next().await? {
                    screen.verbatim(&format!("{}\n", receipt.envelope))?;
                }
                Ok(())
            }
            Self::Verify { .. } => Err(Failure::usage("receipts are checked without a server")),
            Self::Key(KeyCommand::Get) => {
                let keys = receipts.keys().send().await?;
                keys.iter().try_for_each(|key| screen.verbatim(&key.public_key_pem))
            }
            Self::Key(KeyCommand::List) => screen.list(&receipts.keys().send().await?),
            Self::Key(KeyCommand::Rotate) => screen.item(&receipts.rotate_key().send().await?),
        }
    }
}

/// Checks the receipts of a file with the public keys of another one, and shows them.
pub(crate) fn verify(file: &Path, key: Option<&str>, screen: &mut Screen) -> Result<(), Failure> {
    let key = key
        .ok_or_else(|| Failure::usage("name the file with the public keys: --key FILE; `freehold receipt key get` writes it"))?;
    let unreadable = |path: &Path, error: std::io::Error| Failure::usage(format!("cannot read {}: {error}", path.display()));
    let keys = fs::read_to_string(key).map_err(|error| unreadable(Path::new(key), error))?;
    let receipts = fs::read(file).map_err(|error| unreadable(file, error))?;
    let verified = verify_receipts(&receipts, &keys).map_err(|error| {
        let why: Vec<_> = error.violations().iter().map(|wrong| format!("{}: {}", wrong.field, wrong.description)).collect();
        Failure::Found(format!("{} is not to be believed: {}", file.display(), why.join("; ")))
    })?;
    screen.text(&verified, || verified.iter().map(told).collect())
}

/// What a receipt says, for people.
fn told(receipt: &VerifiedReceipt) -> String {
    let (plan, demand) = (&receipt.plan, &receipt.demand);
    let what = match &receipt.end {
        None => "began to be applied".to_owned(),
        Some(end) => {
            let changed = if end.changed { "with changes" } else { "without a change" };
            let error = if end.error.is_empty() { String::new() } else { format!(" ({})", end.error) };
            format!("ended as {}{error}, {changed}, at state {}", end.outcome, end.state_serial)
        }
    };
    let asked = match &demand.policy {
        Some(policy) if !demand.rule.is_empty() => format!("rule `{}` of {policy} ({})", demand.rule, demand.policy_digest),
        _ => "the environment".to_owned(),
    };
    let mut lines = vec![
        format!("Receipt {} of {} is right: {}", receipt.sequence, receipt.installation, receipt.digest),
        format!("  {} {what} at {}", short(&receipt.run), receipt.time),
        format!("  begun by {} as {}", receipt.author, receipt.run_kind),
        format!(
            "  plan {} of {}: {} to create, {} to change, {} to replace, {} to destroy; {} irreversible ({}, {})",
            plan.digest,
            plan.time,
            plan.create,
            plan.update,
            plan.replace,
            plan.delete,
            plan.irreversible,
            plan.engine,
            plan.binding
        ),
        format!("  blueprint {} {}", short(&receipt.blueprint_version), receipt.blueprint_digest),
        format!("  {asked} asked for {} approvals", demand.approvals),
    ];
    for approval in &receipt.approvals {
        lines.push(format!("  approved by {} at {}, proven by {}", approval.principal, approval.time, approval.channel));
    }
    lines.iter().map(|line| clean(line) + "\n").collect()
}
