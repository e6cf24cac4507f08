//! Files as bodies: every byte once, in bounded memory, or an error.

use std::io::Write as _;

use http_body_util::BodyExt as _;

use super::*;

fn file(size: u32) -> (File, Vec<u8>) {
    let bytes: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&bytes).unwrap();
    (file, bytes)
}

#[tokio::test]
async fn every_byte_comes_once() {
    for size in [0, 1, 1000, 65_536, 65_537, 1_000_000] {
        let (file, bytes) = file(size);
        let sending = Sending::default();
        let body = FileBody::part(file, 0..size.into(), &sending.by(None)).unwrap();
        assert_eq!(body.size_hint().exact(), Some(size.into()));
        assert_eq!(sending.0.get(), usize::from(u64::from(size) > SMALL));
        assert!(body.collect().await.unwrap().to_bytes() == bytes, "{size}");
        assert_eq!(sending.0.get(), 0);
    }
}

#[tokio::test]
async fn what_is_not_in_memory_is_read_by_another_thread() {
    let (file, bytes) = file(500_000);
    file.sync_all().unwrap();
    // Where the temporary files are in memory themselves, this leaves them there.
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    let body = FileBody::part(file, 100..500_000, &Sending::default().by(None)).unwrap();
    assert!(body.collect().await.unwrap().to_bytes() == bytes[100..]);
}

#[tokio::test]
async fn pieces_and_text_come_in_their_order() {
    let (file, bytes) = file(300_000);
    let text = |text: &'static str| Piece::Text(Bytes::from_static(text.as_bytes()));
    let pieces = [text("<"), Piece::Part(5..8), text("|"), Piece::Part(100_000..300_000), text(">")];
    let body = FileBody::pieces(file, pieces.into(), &Sending::default().by(None)).unwrap();
    assert_eq!(body.left(), 200_006);
    let expected = [b"<", &bytes[5..8], b"|", &bytes[100_000..], b">"].concat();
    assert!(body.collect().await.unwrap().to_bytes() == expected);
}

#[tokio::test]
async fn memory_is_used_again_and_is_bounded() {
    let (file, _) = file(2_000_000);
    let sending = Sending::default();
    let mut body = FileBody::part(file, 0..2_000_000, &sending.by(None)).unwrap();
    let mut places = std::collections::BTreeSet::new();
    while let Some(frame) = body.frame().await {
        let data = frame.unwrap().into_data().unwrap();
        assert!(data.len() <= LARGE);
        places.insert(data.as_ptr() as usize);
    }
    assert_eq!(places.len(), 1);
    for (sent, room) in [(0, LARGE), (128, LARGE), (200, 5 * LEAST), (1000, LEAST), (100_000, LEAST)] {
        sending.0.set(sent);
        assert_eq!(sending.room(), room, "{sent}");
    }
}

#[tokio::test]
async fn a_file_that_becomes_shorter_breaks_the_answer() {
    let (file, _) = file(1_000_000);
    let handle = file.try_clone().unwrap();
    let mut body = FileBody::part(file, 0..1_000_000, &Sending::default().by(None)).unwrap();
    body.frame().await.unwrap().unwrap();
    handle.set_len(300_000).unwrap();
    let error = loop {
        if let Err(error) = body.frame().await.unwrap() {
            break error;
        }
    };
    assert!(matches!(error, FileBodyError::Shorter), "{error}");
    assert!(!body.is_end_stream());
}
