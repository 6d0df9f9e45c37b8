//! `freehold events`

use clap::{Args, Subcommand};
use freehold::{Client, Event, Timestamp, Watched};
use futures::TryStreamExt as _;
use serde_json::json;

use super::Listing;
use crate::{failure::Failure, screen::Screen, table::clean};

/// What can be done with events.
#[derive(Subcommand, Clone, Debug)]
pub enum EventCommand {
    /// Lists what happened and is kept, oldest first
    List {
        #[command(flatten)]
        selection: Selection,
        #[command(flatten)]
        listing: Listing,
    },
    /// Follows what happens, until Ctrl-C; for programs each line is an event, or {"resume_token": …} after those before it
    Watch {
        #[command(flatten)]
        selection: Selection,
    },
}

/// Which events.
#[derive(Args, Clone, Debug)]
pub struct Selection {
    /// Only those of this resource and all below it, by its full name
    #[arg(long, value_name = "NAME", conflicts_with = "installation")]
    below: Option<String>,
    /// Those of the whole installation
    #[arg(long)]
    installation: bool,
    /// Only those of this kind, run.created, or run.* for all of one resource; can be given several times
    #[arg(long = "kind", value_name = "KIND")]
    kinds: Vec<String>,
    /// Only those for which this holds, for example "event.data.phase == 'DONE'"
    #[arg(long, value_name = "CEL")]
    filter: Option<String>,
    /// Begins with the first event at or after this time
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// Begins after what this token stands for
    #[arg(long, value_name = "TOKEN", conflicts_with = "since")]
    resume: Option<String>,
}

/// Puts a selection into a builder of a watch or a list.
macro_rules! select {
    ($builder:ident, $selection:ident) => {
        if let Some(below) = $selection.below {
            $builder = $builder.below(below);
        }
        if $selection.installation {
            $builder = $builder.below("");
        }
        for kind in $selection.kinds {
            $builder = $builder.kind(kind);
        }
        super::set!($builder.filter($selection.filter));
        super::set!($builder.since($selection.since));
        super::set!($builder.resume($selection.resume));
    };
}

impl EventCommand {
    pub(crate) async fn run(self, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
        match self {
            Self::List { selection, listing } => {
                let mut list = client.events().list();
                select!(list, selection);
                listing.show(list.events(), screen).await
            }
            Self::Watch { selection } => {
                let mut watch = client.events().watch();
                select!(watch, selection);
                let mut news = watch.stream();
                while let Some(news) = news.try_next().await? {
                    show(&news, screen)?;
                }
                Ok(())
            }
        }
    }
}

fn show(news: &Watched, screen: &mut Screen) -> Result<(), Failure> {
    match news {
        Watched::Event(event) => screen.event(event, || line(event)),
        // A person does not go on from a token.
        Watched::Checkpoint(_) if screen.is_for_people() => Ok(()),
        Watched::Checkpoint(token) => screen.event(&json!({ "resume_token": token }), String::new),
        _ => screen.event(&json!({ "resync": true }), || {
            "Some of what happened is not kept any longer; what follows goes on from now.".to_owned()
        }),
    }
}

fn line(event: &Event) -> String {
    let time = event.time.map(|time| time.to_string()).unwrap_or_default();
    let data = event.data.as_ref().map(|data| format!("  {data}")).unwrap_or_default();
    clean(&format!("{time}  {}  {}  by {}{data}", event.kind, event.resource, event.principal))
}
