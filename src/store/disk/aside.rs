//! A damaged store is set aside: its files go into a folder of their own within it, and a new store takes their place.
//!
//! Invariant: whoever is interrupted here goes on at the next start. Of what was set aside, only the last is kept, so
//! that it cannot fill the disk.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::witness;

/// Where a damaged store goes.
const ASIDE: &str = "damaged";

/// While it goes there.
const PART: &str = "damaged.part";

/// A store that was set aside.
#[derive(Debug)]
pub struct Aside {
    /// Where it is now.
    pub folder: PathBuf,
    /// What was wrong with it.
    pub why: String,
}

/// Whether one was interrupted.
pub(super) fn has_begun(path: &Path) -> bool {
    path.join(PART).exists()
}

/// Sets a store aside. Nobody may have it open.
///
/// # Errors
/// If its files cannot be moved.
pub(super) fn set_aside(path: &Path, why: String) -> io::Result<Aside> {
    let (part, aside) = (path.join(PART), path.join(ASIDE));
    fs::create_dir_all(&part)?;
    for file in fs::read_dir(path)? {
        let name = file?.file_name();
        let is_ours = name == "keyspaces"
            || name == "version"
            || name == witness::FILE
            || name.to_str().is_some_and(|name| name.ends_with(".jnl"));
        if is_ours {
            fs::rename(path.join(&name), part.join(&name))?;
        }
    }
    match fs::remove_dir_all(&aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::rename(part, &aside)?;
    Ok(Aside { folder: aside, why })
}
