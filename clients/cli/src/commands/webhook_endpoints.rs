//! `freehold webhook`

use std::path::PathBuf;

use clap::{ArgGroup, Subcommand};
use freehold::{Client, NewWebhookSecret, WebhookDeliveryState};
use serde_json::json;

use super::{Guard, LabelChanges, Labels, Listing, relabel, set};
use crate::{failure::Failure, screen::Screen};

/// What can be done with webhooks.
#[derive(Subcommand, Clone, Debug)]
pub enum WebhookCommand {
    /// Creates an endpoint, and shows the secret that its deliveries are signed with, this once
    Create {
        /// Its name: ops
        name: String,
        /// Where deliveries are sent
        url: String,
        /// Name for people
        #[arg(long, value_name = "TEXT")]
        display_name: Option<String>,
        /// Only events of this resource and all below it, by its full name
        #[arg(long, value_name = "NAME")]
        below: Option<String>,
        /// Only events of this kind, run.created, or run.* for all of one resource; can be given several times
        #[arg(long = "kind", value_name = "KIND")]
        kinds: Vec<String>,
        /// Only those for which this holds, for example "event.data.phase == 'DONE'"
        #[arg(long, value_name = "CEL")]
        filter: Option<String>,
        /// Sends one event only after all before it have arrived, or were given up
        #[arg(long)]
        ordered: bool,
        /// PEM file with authorities that the receiver's certificate may be of, besides the public ones
        #[arg(long, value_name = "FILE")]
        receiver_ca: Option<PathBuf>,
        #[command(flatten)]
        labels: Labels,
    },
    /// Shows one endpoint
    Get {
        /// Its name
        name: String,
    },
    /// Lists endpoints
    List(Listing),
    /// Changes what is given
    #[command(group = ArgGroup::new("change").required(true).multiple(true).args(["url", "display_name", "below", "kinds", "all_kinds", "filter", "ordered", "receiver_ca", "enable", "disable", "labels", "remove_label", "clear_labels"]))]
    Update {
        /// Its name
        name: String,
        /// Where deliveries are sent
        #[arg(long, value_name = "URL")]
        url: Option<String>,
        /// Name for people
        #[arg(long, value_name = "TEXT")]
        display_name: Option<String>,
        /// Only events of this resource and all below it, by its full name
        #[arg(long, value_name = "NAME")]
        below: Option<String>,
        /// Replaces the kinds; can be given several times
        #[arg(long = "kind", value_name = "KIND")]
        kinds: Vec<String>,
        /// All kinds
        #[arg(long, conflicts_with = "kinds")]
        all_kinds: bool,
        /// Only those for which this holds; empty for all
        #[arg(long, value_name = "CEL")]
        filter: Option<String>,
        /// Whether one event is sent only after all before it have arrived, or were given up
        #[arg(long, value_name = "BOOL")]
        ordered: Option<bool>,
        /// PEM file with authorities that the receiver's certificate may be of, besides the public ones
        #[arg(long, value_name = "FILE")]
        receiver_ca: Option<PathBuf>,
        /// Sends again, what happens from now on
        #[arg(long)]
        enable: bool,
        /// Stops sending
        #[arg(long, conflicts_with = "enable")]
        disable: bool,
        #[command(flatten)]
        labels: LabelChanges,
        #[command(flatten)]
        guard: Guard,
    },
    /// Deletes an endpoint; what is on its way is given up
    Delete {
        /// Its name
        name: String,
        /// Succeeds when there is none
        #[arg(long)]
        allow_missing: bool,
        #[command(flatten)]
        guard: Guard,
    },
    /// Makes a new secret and shows it, this once; the one before signs as well for a while
    RotateSecret {
        /// Its name
        name: String,
        /// How long the one before signs as well, such as 10m or 24h, up to seven days
        #[arg(long, value_name = "DURATION", value_parser = super::duration)]
        grace: Option<std::time::Duration>,
    },
    /// Sends an event that means nothing, at once
    Test {
        /// Its name
        name: String,
    },
    /// Lists deliveries of an endpoint, newest first
    Deliveries {
        /// Its name
        name: String,
        /// Only those in this state: pending, delivered, failed
        #[arg(long, value_name = "STATE", value_parser = state)]
        state: Option<WebhookDeliveryState>,
        #[command(flatten)]
        listing: Listing,
    },
    /// Shows one delivery with its newest tries: ops/UID
    Delivery {
        /// Its name
        name: String,
    },
    /// Has a delivery sent again, whatever has become of it: ops/UID
    Redeliver {
        /// Its name
        name: String,
    },
}

