//! What a failed attempt leaves behind, so that a process which is started again and again does not ask again and again.
//!
//! Invariant: an authority that said when to come back is not asked before. Otherwise a start is a reason to try, once in
//! the first wait: whoever has put right what was wrong does not want to wait for hours.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

/// A note beside a certificate.
#[derive(Debug)]
pub(super) struct Patience(PathBuf);

#[derive(Debug, Serialize, Deserialize)]
struct Note {
    /// The hosts that it was about; other hosts are another matter.
    domains: Vec<String>,
    /// In seconds since 1970.
    until: u64,
}

impl Patience {
    /// That of a certificate.
    pub(super) fn of(certificate: &Path) -> Self {
        Self(certificate.with_extension("wait"))
    }

    /// How long there is still to wait for a certificate for hosts, and never longer than `longest`.
    pub(super) fn rest(&self, domains: &[String], now: SystemTime, longest: Duration) -> Option<Duration> {
        let note: Note = serde_json::from_slice(&fs::read(&self.0).ok()?).ok()?;
        let until = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(note.until))?;
        let rest = until.duration_since(now).ok().filter(|rest| !rest.is_zero())?;
        (note.domains == domains).then_some(rest.min(longest))
    }

    /// Notes until when to wait.
    pub(super) fn keep(&self, domains: &[String], until: SystemTime) -> io::Result<()> {
        let until = until.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let note = serde_json::to_vec(&Note { domains: domains.to_vec(), until })?;
        OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&self.0)?.write_all(&note)
    }

    /// There is nothing to wait for any more.
    pub(super) fn end(&self) {
        // It ends by itself too.
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_for_its_hosts_and_its_time() {
        let folder = tempfile::tempdir().unwrap();
        let patience = Patience::of(&folder.path().join("a.example.pem"));
        let (hosts, others) = (["a.example".to_owned()], ["a.example".to_owned(), "b.example".to_owned()]);
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let (minute, hour) = (Duration::from_secs(60), Duration::from_secs(3600));
        assert_eq!(patience.rest(&hosts, now, hour), None);
        patience.keep(&hosts, now + minute).unwrap();
        assert!(folder.path().join("a.example.wait").exists());
        assert_eq!(patience.rest(&hosts, now, hour), Some(minute));
        assert_eq!(patience.rest(&hosts, now, minute / 2), Some(minute / 2));
        assert_eq!(patience.rest(&hosts, now + minute, hour), None);
        assert_eq!(patience.rest(&others, now, hour), None);
        fs::write(folder.path().join("a.example.wait"), "{").unwrap();
        assert_eq!(patience.rest(&hosts, now, hour), None);
        patience.keep(&hosts, now + minute).unwrap();
        patience.end();
        assert_eq!(patience.rest(&hosts, now, hour), None);
    }
}
