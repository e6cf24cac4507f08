//! A history on disk that cannot be read: its reader is told and cut off, and comes back.

use std::sync::atomic::Ordering;
use std::thread;

use http_body::Body as _;

use super::*;
use crate::event::Epoch;
use crate::hub::Hub;
use crate::store::{Disk, Limits, SyncMode};

#[test]
fn a_stream_whose_history_cannot_be_read_is_told_and_cut_off() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let _within = runtime.enter();
    let folder = tempfile::tempdir().unwrap();
    let limits =
        Limits { age: world::AGE, events: 1000, bytes: 1 << 24, max_bytes: 1 << 26, max_channels: 99 };
    let (sync, epoch) = (SyncMode::Always, Epoch::from_bits(0));
    let open = Disk::open(folder.path(), limits, sync, epoch, Timestamp::now()).unwrap();
    let disk = open.disk.clone();
    let (hub, committer) = Hub::on_disk(1, open, sync);
    let committer = thread::spawn(move || committer.run());
    let mut world = World::over(hub);
    (0..100).for_each(|_| world.publish(1, Old::New));
    while disk.head() < 100 {
        thread::yield_now();
    }
    let streams = world.streams.clone();
    let mut delivering = std::pin::pin!(streams.deliver());
    let mut catching_up = std::pin::pin!(streams.keep_catching_up());
    turn(delivering.as_mut());

    // The first page can be read, and the next cannot.
    world.open(0, 1, &From::Id(0));
    assert!(world.read(0, 1 + PAGE_EVENTS));
    disk.fault().refuses_reads.store(true, Ordering::SeqCst);
    turn(catching_up.as_mut());
    // Nor can the first of another.
    world.open(1, 1, &From::Id(0));
    assert!(world.read(1, 1));
    turn(catching_up.as_mut());
    for client in [0, 1] {
        let session = world.sessions[client].as_mut().unwrap();
        let mut next = || runtime.block_on(std::future::poll_fn(|cx| session.body.as_mut().poll_frame(cx)));
        let words = next().unwrap().unwrap().into_data().unwrap();
        let said = "event: error\ndata: {\"error\":\"Internal Server Error\",\"code\":500}\n\n";
        assert_eq!(std::str::from_utf8(&words).unwrap(), said);
        assert!(matches!(next(), Some(Err(_))), "it ends as if it were whole");
    }
    assert_eq!(streams.all().len(), 0);

    // What it had is right as far as it came, and it comes back for the rest.
    world.check(0);
    disk.fault().refuses_reads.store(false, Ordering::SeqCst);
    world.open(0, 1, &From::There);
    assert!(world.read(0, 1000));
    let session = world.sessions[0].take().unwrap();
    assert_eq!(session.said.len(), 100 - PAGE_EVENTS);
    world.check_said(&session, true);
    world.hub.close();
    committer.join().unwrap();
}
