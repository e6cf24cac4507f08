//! A folder for one run.
//!
//! Invariant: only this user can enter it, nobody else made it, and it is gone when the value is.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// A fresh folder, removed with all that is in it when this is dropped.
#[derive(Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// Makes it under the system's folder for temporary files. The name is random and must not exist yet.
    pub(super) fn create() -> io::Result<Self> {
        let mut random = [0; 4];
        aws_lc_rs::rand::fill(&mut random).map_err(io::Error::other)?;
        let name = format!("sidestream-demo-{:08x}", u32::from_be_bytes(random));
        let path = std::env::temp_dir().join(name);
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// The path of a file in it.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // At worst it stays, which the system's own cleaning of the place takes care of.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn is_private_and_goes_with_what_is_in_it() {
        let folder = Folder::create().unwrap();
        let path = folder.path().to_owned();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        fs::write(folder.file("x"), "x").unwrap();
        drop(folder);
        assert!(!path.exists());
    }
}
