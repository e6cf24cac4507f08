use std::collections::VecDeque;

use super::*;

/// Bytes that are not like those before them.
fn piece(length: usize) -> Vec<u8> {
    (0..length).map(|_| fastrand::u8(..)).collect()
}

#[test]
fn what_goes_in_comes_out_in_order_and_is_given_back() {
    let folder = tempfile::tempdir().unwrap();
    for (memory, disk) in [(1 << 20, 1 << 24), (0, 1 << 24)] {
        let spools = Spools::new(folder.path().into(), memory, disk);
        let mut spool = Spool::new(&spools);
        let (mut sent, mut came) = (VecDeque::new(), Vec::new());
        let mut all = Vec::new();
        for round in 0..200 {
            let data = piece(fastrand::usize(1..100_000));
            all.extend_from_slice(&data);
            sent.push_back(data.len());
            spool.push(&data).unwrap();
            while round % 3 == 2 && fastrand::u8(..) > 32 {
                let Some(bytes) = spool.pop().unwrap() else { break };
                assert!(!bytes.is_empty());
                came.extend_from_slice(&bytes);
            }
            assert_eq!(spool.len(), (all.len() - came.len()) as u64);
        }
        while let Some(bytes) = spool.pop().unwrap() {
            came.extend_from_slice(&bytes);
        }
        assert!(came == all && spool.is_empty() && spool.has_file());
        assert_eq!(spools.taken(), (0, 0));
        spool.push(&piece(100_000)).unwrap();
        assert_ne!(spools.taken(), (0, 0));
        drop(spool);
        assert_eq!(spools.taken(), (0, 0));
    }
}

#[test]
fn all_together_stay_within_their_bounds() {
    let folder = tempfile::tempdir().unwrap();
    let spools = Spools::new(folder.path().into(), 64 << 10, 1 << 20);
    let mut kept: Vec<Spool> = Vec::new();
    let refused = loop {
        assert!(kept.len() < 100);
        let mut spool = Spool::new(&spools);
        match spool.push(&piece(60_000)) {
            Ok(()) => kept.push(spool),
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, SpoolError::Full), "{refused}");
    // One in memory, and four in files, of which each takes a step.
    assert_eq!(kept.len(), 5);
    kept.clear();
    assert_eq!(spools.taken(), (0, 0));
}

#[test]
fn what_no_file_takes_is_kept_and_nothing_more() {
    let folder = tempfile::tempdir().unwrap();
    let spools = Spools::new(folder.path().into(), 1 << 20, 1 << 20);
    let mut spool = Spool::new(&spools);
    while spool.has_memory() {
        spool.push_ahead(Bytes::from_static(&[1; 50_000]));
    }
    assert_eq!(spool.len(), 100_000);
    assert!(spool.has_disk(1 << 20) && !spool.has_disk(1000));
    // The folder has gone.
    folder.close().unwrap();
    spool.push_ahead(Bytes::from_static(b"last"));
    assert!(!spool.has_memory() && !spool.has_disk(1 << 20));
    assert_eq!(spool.pop().unwrap().unwrap().len(), 100_000);
    assert!(!spool.has_memory());
    assert_eq!(spool.pop().unwrap().unwrap(), "last");
    assert!(spool.pop().unwrap().is_none() && spool.has_memory());
}

#[test]
fn what_is_read_ahead_is_counted_and_leaves_room_for_uploads() {
    let folder = tempfile::tempdir().unwrap();
    let spools = Spools::new(folder.path().into(), 64 << 10, 1 << 20);
    let mut kept: Vec<Spool> = Vec::new();
    loop {
        let mut spool = Spool::new(&spools);
        if !spool.has_memory() && !spool.has_disk(u64::MAX) {
            break;
        }
        assert!(kept.len() < 100);
        spool.push_ahead(piece(60_000).into());
        kept.push(spool);
    }
    let in_memory: usize = kept.iter().map(|spool| spool.memory.len()).sum();
    assert!(in_memory <= 64 << 10, "{in_memory} bytes");
    // Half of the disk is left for what clients send.
    assert_eq!(spools.taken(), (64 << 10, 512 << 10));
    Spool::new(&spools).push(&piece(60_000)).unwrap();
}
