//! Parts of files over a real socket, and what must not be taken for them.

use std::future::poll_fn;
use std::io::Write as _;
use std::task::Waker;
use std::time::Duration;

use rustix::fs::{Advice, fadvise};
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::*;

const PATIENCE: Duration = Duration::from_secs(60);

fn file(length: usize) -> (Arc<File>, Vec<u8>) {
    let bytes: Vec<u8> = (0..=250).cycle().take(length).collect();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&bytes).unwrap();
    file.sync_all().unwrap();
    (Arc::new(file), bytes)
}

/// Puts a file out of memory. Where temporary files are in memory themselves, this leaves it there.
fn forget(file: &File) {
    fadvise(file, 0, None, Advice::DontNeed).unwrap();
}

async fn send(direct: &DirectFiles, socket: &Socket, mut stand_in: Bytes) -> io::Result<()> {
    while !stand_in.is_empty() {
        let sent = poll_fn(|cx| direct.poll_send(cx, socket, &stand_in)).await?;
        let _ = stand_in.split_to(sent);
    }
    Ok(())
}

#[tokio::test]
async fn every_byte_is_the_files_also_when_it_is_not_in_memory_when_it_is_due() {
    let (file, bytes) = file(3 * LONGEST);
    let (ours, mut client) = UnixStream::pair().unwrap();
    let (ours, direct) = (Socket::from(ours), DirectFiles::default());
    let parts =
        [7..LONGEST as u64, 0..1, 1000..LONGEST as u64 + 1000, 3 * LONGEST as u64 - 5..3 * LONGEST as u64];
    let expected: Vec<u8> = parts
        .iter()
        .flat_map(|part| &bytes[usize::try_from(part.start).unwrap()..usize::try_from(part.end).unwrap()])
        .copied()
        .collect();
    let sending = async {
        let stand_ins: Vec<_> = parts.into_iter().map(|part| direct.stand_in(file.clone(), part)).collect();
        assert!(!direct.waiting.borrow().is_empty());
        for stand_in in stand_ins {
            forget(&file);
            send(&direct, &ours, stand_in).await.unwrap();
        }
        direct.all_sent().unwrap();
        assert!(!direct.broke());
        drop(ours);
    };
    let mut came = Vec::new();
    let both = async { tokio::join!(sending, client.read_to_end(&mut came)).1.unwrap() };
    timeout(PATIENCE, both).await.unwrap();
    assert!(came == expected);
}

#[tokio::test]
async fn what_left_memory_after_it_was_promised_is_fetched_by_another_thread() {
    let (file, _) = file(LONGEST);
    let (ours, _client) = UnixStream::pair().unwrap();
    let (ours, direct) = (Socket::from(ours), DirectFiles::default());
    let stand_in = direct.stand_in(file.clone(), 0..LONGEST as u64);
    forget(&file);
    poll_fn(|cx| ours.poll_write_ready(cx)).await.unwrap();
    let is_there = direct.waiting.borrow()[0].found(1) > 0;
    let _ = direct.poll_send(&mut Context::from_waker(Waker::noop()), &ours, &stand_in);
    let part = &direct.waiting.borrow()[0];
    assert_eq!(part.warming.is_some() || part.warm > 0, !is_there);
}

#[tokio::test]
async fn what_is_not_next_is_not_sent() {
    let (file, bytes) = file(1000);
    let (ours, _client) = UnixStream::pair().unwrap();
    let ours = Socket::from(ours);
    // Bytes of others are none, whatever is in them.
    let zeros = vec![0; 1000];
    assert_eq!(
        DirectFiles::before_stand_in(&[IoSlice::new(&zeros), IoSlice::new(&bytes), IoSlice::new(&[])]),
        None
    );
    type Wrong = fn(&DirectFiles, Arc<File>) -> Bytes;
    let wrong: [Wrong; 5] = [
        // One before it was lost.
        |direct, file| {
            direct.stand_in(file.clone(), 0..500);
            direct.stand_in(file, 0..500)
        },
        // A part of it was.
        |direct, file| direct.stand_in(file, 0..500).slice(1..),
        |direct, file| direct.stand_in(file, 0..500).slice(..499),
        // It was written twice.
        |direct, file| {
            let stand_in = direct.stand_in(file, 0..500);
            direct.waiting.borrow_mut().clear();
            stand_in
        },
        // It is of another connection.
        |direct, file| {
            let other = DirectFiles::default();
            other.stand_in(file.clone(), 0..500);
            direct.stand_in(file.clone(), 0..500);
            other.stand_in(file, 0..500)
        },
    ];
    for wrong in wrong {
        let direct = DirectFiles::default();
        let stand_in = wrong(&direct, file.clone());
        assert_eq!(DirectFiles::before_stand_in(&[IoSlice::new(&zeros), IoSlice::new(&stand_in)]), Some(1));
        assert!(send(&direct, &ours, stand_in).await.is_err());
        assert!(direct.broke());
    }
}

#[tokio::test]
async fn a_file_that_became_shorter_breaks_it_off_wherever_that_is_found_out() {
    for left in [0, 100, 200_000] {
        let (file, _) = file(LONGEST);
        let (ours, mut client) = UnixStream::pair().unwrap();
        let (ours, direct) = (Socket::from(ours), DirectFiles::default());
        let stand_in = direct.stand_in(file.clone(), 0..LONGEST as u64);
        file.set_len(left).unwrap();
        let mut came = Vec::new();
        let sending = async {
            assert!(send(&direct, &ours, stand_in).await.is_err() && direct.broke());
            drop(ours);
        };
        let both = async { tokio::join!(sending, client.read_to_end(&mut came)).1.unwrap() };
        timeout(PATIENCE, both).await.unwrap();
        assert_eq!(came.len() as u64, left);
    }
}
