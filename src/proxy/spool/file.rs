//! A file without a name: it is gone when it is closed, also when the process is killed.

use std::fs::{File, OpenOptions, remove_file};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use bytes::Bytes;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use tokio::runtime::Handle;

/// The largest file that is closed without another thread, in bytes.
const SMALL: u64 = 1024 * 1024;

/// How often another name is tried, where a file has to have one for a moment.
const NAMES: u32 = 16;

/// Bytes that are written at the end and read from the beginning.
#[derive(Debug)]
pub(super) struct SpoolFile {
    file: File,
    read: u64,
    written: u64,
}

impl SpoolFile {
    /// An empty one in a folder.
    pub(super) fn new(folder: &Path) -> io::Result<Self> {
        Ok(Self { file: nameless(folder)?, read: 0, written: 0 })
    }

    /// How much is to be read.
    pub(super) fn len(&self) -> u64 {
        self.written - self.read
    }

    /// How much it takes on the disk.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Writes a piece, or nothing that would ever be read.
    pub(super) fn append(&mut self, piece: &[u8]) -> io::Result<()> {
        self.file.write_all_at(piece, self.written)?;
        self.written += piece.len() as u64;
        Ok(())
    }

    /// Reads the next bytes, as many as there are and at most so many.
    pub(super) fn take(&mut self, most: usize) -> io::Result<Bytes> {
        let length = usize::try_from(self.len()).map_or(most, |left| left.min(most));
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, self.read)?;
        self.read += length as u64;
        Ok(bytes.into())
    }

    /// Closes it, and with it all that it held is gone. The worker does not wait for that where it takes long.
    pub(super) fn let_go(self) {
        if self.written > SMALL
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn_blocking(move || drop(self));
        }
    }
}

fn nameless(folder: &Path) -> io::Result<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    match open(folder, flags, Mode::RUSR | Mode::WUSR) {
        Ok(file) => Ok(file.into()),
        // A file system, or a kernel, that knows no files without a name (open(2)).
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => unnamed(folder),
        Err(error) => Err(error.into()),
    }
}

/// A file whose name is taken away as soon as it is open.
fn unnamed(folder: &Path) -> io::Result<File> {
    let mut tries = 0..NAMES;
    loop {
        let path = folder.join(format!(".sidestream-{}-{:016x}", std::process::id(), fastrand::u64(..)));
        match OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path) {
            Ok(file) => return remove_file(&path).map(|()| file),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && tries.next().is_some() => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_no_name_and_forgets_nothing() {
        let folder = tempfile::tempdir().unwrap();
        for make in [nameless, unnamed] {
            let mut file = SpoolFile { file: make(folder.path()).unwrap(), read: 0, written: 0 };
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
            file.append(b"one ").unwrap();
            file.append(b"two").unwrap();
            assert_eq!(file.take(3).unwrap(), "one");
            assert_eq!((file.len(), file.written()), (4, 7));
            assert_eq!(file.take(100).unwrap(), " two");
        }
    }

    #[test]
    fn a_folder_that_is_not_there_is_said() {
        assert_eq!(SpoolFile::new(Path::new("/nowhere")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
