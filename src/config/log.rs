//! `[log]`: what is written down, and where.

use std::path::{Path, PathBuf};

use tracing::level_filters::LevelFilter;

use super::problem::Fault;
use super::reader::{Section, Value};
use crate::access_log::Format;

const LEVELS: [(&str, LevelFilter); 6] = [
    ("off", LevelFilter::OFF),
    ("error", LevelFilter::ERROR),
    ("warn", LevelFilter::WARN),
    ("info", LevelFilter::INFO),
    ("debug", LevelFilter::DEBUG),
    ("trace", LevelFilter::TRACE),
];

const FORMATS: [(&str, Format); 3] =
    [("json", Format::Json), ("logfmt", Format::Logfmt), ("combined", Format::Combined)];

/// The access log, and how much is said on stderr.
#[derive(Debug, Clone, PartialEq)]
pub struct Log {
    /// Where the access log goes.
    pub access: AccessLog,
    /// How its lines look.
    pub format: Format,
    /// The least severe message that reaches stderr.
    pub level: LevelFilter,
}

impl Log {
    /// Reads `[log]`.
    pub(super) fn read(section: Option<Section<'_>>, base: &Path) -> Self {
        let mut log = Self::default();
        let Some(section) = section else {
            return log;
        };
        let access = section.value("access").and_then(|value| access(&value, base));
        let format = section.value("format").and_then(|value| value.choice(&FORMATS, &[]));
        log.format = format.unwrap_or_default();
        let level = section.value("level").and_then(|value| value.choice(&LEVELS, &[]));
        log.access = access.unwrap_or(log.access);
        log.level = level.unwrap_or(log.level);
        log
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { access: AccessLog::Stdout, format: Format::default(), level: LevelFilter::INFO }
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

/// Reads where the access log goes. A bare word is more likely a mistake than the name of a file.
fn access(value: &Value<'_>, base: &Path) -> Option<AccessLog> {
    let access = value.parse(|text| match text {
        "stdout" => Ok(AccessLog::Stdout),
        "off" => Ok(AccessLog::Off),
        path if path.contains(['/', '.']) => Ok(AccessLog::File(base.join(path))),
        word => Err(Fault::new("is none of \"stdout\", \"off\" and a path")
            .hint(format!("write \"./{word}\" if a file is meant"))),
    })?;
    if let AccessLog::File(path) = &access {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        if folder.is_some_and(|folder| !folder.is_dir()) {
            value.fault(
                Fault::new("is in a folder that does not exist").hint("make the folder first (mkdir -p)"),
            );
        } else if path.is_dir() {
            value.fault(Fault::new("is a folder, not a file"));
        }
    }
    Some(access)
}
