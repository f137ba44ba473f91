//! Voices that are remembered: whose they are, what they may be called, and how they are kept.

use std::path::Path;

use sori_engine::Profile;
use sori_store::{Ending, Job, ProfileRow};
use unicode_normalization::UnicodeNormalization;

use crate::app::App;
use crate::dispatch::{again, for_good};
use crate::keys::{Caller, Scope};
use crate::work::PROFILE;
use crate::{ApiError, ErrorKind};

/// Longest name in characters, as [`Profile::validate`] has it.
const MAX_NAME: usize = 200;
/// Largest profile in bytes; one of 256 numbers has 4 KB.
const MAX_PROFILE: u64 = 1 << 20;

/// A name as it is kept: trimmed and in Unicode's form C, so that `민아` typed on any system is one name.
///
/// # Errors
/// When it is empty, longer than 200 characters, holds what cannot be seen and turns or breaks lines (control characters, and
/// the directional ones of UAX #9), is a step of a path, or is what documents call people who have no name.
pub(crate) fn name(given: &str) -> Result<String, ApiError> {
    let name: String = given.trim().nfc().take(MAX_NAME + 1).collect();
    let turns = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    let reserved = [".", "..", "UNKNOWN"].contains(&name.as_str()) || name.starts_with("SPEAKER_");
    if name.is_empty() || name.chars().count() > MAX_NAME || name.contains(turns) || reserved {
        let message = "give a name of 1 to 200 characters that can be seen, and none such as SPEAKER_00, UNKNOWN or ..";
        return Err(ApiError::new(ErrorKind::Invalid, message).about("name"));
    }
    Ok(name)
}

/// The owner whose voices a request is about: the caller, or for those who see everything whom they name.
///
/// # Errors
/// When another's voices are asked for; that they are there is not told.
pub(crate) fn owner(caller: &Caller, asked: Option<&str>) -> Result<Option<String>, ApiError> {
    let asked = asked.filter(|owner| !owner.is_empty());
    match (asked, caller.owner()) {
        (Some(asked), own) if own != Some(asked) && !caller.may(Scope::Admin) => Err(none()),
        (Some(asked), _) => Ok(Some(asked.to_owned())),
        (None, own) => Ok(own.map(str::to_owned)),
    }
}

/// What is told where there is no such voice.
pub(crate) fn none() -> ApiError {
    ApiError::new(
        ErrorKind::NotFound,
        "no voice of that name is remembered; GET /v1/speakers lists them",
    )
}

/// The profile of a row.
///
/// # Errors
/// When the row is damaged.
pub(crate) fn profile(row: &ProfileRow) -> Result<Profile, ApiError> {
    serde_json::from_str(&row.data).map_err(ApiError::internal)
}

impl App {
    /// The remembered voices of an owner, as workers take them.
    ///
    /// # Errors
    /// When the store does not answer.
    pub(crate) async fn profiles(
        &self,
        owner: Option<&str>,
    ) -> Result<Vec<serde_json::Value>, sori_store::StoreError> {
        let rows = self.store.profiles(owner).await?;
        Ok(rows
            .iter()
            .filter_map(|row| serde_json::from_str(&row.data).ok())
            .collect())
    }

    /// A voice of this owner.
    ///
    /// # Errors
    /// When there is none of that name.
    pub(crate) async fn speaker(
        &self,
        owner: Option<&str>,
        name: &str,
    ) -> Result<ProfileRow, ApiError> {
        let name: String = name.nfc().collect();
        self.store.profile(owner, &name).await?.ok_or_else(none)
    }

    /// Keeps the profile that a worker wrote for the owner of its job.
    ///
    /// # Errors
    /// How the attempt ends when there is no sound profile, or it cannot be kept.
    pub(crate) async fn remember(&self, job: &Job, folder: &Path) -> Result<(), Ending> {
        let path = folder.join(PROFILE);
        let unread = |e: &dyn std::fmt::Display| for_good("internal", format!("no profile: {e}"));
        let about = tokio::fs::metadata(&path).await.map_err(|e| unread(&e))?;
        if about.len() > MAX_PROFILE {
            return Err(unread(&"it is too large"));
        }
        let text = tokio::fs::read_to_string(&path).await;
        let data = text.map_err(|e| unread(&e))?;
        let profile: Profile = serde_json::from_str(&data).map_err(|e| unread(&e))?;
        profile.validate().map_err(|e| unread(&e))?;
        let row = ProfileRow {
            owner: job.owner.clone(),
            name: profile.name,
            embedder: profile.model.name,
            data,
            created_ms: self.clock.now_ms(),
        };
        let kept = self.store.put_profile(&row).await;
        kept.map_err(|e| again("internal", format!("the voice is not kept: {e}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_can_be_seen_and_are_one() {
        for (given, kept) in [
            (" Mina ", Some("Mina")),
            ("김민아", Some("김민아")),
            ("\u{1100}\u{1175}\u{11b7}", Some("김")),
            ("a/b\\c%2f?#", Some("a/b\\c%2f?#")),
            ("' OR 1=1 --", Some("' OR 1=1 --")),
            ("<script>", Some("<script>")),
            ("", None),
            (" \t ", None),
            (".", None),
            ("..", None),
            ("a\nb", None),
            ("a\u{0}b", None),
            ("a\u{202e}b", None),
            ("a\u{2028}b", None),
            ("SPEAKER_00", None),
            ("UNKNOWN", None),
        ] {
            assert_eq!(name(given).ok().as_deref(), kept, "{given:?}");
        }
        assert!(name(&"가".repeat(200)).is_ok());
        assert!(name(&"가".repeat(201)).is_err());
        assert!(name(&"a".repeat(1 << 20)).is_err());
    }

    #[test]
    fn only_who_sees_everything_names_another_owner() {
        let key = |scopes: &[Scope]| Caller::Key {
            id: "k1".to_owned(),
            name: "one".to_owned(),
            scopes: scopes.to_vec(),
        };
        let (plain, admin) = (key(&[Scope::JobsRead]), key(&[Scope::Admin]));
        for (caller, asked, found) in [
            (&plain, None, Some(Some("k1"))),
            (&plain, Some("k1"), Some(Some("k1"))),
            (&plain, Some("k2"), None),
            (&admin, None, Some(Some("k1"))),
            (&admin, Some("k2"), Some(Some("k2"))),
            (&Caller::Local, None, Some(None)),
            (&Caller::Local, Some("k2"), Some(Some("k2"))),
        ] {
            let owner = owner(caller, asked).ok();
            let owner = owner.as_ref().map(Option::as_deref);
            assert_eq!(owner, found, "{caller:?} {asked:?}");
        }
    }
}
