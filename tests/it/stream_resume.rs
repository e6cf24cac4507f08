//! Coming back: exactly what was missed, or the word that something was.

mod random;

use crate::support::{NO_APP, Said, Sidestream, Subscriber, in_front_of, token};

fn publish(site: &Sidestream, user: &str, data: &str) -> String {
    let reply = site.publish(&format!(r#"{{"user": "{user}", "data": "{data}"}}"#));
    reply["id"].as_str().unwrap_or_else(|| panic!("{reply}")).to_owned()
}

fn said(id: &str, data: &str) -> Said {
    Said { id: Some(id.to_owned()), event: String::new(), data: Some(data.to_owned()) }
}

/// What a subscriber is told of a gap: the newest id, and why.
fn reset(head: &str, reason: &str) -> Said {
    let data = format!("{{\"reason\": \"{reason}\"}}");
    Said { id: Some(head.to_owned()), event: "reset".to_owned(), data: Some(data) }
}

#[test]
fn the_last_id_is_taken_in_every_spelling() {
    let site = Sidestream::start(&in_front_of(NO_APP, "", ""));
    let mut ids: Vec<_> = ["0", "1", "2"].map(|data| publish(&site, "42", data)).into();
    let (first, last, token) = (ids[0].clone(), ids[2].clone(), token("42"));
    for (query, fields) in [
        ("", format!("Last-Event-ID: {first}\r\n")),
        ("", format!("last-event-id:{first}\r\n")),
        (&*format!("&lastEventId={first}"), String::new()),
        (&*format!("&lastEventID={first}"), String::new()),
        (&*format!("&last_event_id={first}"), String::new()),
        (&*format!("&lastEventId={}", first.replace('-', "%2D")), String::new()),
        // The browser's own word is the newer one: the query is what the page was opened with.
        (&*format!("&lastEventId={last}"), format!("Last-Event-ID: {first}\r\n")),
    ] {
        let target = format!("/events?token={token}{query}");
        let mut subscriber = Subscriber::open(site.connect(), &target, &fields);
        assert_eq!(subscriber.last_id, first, "{query} {fields}: it opens with the client's own id");
        publish(&site, "43", "for another");
        ids.push(publish(&site, "42", &ids.len().to_string()));
        for (data, id) in ids.iter().enumerate().skip(1) {
            assert_eq!(subscriber.event(), said(id, &data.to_string()), "{query} {fields}");
        }
    }
    // Each of them missed what the earlier ones saw.
    assert_eq!((site.count("resumed"), site.count("replayed"), site.count("resets")), (7, 14 + 21, 0));
}

#[test]
fn the_id_of_the_opening_is_enough_to_come_back_with() {
    let site = Sidestream::start(&in_front_of(NO_APP, "", ""));
    publish(&site, "42", "before");
    let opened_with = Subscriber::of(site.connect(), "42").last_id;
    let id = publish(&site, "42", "meanwhile");
    let mut subscriber = Subscriber::resume(site.connect(), "42", &opened_with);
    assert_eq!(subscriber.event(), said(&id, "meanwhile"));
    // One that has everything gets nothing again.
    let mut subscriber = Subscriber::resume(site.connect(), "42", &id);
    assert_eq!(subscriber.last_id, id);
    let id = publish(&site, "42", "after");
    assert_eq!(subscriber.event(), said(&id, "after"));
}

#[test]
fn without_an_id_it_begins_with_what_comes_next() {
    let site = Sidestream::start(&in_front_of(NO_APP, "", ""));
    let target = format!("/events?token={}", token("42"));
    for fields in ["", "Last-Event-ID:\r\n"] {
        let before = publish(&site, "42", "before");
        let mut subscriber = Subscriber::open(site.connect(), &target, fields);
        assert_eq!(subscriber.last_id, before);
        let id = publish(&site, "42", "after");
        assert_eq!(subscriber.event(), said(&id, "after"));
    }
    assert_eq!((site.count("resumed"), site.count("resets")), (0, 0));
}

#[test]
fn an_id_that_is_not_ours_is_told_so_and_the_stream_goes_on() {
    let site = Sidestream::start(&in_front_of(NO_APP, "", ""));
    publish(&site, "42", "one");
    let head = publish(&site, "42", "two");
    let (epoch, seq) = head.split_once('-').unwrap();
    let (seq, other_epoch) =
        (seq.parse::<u64>().unwrap(), if epoch == "000000" { "000001" } else { "000000" });
    for (id, reason) in [
        ("nonsense", "unknown-id"),
        ("1", "unknown-id"),
        ("1642678901234-0", "unknown-id"),
        ("-", "unknown-id"),
        (&format!("{epoch}-"), "unknown-id"),
        (&format!("{epoch}-x"), "unknown-id"),
        (&format!("{epoch}-01"), "unknown-id"),
        (&format!("{epoch}-99999999999999999999999"), "unknown-id"),
        (&format!("{epoch}-{}", seq + 1), "unknown-id"),
        (&format!("{other_epoch}-{seq}"), "new-epoch"),
        (&format!("{other_epoch}-0"), "new-epoch"),
        (&"x".repeat(5000), "unknown-id"),
        ("\u{fc}", "unknown-id"),
    ] {
        let mut subscriber = Subscriber::resume(site.connect(), "42", id);
        // Cut here, it still has its old id and is told when it comes back.
        assert_eq!((&*subscriber.opening, &*subscriber.last_id), ("retry: 5000", ""), "{id:.80}");
        assert_eq!(subscriber.event(), reset(&head, reason), "{id:.80}");
        assert_eq!(subscriber.last_id, head, "{id:.80}");
    }
    assert_eq!((site.count("resets"), site.count("resumed")), (13, 0));
    let mut subscriber = Subscriber::resume(site.connect(), "42", "nonsense");
    subscriber.event();
    let id = publish(&site, "42", "three");
    assert_eq!(subscriber.event(), said(&id, "three"));
}

#[test]
fn history_that_does_not_reach_the_id_is_told_so() {
    let site = Sidestream::start(&in_front_of(NO_APP, "", "[store]\nevents = 3\n"));
    let ids: Vec<_> = ["1", "2", "3", "4", "5"].map(|data| publish(&site, "42", data)).into();
    let history = [said(&ids[2], "3"), said(&ids[3], "4"), said(&ids[4], "5")];
    let mut subscribers = Vec::new();
    for (last, expected) in
        [(0, &[reset(&ids[4], "expired")][..]), (1, &history), (3, &history[2..]), (4, &[])]
    {
        let mut subscriber = Subscriber::resume(site.connect(), "42", &ids[last]);
        for event in expected {
            assert_eq!(&subscriber.event(), event, "after {}", last + 1);
        }
        subscribers.push(subscriber);
    }
    // That another's history is short is nothing to this one.
    subscribers.push(Subscriber::resume(site.connect(), "43", &ids[0]));
    let id = site.publish(r#"{"users": [42, 43], "data": "6"}"#)["id"].as_str().unwrap().to_owned();
    for mut subscriber in subscribers {
        assert_eq!(subscriber.event(), said(&id, "6"));
    }
    assert_eq!((site.count("resumed"), site.count("resets")), (4, 1));
}

#[test]
fn a_gap_may_be_told_in_the_words_of_the_app_or_not_at_all() {
    let own = "[[route]]\npath = \"/own\"\n[route.stream]\nauth = [\"jwt\"]\n\
               on_gap = { event = \"refresh\", data = '{\"all\": true}' }\n";
    let site = Sidestream::start(&in_front_of(NO_APP, "on_gap = \"ignore\"", own));
    let head = publish(&site, "42", "one");
    let mut silent = Subscriber::resume(site.connect(), "42", "nonsense");
    let target = format!("/own?token={}", token("42"));
    let mut own = Subscriber::open(site.connect(), &target, "Last-Event-ID: nonsense\r\n");
    let refresh = Said {
        id: Some(head.clone()),
        event: "refresh".to_owned(),
        data: Some("{\"all\": true}".to_owned()),
    };
    assert_eq!(own.event(), refresh);
    let id = publish(&site, "42", "two");
    assert_eq!(own.event(), said(&id, "two"));
    assert_eq!((silent.last_id.clone(), silent.event()), (head, said(&id, "two")));
}

#[test]
fn a_route_without_replay_begins_with_what_comes_next() {
    let site = Sidestream::start(&in_front_of(NO_APP, "replay = \"none\"", ""));
    let ids: Vec<_> = ["1", "2"].map(|data| publish(&site, "42", data)).into();
    for id in [&*ids[0], "nonsense"] {
        let mut subscriber = Subscriber::resume(site.connect(), "42", id);
        assert_eq!(subscriber.last_id.split_once('-').unwrap().0, ids[0].split_once('-').unwrap().0);
        let live = publish(&site, "42", "live");
        assert_eq!(subscriber.event(), said(&live, "live"), "{id}");
    }
    assert_eq!((site.count("replayed"), site.count("resets")), (0, 0));
}

#[test]
fn what_several_channels_missed_comes_in_order_and_once() {
    let site = Sidestream::start(&in_front_of(NO_APP, "allow = [\"a\", \"b\", \"c\"]", ""));
    let start = publish(&site, "1", "start");
    for (channels, data) in [
        ("[\"b\"]", 1),
        ("[\"a\", \"b\"]", 2),
        ("[\"a\"]", 3),
        ("[\"c\"]", 4),
        ("[\"all\", \"a\", \"b\"]", 5),
    ] {
        site.publish(&format!(r#"{{"channels": {channels}, "data": "{data}"}}"#));
    }
    let target = format!("/events?token={}&channels=a,b", token("42"));
    let mut subscriber = Subscriber::open(site.connect(), &target, &format!("Last-Event-ID: {start}\r\n"));
    assert_eq!([(); 4].map(|()| subscriber.data()), ["1", "2", "3", "5"]);
    let id = publish(&site, "42", "6");
    assert_eq!(subscriber.event(), said(&id, "6"));
}

#[test]
fn a_restart_is_a_new_epoch() {
    let id = {
        let site = Sidestream::start(&in_front_of(NO_APP, "", ""));
        publish(&site, "42", "one")
    };
    let site = Sidestream::start(&in_front_of(NO_APP, "", ""));
    let head = Subscriber::of(site.connect(), "42").last_id;
    assert_ne!(head.split_once('-').unwrap().0, id.split_once('-').unwrap().0);
    let mut subscriber = Subscriber::resume(site.connect(), "42", &id);
    assert_eq!(subscriber.event(), reset(&head, "new-epoch"));
}
