//! `freehold migrate` and `freehold admin`.

use std::{net::IpAddr, sync::Arc, time::Duration};

use freehold_api::authority::{Authority, Profile, Usage};
use freehold_domain::access::Principal;
use freehold_service::{Store, SystemClock, SystemRandom};

use crate::{
    Failure, Mistake,
    args::{AdminCommand, CaCommand, DatabaseArgs},
    serve::store_settings,
};

/// Brings a database to the schema of this version.
pub async fn migrate(args: DatabaseArgs) -> Result<(), Failure> {
    let store = Store::open(&store_settings(&args), Arc::new(SystemClock), Arc::new(SystemRandom::new())).await?;
    store.close().await;
    println!("The schema is up to date.");
    Ok(())
}

/// Does what the command says with the built-in authority.
pub fn run(command: AdminCommand) -> Result<(), Failure> {
    let AdminCommand::Ca(command) = command;
    match command {
        CaCommand::Init { dir, trust_domain } => {
            let authority = Authority::create(&dir, &trust_domain, Arc::new(SystemClock))?;
            println!("{}", authority.ca_path().display());
        }
        CaCommand::Issue { dir, identity, host, hours, cert, key, force } => {
            if key.exists() && !force {
                let key = key.display();
                return Err(mistake(format!("{key} holds a key already; choose another file, or add --force to write over it")));
            }
            let authority = Authority::open(&dir, Arc::new(SystemClock))?;
            let issued = authority.issue(&profile(&authority, &identity, &host, hours)?)?;
            issued.save(&cert, &key)?;
            println!("{} until {}", issued.serial, issued.not_after);
        }
        CaCommand::List { dir } => {
            for record in Authority::open(&dir, Arc::new(SystemClock))?.list()? {
                let state = if record.revoked { "revoked" } else { "issued" };
                println!("{}  {:8}  {}  {}", record.serial, state, record.not_after, record.spiffe_id);
            }
        }
        CaCommand::Revoke { dir, serial } => Authority::open(&dir, Arc::new(SystemClock))?.revoke(&serial)?,
    }
    Ok(())
}

fn mistake(error: impl ToString) -> Failure {
    Mistake(error.to_string()).into()
}

/// What a certificate for this identity says.
pub(crate) fn profile(authority: &Authority, identity: &str, hosts: &[String], hours: u32) -> Result<Profile, Failure> {
    let server = identity.starts_with("server/");
    if !server {
        identity.parse::<Principal>().map_err(mistake)?;
    } else if hosts.is_empty() {
        return Err(mistake("a server's certificate names its hosts; give --host"));
    }
    let (ips, dns_names): (Vec<_>, Vec<_>) = hosts.iter().partition(|host| host.parse::<IpAddr>().is_ok());
    Ok(Profile {
        spiffe_id: format!("spiffe://{}/{identity}", authority.trust_domain()).parse()?,
        dns_names: dns_names.into_iter().cloned().collect(),
        ips: ips.into_iter().filter_map(|ip| ip.parse().ok()).collect(),
        lifetime: Duration::from_secs(u64::from(hours) * 3600),
        usage: if server { Usage::Both } else { Usage::Client },
    })
}
