//! `sori keys`: who may ask the service.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use sori_server::admin::Admin;
use sori_server::keys::Scope;

use crate::serve::{Settings, time};

const EXAMPLES: &str = "\
Examples:
  sori keys add phone-app                           a key to submit and read its own jobs
  sori keys add ops --scope admin                   one that may see and do everything
  sori keys add scraper --scope metrics --days 90   one that reads /metrics, and ends
  sori keys list
  sori keys revoke phone-app";

/// The arguments of `sori keys`.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct KeysCommand {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Subcommand)]
enum Action {
    /// Make a key and print it, once
    Add {
        /// What to call it
        name: String,
        /// What it may do: jobs:write and jobs:read (its own jobs), metrics, admin (everything)
        #[arg(
            long,
            value_delimiter = ',',
            default_value = "jobs:write,jobs:read",
            value_name = "SCOPE"
        )]
        scope: Vec<Scope>,
        /// Days until it ends
        #[arg(long, value_name = "DAYS")]
        days: Option<u32>,
    },
    /// Show keys by name; their secrets are not kept
    List,
    /// Make a key useless, from the next request on
    Revoke {
        /// Its name or id
        name: String,
    },
}

/// Runs `sori keys`.
///
/// # Errors
/// When the database cannot be used, or there is no such key.
pub fn run(command: &KeysCommand) -> Result<()> {
    let admin = Admin::open(&command.settings.load()?)?;
    match &command.action {
        Action::Add { name, scope, days } => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as i64;
            let ends = days.map(|days| now + i64::from(days) * 86_400_000);
            let key = admin.add_key(name, scope, (now, ends))?;
            eprintln!("shown this once; give it to {name}:");
            println!("{key}");
        }
        Action::List => {
            println!(
                "{:<24} {:<32} {:<20} {:<20} id",
                "name", "scopes", "last used", "ends"
            );
            for key in admin.keys()? {
                let used = key.used_ms.map_or_else(|| "never".to_owned(), time);
                let ends = key.expires_ms.map_or_else(|| "never".to_owned(), time);
                println!(
                    "{:<24} {:<32} {used:<20} {ends:<20} {}",
                    key.name,
                    key.scopes.join(","),
                    key.id
                );
            }
        }
        Action::Revoke { name } => {
            if admin.revoke_key(name)? == 0 {
                bail!("there is no key {name}: see `sori keys list`");
            }
            eprintln!("{name} is useless now");
        }
    }
    Ok(())
}
