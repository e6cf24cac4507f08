//! Bodies that wait for who is slower: a WSGI app never waits for a client that sends slowly, and no app for one that reads
//! slowly.

mod answers;
mod requests;

use std::path::Path;

/// How many files are open that have no name and were made in a folder.
fn open_files_of(folder: &Path) -> usize {
    let descriptors = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let targets = descriptors.filter_map(|descriptor| std::fs::read_link(descriptor.path()).ok());
    targets
        .filter(|target| target.starts_with(folder) && target.to_string_lossy().ends_with("(deleted)"))
        .count()
}

/// Bytes in which each place can be told from its neighbours.
fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|place| u8::try_from(place * 31 % 251).unwrap()).collect()
}