impl WebhookCommand {
    pub(crate) async fn run(self, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
        let webhooks = client.webhooks();
        match self {
            Self::Create { name, url, display_name, below, kinds, filter, ordered, receiver_ca, labels } => {
                let mut request = webhooks.create(name, url).ordered(ordered);
                set!(request.display_name(display_name));
                set!(request.below(below));
                set!(request.filter(filter));
                set!(request.ca_bundle(read(receiver_ca)?));
                request = kinds.into_iter().fold(request, |request, kind| request.kind(kind));
                request = labels.labels.into_iter().fold(request, |request, (key, value)| request.label(key, value));
                secret(&request.send().await?, screen)
            }
            Self::Get { name } => screen.item(&webhooks.get(name).send().await?),
            Self::List(listing) => listing.show(webhooks.list(), screen).await,
            Self::Update {
                name,
                url,
                display_name,
                below,
                kinds,
                all_kinds,
                filter,
                ordered,
                receiver_ca,
                enable,
                disable,
                labels,
                mut guard,
            } => {
                let mut request = webhooks.update(&name);
                set!(request.url(url));
                set!(request.display_name(display_name));
                set!(request.below(below));
                set!(request.filter(filter));
                set!(request.ordered(ordered));
                set!(request.ca_bundle(read(receiver_ca)?));
                set!(request.kinds(Some(kinds).filter(|kinds| all_kinds || !kinds.is_empty())));
                set!(request.enabled(if enable || disable { Some(enable) } else { None }));
                relabel!(request, labels, guard, webhooks.get(&name));
                set!(request.etag(guard.etag));
                screen.item(&request.send().await?)
            }
            Self::Delete { name, allow_missing, guard } => {
                let mut request = webhooks.delete(&name);
                set!(request.allow_missing() if allow_missing);
                set!(request.etag(guard.etag));
                request.send().await?;
                screen.done(&format!("{name} is deleted."))
            }
            Self::RotateSecret { name, grace } => {
                let mut request = webhooks.rotate_secret(name);
                set!(request.grace(grace));
                secret(&request.send().await?, screen)
            }
            Self::Test { name } => {
                let attempt = webhooks.test(name).send().await?;
                screen.item(&attempt)?;
                match attempt.error {
                    Some(error) => Err(Failure::Found(format!("it did not arrive: {error}"))),
                    None => Ok(()),
                }
            }
            Self::Deliveries { name, state, listing } => {
                let mut list = webhooks.deliveries(name);
                set!(list.state(state));
                listing.show(list.list(), screen).await
            }
            Self::Delivery { name } => screen.item(&webhooks.delivery(name).send().await?),
            Self::Redeliver { name } => screen.item(&webhooks.redeliver(name).send().await?),
        }
    }
}

fn secret(made: &NewWebhookSecret, screen: &mut Screen) -> Result<(), Failure> {
    screen.item(&json!({ "webhook_endpoint": made.webhook_endpoint, "secret": made.secret.reveal() }))?;
    screen.note("Keep the secret now: it cannot be shown again.");
    Ok(())
}

fn read(file: Option<PathBuf>) -> Result<Option<String>, Failure> {
    file.map(|file| {
        std::fs::read_to_string(&file).map_err(|error| Failure::usage(format!("{} cannot be read: {error}", file.display())))
    })
    .transpose()
}

fn state(text: &str) -> Result<WebhookDeliveryState, String> {
    match text {
        "pending" => Ok(WebhookDeliveryState::Pending),
        "delivered" => Ok(WebhookDeliveryState::Delivered),
        "failed" => Ok(WebhookDeliveryState::Failed),
        _ => Err("pending, delivered or failed".to_owned()),
    }
}
