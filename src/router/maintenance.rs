//! The switch of `maintenance`: on while a file is there. Requests only read a flag; the control thread looks at the file.

use std::fs::{self, Metadata};
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::time::{MissedTickBehavior, interval};

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The largest page, in bytes.
const MAX_PAGE: u64 = 256 * 1024;

/// The switch. It is on from the start if the file is there.
#[derive(Debug)]
pub(super) struct Switch {
    path: PathBuf,
    is_on: AtomicBool,
    seen: Mutex<Seen>,
}

/// What the file was at the last look.
#[derive(Debug, Default)]
struct Seen {
    stamp: Option<(Option<SystemTime>, u64)>,
    page: Option<Bytes>,
}

impl Switch {
    pub(super) fn new(path: PathBuf) -> Self {
        let switch = Self { path, is_on: AtomicBool::new(false), seen: Mutex::default() };
        switch.look();
        switch
    }

    pub(super) fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// What the file holds, as HTML; none if it is empty.
    pub(super) fn page(&self) -> Option<Bytes> {
        self.seen().page.clone()
    }

    /// Looks at the file for ever.
    pub(super) async fn watch(&self) {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            self.look();
        }
    }

    fn look(&self) {
        let is_on = match fs::metadata(&self.path) {
            // A pipe would keep who reads it.
            Ok(found) => {
                if found.is_file() {
                    self.see(&found);
                }
                true
            }
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                *self.seen() = Seen::default();
                false
            }
            // A disk that fails does not switch anything.
            Err(_) => return,
        };
        if self.is_on.swap(is_on, Ordering::Relaxed) != is_on {
            let (path, word) = (self.path.display(), if is_on { "on" } else { "off" });
            tracing::warn!(file = %path, "maintenance is {word}");
        }
    }

    /// Reads the page if the file has changed since the last look.
    fn see(&self, found: &Metadata) {
        let stamp = Some((found.modified().ok(), found.len()));
        if self.seen().stamp == stamp {
            return;
        }
        let page = read(&self.path).unwrap_or_else(|error| {
            tracing::warn!(file = %self.path.display(), %error, "the page of maintenance cannot be used");
            None
        });
        *self.seen() = Seen { stamp, page };
    }

    /// A poisoned lock is taken: it is only ever assigned as a whole.
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(path: &Path) -> std::io::Result<Option<Bytes>> {
    let mut text = Vec::new();
    fs::File::open(path)?.take(MAX_PAGE + 1).read_to_end(&mut text)?;
    if text.len() as u64 > MAX_PAGE {
        return Err(std::io::Error::new(ErrorKind::FileTooLarge, "larger than 256KiB"));
    }
    Ok(Some(text).filter(|text| !text.is_empty()).map(Bytes::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_on_while_the_file_is_there_and_its_page_is_the_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("maintenance");
        let switch = Switch::new(path.clone());
        assert!(!switch.is_on());
        fs::write(&path, "").unwrap();
        switch.look();
        assert_eq!((switch.is_on(), switch.page()), (true, None));
        fs::write(&path, "<p>soon").unwrap();
        switch.look();
        assert_eq!(switch.page(), Some(Bytes::from_static(b"<p>soon")));
        fs::write(&path, vec![b'x'; 300 * 1024]).unwrap();
        switch.look();
        assert_eq!((switch.is_on(), switch.page()), (true, None));
        fs::remove_file(&path).unwrap();
        switch.look();
        assert!(!switch.is_on() && switch.page().is_none());
        fs::write(&path, "x").unwrap();
        assert!(Switch::new(path).is_on(), "from the start");
    }
}
