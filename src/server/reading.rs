//! The sources of the process, which may be read by another one from some moment on.

use std::fmt;
use std::io;

use tokio::task::spawn_blocking;

use crate::source::Sources;

/// Reads them, and can do so again.
pub(super) struct Reading {
    now: Option<Sources>,
    is_paused: bool,
    begin: Box<dyn Fn() -> io::Result<Option<Sources>>>,
}

impl Reading {
    /// Begins.
    ///
    /// # Errors
    /// If there can be no thread for it.
    pub(super) fn new(begin: impl Fn() -> io::Result<Option<Sources>> + 'static) -> io::Result<Self> {
        Ok(Self { now: begin()?, is_paused: false, begin: Box::new(begin) })
    }

    /// Stops, as long as another process may read them.
    pub(super) async fn pause(&mut self) {
        self.is_paused = true;
        if let Some(sources) = self.now.take() {
            // It takes as long as a source takes to leave. A panic is in the log.
            let _ = spawn_blocking(|| sources.finish()).await;
        }
    }

    /// Goes on, if it has stopped.
    pub(super) fn go_on(&mut self) {
        if !std::mem::take(&mut self.is_paused) {
            return;
        }
        match (self.begin)() {
            Ok(sources) => self.now = sources,
            Err(error) => {
                tracing::error!(%error, "the sources are not read any more: start the process anew")
            }
        }
    }

    /// Stops for good.
    pub(super) fn finish(self) {
        if let Some(sources) = self.now {
            sources.finish();
        }
    }
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reading").field("now", &self.now).finish_non_exhaustive()
    }
}
