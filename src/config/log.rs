//! `[log]`: what is written down, and where.

mod levels;
mod traces;

use std::path::{Path, PathBuf};

use super::MAX_SOCKET_PATH;
use super::problem::{Fault, Problem};
use super::reader::{Section, Value};
use crate::access_log::Format;

pub use levels::Levels;
pub use traces::Traces;

/// Where the system's log is, unless the file says otherwise.
const SYSLOG: &str = "/dev/log";

const FORMATS: [(&str, Format); 3] =
    [("json", Format::Json), ("logfmt", Format::Logfmt), ("combined", Format::Combined)];

/// The access log, and how much is said on stderr.
#[derive(Debug, Clone, PartialEq)]
pub struct Log {
    /// Where the access log goes.
    pub access: AccessLog,
    /// How its lines look.
    pub format: Format,
    /// How much is said on stderr.
    pub level: Levels,
    /// Where spans are sent, if they are.
    pub traces: Option<Traces>,
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
        let level = section.value("level").and_then(|value| value.parse(Levels::parse));
        let syslog = section.value("syslog").and_then(|value| value.parse(|text| socket(text, base)));
        log.access = access.unwrap_or(log.access);
        match (&mut log.access, syslog) {
            (AccessLog::Syslog(path), Some(socket)) => *path = socket,
            (_, Some(_)) => section.report.add(
                Problem::new(
                    "`syslog` is where `access = \"syslog\"` sends its lines, and this log is elsewhere",
                )
                .at(section.key_span("syslog")),
            ),
            (_, None) => {}
        }
        log.level = level.unwrap_or(log.level);
        log.traces = Traces::read(&section, base);
        log
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { access: AccessLog::Stdout, format: Format::default(), level: Levels::default(), traces: None }
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
    /// The system's log, at this socket.
    Syslog(PathBuf),
}

/// Reads where the access log goes. A bare word is more likely a mistake than the name of a file.
fn access(value: &Value<'_>, base: &Path) -> Option<AccessLog> {
    let access = value.parse(|text| match text {
        "stdout" => Ok(AccessLog::Stdout),
        "off" => Ok(AccessLog::Off),
        "syslog" => Ok(AccessLog::Syslog(SYSLOG.into())),
        path if path.contains(['/', '.']) => Ok(AccessLog::File(base.join(path))),
        word => Err(Fault::new("is none of \"stdout\", \"off\", \"syslog\" and a path")
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

/// Reads where the system's log takes datagrams.
fn socket(text: &str, base: &Path) -> Result<PathBuf, Fault> {
    let path = base.join(text);
    if text.is_empty() {
        return Err(Fault::new("is empty").hint(format!("leave it out for \"{SYSLOG}\"")));
    }
    if path.as_os_str().len() > MAX_SOCKET_PATH {
        return Err(Fault::new(format!("is longer than the {MAX_SOCKET_PATH} bytes that the system allows")));
    }
    Ok(path)
}
