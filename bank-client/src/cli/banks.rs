//! The command `banks`.

use super::Failure;
use super::config::Profile;
use super::rows::BankRow;
use super::screen::{Screen, note};

pub(super) fn list(profile: &Profile, search: Option<&str>, screen: Screen) -> Result<(), Failure> {
    let found = match search {
        Some(query) => profile.search(query)?,
        None => profile.directory.banks().iter().collect(),
    };
    if found.is_empty() {
        note("no bank of the directory matches");
    }
    screen.list(found.into_iter().map(BankRow::from))
}
