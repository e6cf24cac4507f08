//! Where an account and certificates are kept: one folder for each authority, within `dir`.
//!
//! Invariants: only the user that Sidestream runs as can read what is in it; a file is there whole, or as it was before,
//! whenever the process or the machine ends; one process at a time has orders there.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::config::Acme;

/// The folder of one authority.
#[derive(Debug, Clone)]
pub(super) struct Folder(PathBuf);

/// The right to have orders there, until this is dropped or the process ends.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "held open: the lock is the open file's")] File);

impl Folder {
    /// That of the authority of a certificate.
    pub(super) fn of(acme: &Acme) -> Self {
        let url = acme.directory.strip_prefix("https://").unwrap_or(&acme.directory);
        Self(acme.dir.join(name(url)))
    }

    /// Where the account is.
    pub(super) fn account(&self) -> PathBuf {
        self.0.join("account.json")
    }

    /// Where the certificate for hosts is, its key in the same file: both change at once. The first host names it.
    pub(super) fn certificate(&self, domains: &[String]) -> PathBuf {
        self.0.join(domains.first().map_or("certificate", String::as_str)).with_added_extension("pem")
    }

    /// Takes the right to have orders; none if another process has it. Makes the folder, if it is not there.
    pub(super) fn lock(&self) -> io::Result<Option<Lock>> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.0)?;
        let path = self.0.join("lock");
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Lock(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

/// The name of a folder for a URL without its scheme.
fn name(url: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
    let name: String = url.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    name.trim_end_matches('_').to_owned()
}

/// Writes a file of secrets whole, beside the one whose place it is to take. Returns where.
pub(super) fn write_beside(path: &Path, text: &[u8]) -> io::Result<PathBuf> {
    let new = path.with_added_extension("new");
    match fs::remove_file(&new) {
        // What a process left behind that ended in the middle.
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&new)?;
    file.write_all(text)?;
    file.sync_all()?;
    Ok(new)
}

/// Puts what was written beside a file into its place.
pub(super) fn put_in_place(new: &Path, path: &Path) -> io::Result<()> {
    fs::rename(new, path)?;
    // The new name is on the disk when its folder is.
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn each_authority_has_a_folder_of_its_own() {
        for (url, want) in [
            ("acme-v02.api.letsencrypt.org/directory", "acme-v02.api.letsencrypt.org_directory"),
            ("ca.example:9000/acme/directory?a=../b", "ca.example_9000_acme_directory_a_.._b"),
            ("ca.example/", "ca.example"),
        ] {
            assert_eq!(name(url), want);
        }
        assert_eq!(
            Folder("/x".into()).certificate(&["shop.example".to_owned()]),
            Path::new("/x/shop.example.pem")
        );
    }

    #[test]
    fn what_is_kept_is_for_nobody_else_and_for_one_process() {
        let home = tempfile::tempdir().unwrap();
        let folder = Folder(home.path().join("a/b"));
        let held = folder.lock().unwrap().unwrap();
        assert!(folder.lock().unwrap().is_none());
        let path = folder.account();
        fs::write(path.with_added_extension("new"), "left behind").unwrap();
        for text in ["one", "two"] {
            let new = write_beside(&path, text.as_bytes()).unwrap();
            assert_ne!(fs::read_to_string(&path).unwrap_or_default(), text);
            put_in_place(&new, &path).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
            assert!(!new.exists());
        }
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&folder.0), mode(&home.path().join("a"))), (0o600, 0o700, 0o700));
        drop(held);
        assert!(folder.lock().unwrap().is_some());
    }
}
