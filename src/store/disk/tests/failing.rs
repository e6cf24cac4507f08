//! What fails to be written was never there, and the store goes on.

use std::sync::atomic::Ordering;

use super::*;

fn seqs(disk: &Disk) -> Vec<u64> {
    read(disk, &["a"], 0, 0).0
}

#[test]
fn a_batch_that_failed_is_nowhere_even_if_it_reached_the_disk() {
    for is_reopened in [false, true] {
        for reaches_the_disk in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let OpenDisk { disk, mut writer, .. } = open(&folder);
            writer
                .write([kept(disk.epoch(), &["a"], 1, 0), kept(disk.epoch(), &["a"], 2, 0)].iter())
                .unwrap();
            let fault = disk.fault();
            let broken = if reaches_the_disk { &fault.fails_after_writes } else { &fault.refuses_writes };
            broken.store(true, Ordering::SeqCst);
            let mut lost = kept(disk.epoch(), &["a", "b"], 3, 0);
            lost.key = Some(KeptKey {
                name: "k".into(),
                digest: 1,
                id: EventId { epoch: disk.epoch(), seq: 3 },
                streams: 0,
                until: Timestamp(1000),
            });
            writer.write([lost].iter()).unwrap_err();
            broken.store(false, Ordering::SeqCst);
            assert!(!writer.is_sound());
            assert_eq!(writer.may_have_kept(), reaches_the_disk);
            // Nothing is taken before it was opened again, which would be behind what is to be taken back.
            writer.write([kept(disk.epoch(), &["a"], 4, 0)].iter()).unwrap_err();
            assert!(writer.recover().unwrap().is_none());
            assert!(writer.is_sound() && !writer.may_have_kept());
            assert_eq!((seqs(&disk), disk.head()), (vec![1, 2], 2));
            assert_eq!(disk.channel(&channel("b")), None);
            writer.write([kept(disk.epoch(), &["a"], 5, 0)].iter()).unwrap();
            let look = |disk: &Disk| assert_eq!((seqs(disk), disk.head()), (vec![1, 2, 5], 5));
            look(&disk);
            let epoch = disk.epoch();
            drop((disk, writer));
            if is_reopened {
                let opened = open_with(&folder, LIMITS, SyncMode::Always, 9).unwrap();
                assert_eq!((opened.disk.epoch(), opened.keys), (epoch, vec![]));
                look(&opened.disk);
            }
        }
    }
}

#[test]
fn it_is_tried_until_the_disk_lets_it() {
    let folder = tempfile::tempdir().unwrap();
    let OpenDisk { disk, mut writer, .. } = open(&folder);
    writer.write([kept(disk.epoch(), &["a"], 1, 0)].iter()).unwrap();
    let fault = disk.fault();
    fault.fails_after_writes.store(true, Ordering::SeqCst);
    fault.refuses_opening.store(true, Ordering::SeqCst);
    writer.write([kept(disk.epoch(), &["a"], 2, 0)].iter()).unwrap_err();
    for _ in 0..3 {
        writer.recover().unwrap_err();
        // It is out of the journal already: nobody who opens the store finds it.
        assert!(!writer.may_have_kept() && !writer.is_sound());
        let error = disk.page(&[channel("a")], 0, 1, Timestamp(0)).unwrap_err();
        assert!(matches!(error, DiskError::Away), "{error}");
    }
    fault.fails_after_writes.store(false, Ordering::SeqCst);
    fault.refuses_opening.store(false, Ordering::SeqCst);
    writer.recover().unwrap();
    assert_eq!(seqs(&disk), [1]);
}

#[test]
fn a_reader_is_waited_for_and_reads_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let OpenDisk { disk, mut writer, .. } = open(&folder);
    writer.write([kept(disk.epoch(), &["a"], 1, 0)].iter()).unwrap();
    disk.fault().refuses_writes.store(true, Ordering::SeqCst);
    writer.write([kept(disk.epoch(), &["a"], 2, 0)].iter()).unwrap_err();
    disk.fault().refuses_writes.store(false, Ordering::SeqCst);
    let reading = disk.engine().unwrap();
    let error = writer.recover().unwrap_err();
    assert!(matches!(error, DiskError::Away), "{error}");
    assert_eq!(seqs(&disk), [1], "what was there is read all the while");
    drop(reading);
    writer.recover().unwrap();
    assert_eq!(seqs(&disk), [1]);
}

#[test]
fn a_history_that_cannot_be_read_begins_anew_behind_a_gap() {
    let folder = tempfile::tempdir().unwrap();
    let OpenDisk { disk, mut writer, .. } = open(&folder);
    let epoch = disk.epoch();
    writer.write([kept(epoch, &["a"], 1, 0), kept(epoch, &["b"], 2, 0)].iter()).unwrap();
    let engine = disk.engine().unwrap();
    let id = disk.index().get(&channel("a")).unwrap().id;
    engine.events.insert(entry::event_key(id, 1), "nonsense").unwrap();
    drop(engine);
    let error = disk.page(&[channel("a")], 0, 2, Timestamp(0)).unwrap_err();
    assert!(error.is_damage() && !writer.is_sound(), "{error}");
    let aside = writer.recover().unwrap().unwrap();
    assert!(aside.folder.join("keyspaces").is_dir());
    for name in ["a", "b", "c"] {
        assert_eq!(read(&disk, &[name], 1, 0), (vec![], true));
        assert_eq!(read(&disk, &[name], 2, 0), (vec![], false));
    }
    writer.write([kept(epoch, &["a"], 3, 0)].iter()).unwrap();
    assert_eq!(read(&disk, &["a"], 2, 0), (vec![3], false));
    drop((disk, writer));
    let opened = open_with(&folder, LIMITS, SyncMode::Always, 9).unwrap();
    assert_eq!((opened.disk.epoch(), opened.disk.head()), (epoch, 3));
    assert_eq!(read(&opened.disk, &["b"], 1, 0), (vec![], true));
}
