//! `[log]`: what is written down, and where.

use std::path::PathBuf;

use tracing::level_filters::LevelFilter;

/// The access log, and how much is said on stderr.
#[derive(Debug, Clone)]
pub struct Log {
    /// Where the access log goes.
    pub access: AccessLog,
    /// The least severe message that reaches stderr.
    pub level: LevelFilter,
}

impl Default for Log {
    fn default() -> Self {
        Self { access: AccessLog::Stdout, level: LevelFilter::INFO }
    }
}

/// Where the access log goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessLog {
    /// Standard output.
    Stdout,
    /// Nowhere.
    Off,
    /// A file, appended to.
    File(PathBuf),
}
