//! The service's database seen from its own machine, for commands that a person types.

use sori_store::{
    Event, Job, JobFilter, JobId, JobState, KeyRecord, Store, StoreError, StoreErrorKind,
};
use tokio::runtime::Runtime;

use crate::clock::Clock;
use crate::config::ServerConfig;
use crate::keys::{ApiKey, Scope};
use crate::serve::{ServeError, because, store_options};

/// The database of a server, whether it runs or not. Calls block.
pub struct Admin {
    runtime: Runtime,
    store: Store,
    clock: Clock,
}

impl Admin {
    /// Opens the database that this configuration names.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(config: &ServerConfig) -> Result<Self, ServeError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.map_err(|e| because("no runtime")(&e))?;
        let file = config.server.data.join("sori.db");
        if config.storage.database.is_empty() && !file.exists() {
            let message = "no server has kept anything there; give its --data or --config";
            return Err(because(file.display())(&message));
        }
        let options = store_options(config)?;
        let store = runtime.block_on(Store::open(&options));
        Ok(Self {
            store: store.map_err(|e| because("the database")(&e))?,
            runtime,
            clock: Clock::start(),
        })
    }

    /// Makes a key and returns it in clear; `times` are now and its end, in Unix milliseconds.
    ///
    /// # Errors
    /// When the database does not take it.
    pub fn add_key(
        &self,
        name: &str,
        scopes: &[Scope],
        times: (i64, Option<i64>),
    ) -> Result<String, StoreError> {
        let named = |key: &KeyRecord| key.name == name || key.id == name;
        if self.keys()?.iter().any(named) {
            let message =
                format!("there is a key {name} already: give another name, or revoke it first");
            return Err(StoreError::new(StoreErrorKind::Conflict, message));
        }
        let key = ApiKey::fresh();
        let record = KeyRecord {
            id: uuid::Uuid::now_v7().to_string(),
            name: name.to_owned(),
            sha256: key.hash(),
            scopes: scopes.iter().map(|scope| scope.name().to_owned()).collect(),
            created_ms: times.0,
            expires_ms: times.1,
            used_ms: None,
        };
        self.runtime.block_on(self.store.add_key(&record))?;
        Ok(key.reveal().to_owned())
    }

    /// Returns all keys.
    ///
    /// # Errors
    /// When the database does not answer.
    pub fn keys(&self) -> Result<Vec<KeyRecord>, StoreError> {
        self.runtime.block_on(self.store.keys())
    }

    /// Makes the keys of this name or id useless; returns how many there were.
    ///
    /// # Errors
    /// When the database does not answer.
    pub fn revoke_key(&self, name: &str) -> Result<usize, StoreError> {
        let mut count = 0;
        for key in self.keys()? {
            if key.id == name || key.name == name {
                self.runtime.block_on(self.store.revoke_key(&key.id))?;
                count += 1;
            }
        }
        Ok(count)
    }

    /// Returns the newest jobs, of one state or all.
    ///
    /// # Errors
    /// When the database does not answer.
    pub fn jobs(&self, state: Option<JobState>, limit: u32) -> Result<Vec<Job>, StoreError> {
        let filter = JobFilter {
            state,
            limit,
            ..Default::default()
        };
        self.runtime.block_on(self.store.jobs(&filter))
    }

    /// Returns a job and what happened to it.
    ///
    /// # Errors
    /// When there is none.
    pub fn job(&self, id: &str) -> Result<(Job, Vec<Event>), StoreError> {
        let id = JobId::parse(id)?;
        self.runtime.block_on(async {
            let job = self.store.job(&id).await?.ok_or_else(|| none(&id))?;
            let mut all = Vec::new();
            loop {
                let after = all.last().map_or(0, |event: &Event| event.seq);
                let page = self.store.events(&id, after, 1000).await?;
                if page.is_empty() {
                    return Ok((job, all));
                }
                all.extend(page);
            }
        })
    }

    /// Asks a job to stop; returns its state then.
    ///
    /// # Errors
    /// When there is none.
    pub fn cancel(&self, id: &str) -> Result<JobState, StoreError> {
        let id = JobId::parse(id)?;
        let now = self.clock.now_ms();
        let cancelled = self.runtime.block_on(self.store.cancel(&id, now))?;
        let state = cancelled.map(|cancelled| cancelled.job.state);
        state.ok_or_else(|| none(&id))
    }

    /// Queues a failed or cancelled job again; returns whether it was one.
    ///
    /// # Errors
    /// When the database does not answer.
    pub fn retry(&self, id: &str) -> Result<bool, StoreError> {
        let id = JobId::parse(id)?;
        let now = self.clock.now_ms();
        Ok(self.runtime.block_on(self.store.retry(&id, now))?.is_some())
    }
}

fn none(id: &JobId) -> StoreError {
    StoreError::new(StoreErrorKind::NotFound, format!("there is no job {id}"))
}
