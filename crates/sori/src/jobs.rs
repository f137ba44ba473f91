//! `sori jobs`: the service's jobs, seen and managed on its machine.

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use serde_json::json;
use sori_server::admin::Admin;
use sori_store::{Job, JobState};

use crate::serve::{Settings, time};

const EXAMPLES: &str = "\
Examples:
  sori jobs list --state failed                     what went wrong lately
  sori jobs show JOB                                one job with what happened to it
  sori jobs cancel JOB
  sori jobs retry JOB OTHER                         try again what failed
  sori jobs retry --failed                          all of them

It reads the database of the server, running or not; see `sori serve --help` for --data and --config.";

/// The arguments of `sori jobs`.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct JobsCommand {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Subcommand)]
enum Action {
    /// Show jobs, the newest first
    List {
        /// queued, running, retrying, done, partial, failed or cancelled
        #[arg(long, value_parser = state, value_name = "STATE")]
        state: Option<JobState>,
        /// At most so many
        #[arg(long, default_value_t = 50, value_name = "N")]
        limit: u32,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show a job and what happened to it
    Show {
        /// The job
        id: String,
    },
    /// Stop jobs
    Cancel {
        /// The jobs
        #[arg(required = true)]
        ids: Vec<String>,
    },
    /// Try failed or cancelled jobs again
    Retry {
        /// The jobs
        #[arg(required_unless_present = "failed")]
        ids: Vec<String>,
        /// All jobs that failed
        #[arg(long, conflicts_with = "ids")]
        failed: bool,
    },
}

/// Runs `sori jobs`.
///
/// # Errors
/// When the database cannot be used, or a job is not there or in another state.
pub fn run(command: &JobsCommand) -> Result<()> {
    let admin = Admin::open(&command.settings.load()?)?;
    match &command.action {
        Action::List { state, limit, json } => {
            let jobs = admin.jobs(*state, *limit)?;
            if *json {
                let all: Vec<_> = jobs.iter().map(view).collect();
                println!("{}", serde_json::to_string_pretty(&all)?);
                return Ok(());
            }
            println!(
                "{:<38} {:<10} {:>4}  {:<20}  what",
                "id", "state", "%", "accepted"
            );
            for job in &jobs {
                let request = view(job)["request"]["name"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned();
                let why = job.error.as_ref().map_or(request.as_str(), |e| &e.message);
                let created = time(job.created_ms);
                println!(
                    "{:<38} {:<10} {:>4}  {created:<20}  {why}",
                    job.id,
                    job.state.name(),
                    job.progress
                );
            }
        }
        Action::Show { id } => {
            let (job, events) = admin.job(id)?;
            println!("{}", serde_json::to_string_pretty(&view(&job))?);
            for event in events {
                println!("{}  {:<12} {}", time(event.at_ms), event.kind, event.data);
            }
        }
        Action::Cancel { ids } => {
            for id in ids {
                println!("{id}: {}", admin.cancel(id)?.name());
            }
        }
        Action::Retry { ids, failed } => {
            let ids = match failed {
                true => admin
                    .jobs(Some(JobState::Failed), 1000)?
                    .iter()
                    .map(|job| job.id.to_string())
                    .collect(),
                false => ids.clone(),
            };
            for id in &ids {
                if !admin.retry(id)? {
                    bail!("{id}: only jobs that failed or were cancelled are tried again");
                }
                println!("{id}: queued");
            }
        }
    }
    Ok(())
}

fn view(job: &Job) -> serde_json::Value {
    json!({
        "id": job.id.to_string(), "state": job.state.name(), "stage": job.stage, "progress": job.progress,
        "attempts": job.attempt, "failures": job.failures, "lost_workers": job.losses,
        "error": job.error, "created_at": time(job.created_ms), "finished_at": job.finished_ms.map(time),
        "request": serde_json::from_str::<serde_json::Value>(&job.request).unwrap_or_default(),
    })
}

fn state(name: &str) -> Result<JobState, String> {
    JobState::from_name(name).ok_or_else(|| {
        let names: Vec<_> = JobState::ALL.iter().map(|s| s.name()).collect();
        format!("use one of {}", names.join(", "))
    })
}
