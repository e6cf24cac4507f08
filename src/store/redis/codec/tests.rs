//! What the scripts and other nodes say, read as it is written there.

use proptest::prelude::*;

use super::*;

fn bulk(text: &str) -> Value {
    Value::BulkString(text.as_bytes().to_vec())
}

fn epoch() -> Epoch {
    epoch_of("abc123").unwrap()
}

#[test]
fn an_event_is_read_from_what_the_script_publishes() {
    let told = b"e abc123-9 7 000000000000000a 3 1 a,user:1 1700 2700 3\nkeydata: x\ndata: y\n\n";
    let Some(Heard::Event(of, told)) = heard(Some("user:1"), told) else { panic!() };
    assert_eq!((of, told.before, told.by), (epoch(), 7, (NodeId(10), Ticket(3), 1)));
    assert_eq!(told.channel.as_str(), "user:1");
    assert_eq!(told.channels.iter().map(ChannelName::as_str).collect::<Vec<_>>(), ["a", "user:1"]);
    let record = told.record;
    assert_eq!((record.seq, record.at), (9, Timestamp(1700)));
    assert_eq!(record.expires, Some(Timestamp(2700)));
    assert_eq!(record.frame.expires(), record.expires);
    assert_eq!(record.collapse.as_deref(), Some("key"));
    assert_eq!(&record.frame.text()[..], b"id: abc123-9\ndata: x\ndata: y\n\n");
    assert!(heard(None, b"e abc123-9 7 a 3 1 a 1700 0 0\n").is_none());
}

#[test]
fn marks_answers_and_new_epochs_are_read() {
    let Some(Heard::Read { seqs, up_to, by, .. }) = heard(Some("user:1"), b"r abc123 b 4 2 5,6") else {
        panic!()
    };
    assert_eq!((seqs, up_to, by), (vec![5, 6], 2, (NodeId(11), Ticket(4))));
    let Some(Heard::Read { seqs, .. }) = heard(Some("user:1"), b"r abc123 b 4 2 ") else { panic!() };
    assert!(seqs.is_empty());
    let all = [1, 2].map(|index| Answer { from: NodeId(7), ticket: Ticket(1), index, copies: 2, streams: 3 });
    let Some(Heard::Answers(read)) = heard(None, answers(&all).as_bytes()) else { panic!() };
    assert_eq!(read, all);
    assert!(matches!(heard(None, b"n abc123"), Some(Heard::Began(began)) if began == epoch()));
}

#[test]
fn replies_to_a_batch_are_for_all_of_it() {
    let reply = |parts: &[&str]| Value::Array(parts.iter().map(|part| bulk(part)).collect());
    let both = reply(&["new", "5", "2", "before", "3", "-1"]);
    let expected = vec![Stored::New { seq: 5, copies: 2 }, Stored::Before { seq: 3, streams: None }];
    assert_eq!(published(&both, 2), Some(Ok(expected)));
    assert_eq!(published(&both, 3), None);
    let before = Stored::Before { seq: 3, streams: Some(4) };
    assert_eq!(published(&reply(&["before", "3", "4"]), 1), Some(Ok(vec![before])));
    let reused = Value::Array(vec![bulk("reused"), Value::Int(1)]);
    assert_eq!(published(&reused, 2), Some(Err(NotStored::KeyReused { index: 1 })));
    assert_eq!(published(&reused, 1), None);
    assert_eq!(published(&reply(&["new", "5"]), 1), None);
}

#[test]
fn a_load_and_a_joined_deployment_are_read() {
    let list = |parts: &[&str]| Value::Array(parts.iter().map(|part| bulk(part)).collect());
    let of =
        |is_last, events, marks| Value::Array(vec![Value::Int(is_last), bulk("4"), bulk("9"), events, marks]);
    let full = of(1, list(&["5", "17 0 0\ndata: x\n\n"]), list(&["u", "2", "6", "6"]));
    let reply = Value::Array(vec![bulk("9"), full, of(0, list(&[]), list(&[]))]);
    let (head, pieces) = loaded(&reply, epoch()).unwrap();
    assert_eq!((head, pieces.len()), (9, 2));
    assert_eq!((pieces[0].is_last, pieces[0].lost, pieces[0].last), (true, 4, 9));
    assert_eq!(&pieces[0].records[0].frame.text()[..], b"id: abc123-5\ndata: x\n\n");
    let mark = pieces[0].mark.as_ref().unwrap();
    assert_eq!((mark.up_to(), mark.holds(6), mark.holds(5)), (2, true, false));
    assert!(!pieces[1].is_last && pieces[1].mark.is_none());

    let reply = list(&["abc123", "40", "10-20,30-35", "42", "1700"]);
    let joined = joined(&reply).unwrap();
    assert_eq!(joined.blocks, [("42".into(), Timestamp(1700))]);
    assert_eq!(ranges(&joined.holes), Some(vec![10..20, 30..35]));
    assert_eq!(super::joined(&list(&["abc123", "40", "10-"])), None);
}

proptest! {
    #[test]
    fn a_farewell_comes_back(
        name in prop::option::of("[a-z \u{e9}]{1,9}"), data in "[^\\x00]{0,30}", retry: Option<u32>, block: bool,
    ) {
        let name = name.as_deref().and_then(|name| EventName::configured(name).ok());
        let event = Event { name, data: data.into(), retry };
        let mut told = format!("k 000000000000000a 3 {} 42 ", if block { 1700 } else { 0 }).into_bytes();
        let bare = told.clone();
        told.extend(farewell(Some(&event)));
        let Some(Heard::Kick { user, event: read, until, by }) = heard(None, &told) else { panic!() };
        prop_assert_eq!((&*user, read, until), ("42", Some(event), block.then_some(Timestamp(1700))));
        prop_assert_eq!(by, (NodeId(10), Ticket(3)));
        let is_bare = matches!(heard(None, &bare), Some(Heard::Kick { event: None, .. }));
        prop_assert!(is_bare);
    }

    #[test]
    fn nothing_that_is_told_panics(kind in "[erkan] ", told in prop::collection::vec(any::<u8>(), 0..60)) {
        let all: Vec<u8> = kind.into_bytes().into_iter().chain(told).collect();
        let _ = heard(Some("a"), &all);
        let _ = heard(None, &all);
    }

    #[test]
    fn nothing_that_is_nearly_right_panics(cut in 0usize..70, byte: u8) {
        let mut told = b"e abc123-9 7 000000000000000a 3 1 a,user:1 1700 2700 3\nkeydata: x\n\n".to_vec();
        let at = cut % told.len();
        told[at] = byte;
        let _ = heard(Some("a"), &told);
        let _ = heard(Some("a"), &told[..at]);
    }
}
