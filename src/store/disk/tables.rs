//! The lists of the engine's tables, read before the engine reads them.
//!
//! Invariant: the engine is only shown lists that are as it wrote them. It does not hold them against the checksums that
//! it keeps of them, and what it makes of a wrong one may end the process.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use xxhash_rust::xxh3::xxh3_128;

use super::DiskError;

/// Names the list that holds, with its checksum.
const CURRENT: &str = "current";

/// A list's number, its checksum, and the kind of that, of which there is one.
const LENGTH: usize = 8 + 16 + 1;

/// Looks at the list of every keyspace of a store.
///
/// # Errors
/// If one cannot be read, or is not as it was written.
pub(super) fn check(folder: &Path) -> Result<(), DiskError> {
    let keyspaces = match fs::read_dir(folder.join("keyspaces")) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        keyspaces => keyspaces?,
    };
    for keyspace in keyspaces {
        let keyspace = keyspace?.path();
        // One that was being made or removed has none.
        if let Some(current) = read(&keyspace.join(CURRENT))?
            && !is_right(&keyspace, &current)?
        {
            let what = format!("the list of tables in {} is not as it was written", keyspace.display());
            return Err(DiskError::Damaged { what });
        }
    }
    Ok(())
}

fn is_right(keyspace: &Path, current: &[u8]) -> io::Result<bool> {
    let Ok::<[u8; LENGTH], _>(current) = current.try_into() else { return Ok(false) };
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |number, byte| number << 8 | u128::from(*byte));
    let list = read(&keyspace.join(format!("v{}", number(&current[..8]))))?;
    Ok(current[24] == 0 && list.is_some_and(|list| xxh3_128(&list) == number(&current[8..24])))
}

/// Reads a file, if it is there.
fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}
