//! Where the lines go: standard output, a file, or the system's log.
//!
//! Invariant: what a sink is given are whole lines, and each of them is either written once, as a line of its own, or
//! counted as lost.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::{Rotation, Syslog};

/// Where lines go.
#[derive(Debug)]
pub enum Sink {
    /// Standard output.
    Stdout,
    /// A file, appended to.
    File(LogFile),
    /// The system's log.
    Syslog(Syslog),
}

/// What became of some lines.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// How many are not where they should be.
    pub(super) lost: u64,
    /// Why, for the last of them.
    pub(super) error: Option<io::Error>,
}

impl Sink {
    /// Opens a file to append to, and makes it if it is not there.
    pub fn file(path: &Path, rotation: &Rotation) -> io::Result<Self> {
        LogFile::open(path, rotation).map(Self::File)
    }

    /// Writes lines. None are given when there may be something else to do.
    pub(super) fn write(&mut self, lines: &[u8]) -> Written {
        match self {
            Self::Stdout => {
                let mut out = io::stdout().lock();
                match out.write_all(lines).and_then(|()| out.flush()) {
                    Ok(()) => Written::default(),
                    Err(error) => Written { lost: count(lines), error: Some(error) },
                }
            }
            Self::File(file) => file.write(lines),
            Self::Syslog(syslog) => syslog.write(lines),
        }
    }
}

/// A file that lines are appended to.
#[derive(Debug)]
pub struct LogFile {
    file: File,
    path: PathBuf,
    rotation: Rotation,
    /// So often had it been asked for a new file when this one was opened.
    opened_at: u64,
    /// Whether the last line in it has no end, since the disk was full.
    torn: bool,
}

impl LogFile {
    fn open(path: &Path, rotation: &Rotation) -> io::Result<Self> {
        let opened_at = rotation.times();
        let file = append_to(path)?;
        Ok(Self { file, path: path.to_owned(), rotation: rotation.clone(), opened_at, torn: false })
    }

    fn write(&mut self, lines: &[u8]) -> Written {
        let asked = self.rotation.times();
        if asked != self.opened_at {
            self.opened_at = asked;
            self.reopen();
        }
        let mut rest = lines;
        if self.torn && !rest.is_empty() {
            match self.file.write(b"\n") {
                Ok(1..) => self.torn = false,
                Ok(0) => return Written { lost: count(rest), error: Some(io::ErrorKind::WriteZero.into()) },
                Err(error) => return Written { lost: count(rest), error: Some(error) },
            }
        }
        while !rest.is_empty() {
            let error = match self.file.write(rest) {
                Ok(written @ 1..) => {
                    self.torn = rest.get(written - 1) != Some(&b'\n');
                    rest = rest.get(written..).unwrap_or_default();
                    continue;
                }
                Ok(0) => io::ErrorKind::WriteZero.into(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => error,
            };
            return Written { lost: count(rest), error: Some(error) };
        }
        Written::default()
    }

    /// Goes on with the file that is at the path now, and makes it if there is none.
    fn reopen(&mut self) {
        let path = self.path.display();
        match append_to(&self.path) {
            Ok(file) => {
                tracing::info!(%path, "the access log's file is opened anew");
                (self.file, self.torn) = (file, false);
            }
            Err(error) => {
                tracing::error!(%path, %error, "the access log's file cannot be opened anew; lines go to the old one");
            }
        }
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

/// How many lines there are.
fn count(lines: &[u8]) -> u64 {
    lines.iter().filter(|byte| **byte == b'\n').count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_opened_anew_when_that_is_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let moved = folder.path().join("access.log.1");
        let read = |path: &Path| std::fs::read_to_string(path).unwrap();
        let rotation = Rotation::default();
        rotation.ask();
        let mut file = LogFile::open(&path, &rotation).unwrap();
        file.write(b"1\n");
        std::fs::rename(&path, &moved).unwrap();
        file.write(b"2\n");
        assert_eq!(read(&moved), "1\n2\n", "what was asked before it was opened was not asked of it");
        rotation.ask();
        file.write(b"3\n");
        assert_eq!((read(&moved).as_str(), read(&path).as_str()), ("1\n2\n", "3\n"));
        // Nothing can be made where a folder is.
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        rotation.ask();
        assert_eq!(file.write(b"4\n").lost, 0, "it goes on with the old one");
        std::fs::remove_dir(&path).unwrap();
        rotation.ask();
        file.write(b"");
        assert_eq!(read(&path), "", "a file is made when it is asked for, not with the next line");
    }

    #[test]
    fn what_a_full_disk_does_not_take_is_counted() {
        let mut file = LogFile::open(Path::new("/dev/full"), &Rotation::default()).unwrap();
        let written = file.write(b"1\n2\n");
        assert_eq!(written.lost, 2);
        assert_eq!(written.error.unwrap().kind(), io::ErrorKind::StorageFull);
    }
}
