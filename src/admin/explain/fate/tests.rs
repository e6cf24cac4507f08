//! The judgement, over what black-box tests cannot bring about at will.

use super::*;
use crate::event::Epoch;

/// The event with this number, published at 1000 for user 42 and kept.
const SEQ: u64 = 10;

fn id(seq: u64) -> EventId {
    EventId { epoch: Epoch::from_bits(1), seq }
}

fn case(standing: Standing) -> Case {
    let own = ChannelName::of_user("42").unwrap();
    let trace = Trace {
        standing,
        is_ours: true,
        at: Some(Timestamp(1000)),
        expires: None,
        channels: vec![own.clone()],
        unnamed: 0,
        knows_channels: true,
        unread: None,
    };
    let reach = Some(Reach { since: Timestamp(0), has_forgotten: false });
    Case { id: id(SEQ), own, trace, reach }
}

/// A stream of the user that was opened before the event and has had one after it.
fn stream() -> StreamRecord {
    StreamRecord {
        serial: 1,
        route: "/events".into(),
        protocol: "HTTP/1.1",
        channels: [ChannelName::of_user("42").unwrap()].into_iter().collect(),
        opened: Timestamp(900),
        ended: None,
        epoch: Epoch::from_bits(1),
        began: Began::Now,
        first: 5,
        head: 5,
        was_behind: false,
        cursor: 12,
        handed: 12,
        gaps: [].into_iter().collect(),
        outlived: [].into_iter().collect(),
        outlived_before: 0,
        is_reading: false,
        unwritten: None,
        events: 3,
        waiting: 0,
    }
}

fn fate(case: &Case, change: impl FnOnce(&mut StreamRecord)) -> Fate {
    let mut record = stream();
    change(&mut record);
    case.fate(&record, Some(Timestamp(1001)))
}

#[test]
fn a_stream_was_given_what_lies_between_its_first_and_its_last() {
    let kept = case(Standing::Kept);
    let ended = Some((Timestamp(2000), "gone"));
    for (is, change) in [
        (Fate::Written, Box::new(|_: &mut _| ()) as Box<dyn FnOnce(&mut StreamRecord)>),
        (Fate::Written, Box::new(|s| s.cursor = SEQ)),
        (Fate::Written, Box::new(|s| s.unwritten = Some(SEQ + 1))),
        (Fate::Queued, Box::new(|s| s.unwritten = Some(SEQ))),
        (Fate::Queued, Box::new(|s| s.unwritten = Some(SEQ - 3))),
        (Fate::Queued, Box::new(|s| (s.cursor, s.is_reading) = (SEQ - 1, true))),
        (Fate::Queued, Box::new(|s| (s.cursor, s.handed) = (SEQ - 1, SEQ - 1))),
        (Fate::Unknown, Box::new(|s| s.cursor = SEQ - 1)),
        (Fate::CutOff, Box::new(move |s| (s.ended, s.unwritten) = (ended, Some(SEQ)))),
        (Fate::CutOff, Box::new(move |s| (s.ended, s.cursor) = (ended, SEQ - 1))),
        (Fate::EndedBefore, Box::new(move |s| (s.ended, s.cursor, s.handed) = (ended, 9, 9))),
        (Fate::OpenedAfter, Box::new(|s| (s.first, s.head) = (SEQ, SEQ))),
        (Fate::ResumedAfter, Box::new(|s| (s.began, s.first, s.head) = (Began::Resumed, SEQ, 11))),
        (Fate::Written, Box::new(|s| (s.began, s.first, s.head) = (Began::Resumed, SEQ - 1, 11))),
        (Fate::Written, Box::new(|s| (s.began, s.first, s.head) = (Began::Unread, 11, 11))),
        (Fate::Gap, Box::new(|s| s.gaps.push((SEQ - 1, SEQ)))),
        (Fate::Written, Box::new(|s| s.gaps.push((SEQ, SEQ + 1)))),
        (Fate::NotGranted, Box::new(|s| s.channels.clear())),
        (Fate::OpenedAfter, Box::new(|s| (s.first, s.head) = (SEQ, SEQ))),
    ] {
        let mut record = stream();
        change(&mut record);
        assert_eq!(kept.fate(&record, None), is, "{record:?}");
    }
}

