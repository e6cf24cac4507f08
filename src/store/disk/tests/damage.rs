//! Whatever becomes of its files, a store never tells of what was not published, and never keeps a loss to itself.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::*;
use crate::store::Mark;

/// What is done to a file.
#[derive(Debug, Clone, Copy)]
enum Damage {
    Flip,
    Zeros,
    Cut,
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else if path.file_name().is_some_and(|name| name != "lock") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// Damages a file somewhere in what was written to it, as far in as so many thousandths. Says whether anything has changed.
fn damage(path: &Path, place: u64, how: Damage) -> bool {
    let size = journal::written(path).unwrap();
    if size == 0 {
        return false;
    }
    let at = size * place / 1000;
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    match how {
        Damage::Cut => file.set_len(at).unwrap(),
        Damage::Flip | Damage::Zeros => {
            let mut bytes = [0; 20];
            let length = file.read_at(&mut bytes, at).unwrap();
            let was = bytes;
            let bytes = &mut bytes[..length];
            match how {
                Damage::Zeros => bytes.fill(0),
                _ => bytes[0] ^= 1 << (at % 8),
            }
            file.write_all_at(bytes, at).unwrap();
            return *bytes != was[..length];
        }
    }
    true
}

fn numbered(epoch: Epoch, seq: u64) -> Kept {
    let names = [["a"], ["b"]][(seq % 2) as usize];
    let mut kept = kept(epoch, &names, seq, 0);
    let data = format!("{seq} ").repeat(40);
    kept.record.frame =
        Event { name: None, data: data.into_bytes().into(), retry: None }.frame(EventId { epoch, seq });
    kept
}

/// Reads all there is of both channels, each of which must be what was published under its number.
fn read_all(disk: &Disk, upto: u64) -> Result<(Vec<u64>, bool), DiskError> {
    let (mut after, mut seqs) = (0, Vec::new());
    while after < upto {
        let page = disk.page(&[channel("a"), channel("b")], after, upto, Timestamp(0))?;
        for record in &page.records {
            assert_eq!(record.frame.chunk(), numbered(disk.epoch(), record.seq).record.frame.chunk());
            seqs.push(record.seq);
        }
        if page.gap {
            return Ok((seqs, true));
        }
        after = page.read;
    }
    Ok((seqs, false))
}

/// Writes a history of some batches. Some of it is in the engine's tables, the rest in its journal.
fn write(folder: &TempDir, batches: &[u64], tables_after: usize, is_closed: bool) -> (Epoch, u64) {
    let limits = Limits { events: 10_000, ..LIMITS };
    let OpenDisk { disk, mut writer, .. } = open_with(folder, limits, SyncMode::Always, 1).unwrap();
    let (epoch, mut seq) = (disk.epoch(), 0);
    for (place, events) in batches.iter().enumerate() {
        let batch: Vec<_> = (seq + 1..=seq + events).map(|seq| numbered(epoch, seq)).collect();
        writer.write(batch.iter()).unwrap();
        seq += events;
        let mut mark = Mark::default();
        mark.raise(seq);
        writer.write_marks([(&channel("a"), Some(&mark))].into_iter()).unwrap();
        if place == tables_after {
            let engine = disk.engine().unwrap();
            for keyspace in [&engine.events, &engine.channels, &engine.marks, &engine.about] {
                keyspace.rotate_memtable_and_wait().unwrap();
            }
        }
    }
    if is_closed {
        writer.close().unwrap();
    }
    (epoch, seq)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_store_tells_less_but_never_wrong(
        batches in prop::collection::vec(1u64..20, 1..12),
        tables_after in 0usize..16,
        is_closed in any::<bool>(),
        which in any::<prop::sample::Index>(),
        place in 0u64..1000,
        how in prop::sample::select(vec![Damage::Flip, Damage::Zeros, Damage::Cut]),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let (epoch, head) = write(&folder, &batches, tables_after, is_closed);
        let files = files(folder.path());
        let file = which.get(&files);
        let is_damaged = damage(file, place, how);

        let limits = Limits { events: 10_000, ..LIMITS };
        let opened = open_with(&folder, limits, SyncMode::Always, 2);
        let OpenDisk { disk, mut writer, marks, is_new_epoch, aside, .. } = match opened {
            Ok(opened) => opened,
            // One bit more makes it a newer version's.
            Err(DiskError::Newer { .. }) if file.ends_with("version") => return Ok(()),
            Err(error) => panic!("{error} {error:?} {file:?}"),
        };
        prop_assert_eq!(is_new_epoch, disk.epoch() != epoch, "{:?} head {}", file, disk.head());
        prop_assert!(is_damaged || !is_new_epoch);
        prop_assert!(aside.is_none() || is_new_epoch);
        let was = disk.head();
        // A mark may be lost, and is one that was written.
        let read = marks.of(&channel("a")).map_or(0, Mark::up_to);
        let mut marked = batches.iter().scan(0, |seq, events| { *seq += events; Some(*seq) });
        let is_one = read == 0 || marked.any(|seq| seq == read);
        prop_assert!(is_one && read <= was, "{read} of {was}");
        prop_assert!(is_new_epoch || was == head, "{was} of {head}");
        match read_all(&disk, was) {
            Ok((seqs, has_gap)) => {
                prop_assert!(!has_gap);
                prop_assert!(is_new_epoch || seqs == (1..=head).collect::<Vec<_>>());
            }
            // Only seen when it is read: then history begins anew, behind a gap.
            Err(error) => {
                prop_assert!(error.is_damage() && !writer.is_sound(), "{error}");
                let aside = writer.recover().unwrap();
                prop_assert!(aside.is_some());
                prop_assert_eq!(disk.head(), was);
                prop_assert_eq!(read_all(&disk, was).unwrap(), (vec![], was > 0));
            }
        }
        // It goes on, with ids that were not given before.
        let seq = disk.head() + 1;
        let written = writer.write([numbered(disk.epoch(), seq)].iter());
        if let Err(error) = written {
            prop_assert!(!writer.is_sound(), "{error}");
            writer.recover().unwrap();
            writer.write([numbered(disk.epoch(), seq)].iter()).unwrap();
        }
        prop_assert!(disk.epoch() != epoch || seq > head);
        let page = disk.page(&[channel("a"), channel("b")], seq - 1, seq, Timestamp(0)).unwrap();
        prop_assert_eq!(page.records.iter().map(|record| record.seq).collect::<Vec<_>>(), [seq]);
    }
}

#[test]
fn what_was_set_aside_is_there_and_only_the_last() {
    let folder = tempfile::tempdir().unwrap();
    for round in 1..=2 {
        let (_, head) = write(&folder, &[round, 1], 0, true);
        assert_eq!(head, round + 1);
        fs::write(folder.path().join("keyspaces/1/current"), "").unwrap();
        let opened = open_with(&folder, LIMITS, SyncMode::Always, 7).unwrap();
        let aside = opened.aside.unwrap();
        assert_eq!(aside.folder, folder.path().join("damaged"));
        assert!(aside.folder.join("version").exists() && !aside.why.is_empty());
        assert_eq!((opened.disk.head(), opened.is_new_epoch), (0, true));
        drop((opened.disk, opened.writer));
    }
    // Interrupted half-way: it goes on.
    fs::create_dir(folder.path().join("damaged.part")).unwrap();
    fs::rename(folder.path().join("version"), folder.path().join("damaged.part/version")).unwrap();
    let opened = open_with(&folder, LIMITS, SyncMode::Always, 8).unwrap();
    assert!(opened.is_new_epoch && opened.disk.epoch() == Epoch::from_bits(8));
}

#[test]
fn a_list_of_tables_that_is_damaged_is_set_aside_and_told() {
    for name in ["0/current", "1/current", "0/v*", "1/v*"] {
        let mut place = 0;
        loop {
            let folder = tempfile::tempdir().unwrap();
            let (epoch, _) = write(&folder, &[3, 2], 0, true);
            let mut path = folder.path().join("keyspaces").join(name);
            if name.ends_with('*') {
                // What the engine knows is the highest.
                let number =
                    |path: &PathBuf| path.file_name()?.to_str()?.strip_prefix('v')?.parse::<u64>().ok();
                let lists = files(path.parent().unwrap());
                path = lists.into_iter().max_by_key(|path| number(path)).unwrap();
            }
            let mut bytes = fs::read(&path).unwrap();
            let Some(byte) = bytes.get_mut(place) else { break };
            *byte ^= 1;
            fs::write(&path, bytes).unwrap();
            let opened = open_with(&folder, LIMITS, SyncMode::Always, 2).unwrap();
            assert!(opened.aside.is_some() && opened.is_new_epoch, "{name} {place}");
            assert!(opened.disk.epoch() != epoch);
            place += 41;
        }
        assert!(place > 0);
    }
}

#[test]
fn a_pointer_to_older_tables_is_not_believed() {
    for bit in 0..4 {
        let folder = tempfile::tempdir().unwrap();
        let (epoch, head) = write(&folder, &[3, 2], 0, true);
        let path = folder.path().join("keyspaces/1/current");
        let mut bytes = fs::read(&path).unwrap();
        bytes[0] ^= 1 << bit;
        fs::write(path, bytes).unwrap();
        let OpenDisk { disk, .. } = open_with(&folder, LIMITS, SyncMode::Always, 2).unwrap();
        assert!(disk.epoch() != epoch || read_all(&disk, head).unwrap().0.len() as u64 == head, "{bit}");
    }
}

#[test]
fn nobody_sets_aside_what_another_process_has() {
    let folder = tempfile::tempdir().unwrap();
    let _opened = open(&folder);
    fs::write(folder.path().join("version"), "?").unwrap();
    let error = open_with(&folder, LIMITS, SyncMode::Always, 1).unwrap_err();
    assert!(matches!(error, DiskError::Locked { .. }), "{error}");
}