#[test]
fn what_was_of_no_use_at_its_turn_is_told_from_what_became_so() {
    let over = Case {
        trace: Trace { expires: Some(Timestamp(1500)), ..case(Standing::Outlived).trace },
        ..case(Standing::Kept)
    };
    assert_eq!(fate(&over, |_| ()), Fate::Written);
    assert_eq!(fate(&over, |s| s.outlived.push(SEQ)), Fate::PassedOver);
    assert_eq!(fate(&over, |s| s.outlived_before = SEQ), Fate::Unknown);
    assert_eq!(fate(&over, |s| s.was_behind = true), Fate::Unknown);
    assert_eq!(over.fate(&stream(), None), Fate::Unknown);
    let later = |s: &mut StreamRecord| {
        (s.began, s.first, s.head, s.opened) = (Began::Resumed, 5, 11, Timestamp(1600))
    };
    assert_eq!(fate(&over, later), Fate::PassedOver);

    let collapsed = case(Standing::Collapsed { by: Some((id(11), Timestamp(1200))) });
    assert_eq!(fate(&collapsed, |_| ()), Fate::Written);
    assert_eq!(fate(&collapsed, later), Fate::PassedOver);
    let between = |s: &mut StreamRecord| (s.began, s.head) = (Began::Resumed, SEQ);
    assert_eq!(fate(&collapsed, between), Fate::Written);
    assert_eq!(fate(&case(Standing::Collapsed { by: None }), between), Fate::Unknown);
    assert_eq!(
        fate(&case(Standing::Dropped), |s| (s.began, s.first, s.head) = (Began::Unread, 11, 11)),
        Fate::Unknown
    );
}

#[test]
fn what_is_not_remembered_is_not_guessed() {
    let mut kept = case(Standing::Kept);
    assert_eq!(kept.outcome(&[]), Outcome::NotConnected);
    assert_eq!(kept.outcome(&[Fate::EndedBefore, Fate::Unknown]), Outcome::Unknown);
    assert_eq!(kept.outcome(&[Fate::Unknown, Fate::Written]), Outcome::Delivered);
    kept.reach = Some(Reach { since: Timestamp(999), has_forgotten: true });
    assert_eq!(kept.outcome(&[]), Outcome::NotConnected);
    kept.reach = Some(Reach { since: Timestamp(1000), has_forgotten: true });
    assert_eq!(kept.outcome(&[]), Outcome::Unknown);
    kept.reach = None;
    assert_eq!(kept.outcome(&[]), Outcome::Unknown);

    for (standing, outcome) in [
        (Standing::Outlived, Outcome::Expired),
        (Standing::TooOld, Outcome::Expired),
        (Standing::Dropped, Outcome::Evicted),
        (Standing::Collapsed { by: None }, Outcome::Collapsed),
        (Standing::Unknown, Outcome::Unknown),
        (Standing::NeverKept, Outcome::NeverPublished),
        (Standing::Writing, Outcome::Queued),
    ] {
        assert_eq!(case(standing).outcome(&[Fate::OpenedAfter]), outcome, "{standing:?}");
        let mut before = case(standing);
        before.trace.is_ours = false;
        let is_known = matches!(standing, Standing::NeverKept | Standing::Writing);
        assert_eq!(before.outcome(&[]), if is_known { outcome } else { Outcome::Unknown }, "{standing:?}");
    }
    let mut of_others = case(Standing::Kept);
    of_others.trace.channels = vec![ChannelName::of_user("43").unwrap()];
    assert_eq!(of_others.outcome(&[]), Outcome::NotGranted);
    of_others.trace.knows_channels = false;
    assert_eq!(of_others.outcome(&[]), Outcome::NotConnected);
}
