//! Open streams: they go on, unless what they were let in by was taken away.

use std::time::Duration;

use crate::support::{NO_APP, SECRET, Sidestream, Subscriber, in_front_of, token};

/// Long enough for a stream to have been looked at, if it was to be ended.
const MOMENT: Duration = Duration::from_millis(300);

fn is_told(site: &Sidestream, stream: &mut Subscriber, what: &str) {
    let told = site.publish(&format!(r#"{{"user": 1, "data": "{what}"}}"#));
    assert!(told["delivered"].as_u64().unwrap() > 0, "{what}: {told}");
    assert_eq!(stream.data(), what);
}

#[test]
fn what_does_not_concern_them_leaves_them_alone() {
    let site = Sidestream::start(&in_front_of(NO_APP, "", ""));
    let mut stream = Subscriber::of(site.connect(), "1");
    for (what, instead) in [
        ("[[route]]\npath = \"/\"", "[[route]]\npath = \"/x/\""),
        ("path = \"/events\"\n", "path = \"/events\"\n\n"),
        ("auth = [\"jwt\"]", "auth = [\"jwt\"]\nretry = \"9s\"\nmax_per_user = 1\nallow = [\"more\"]"),
        ("[auth.jwt]", "[auth.another]\nkind = \"authjs\"\nsecret = \"0123456789abcdef\"\n[auth.jwt]"),
        ("address = \"127.0.0.1:0\"", "address = \"127.0.0.1:0\"\nidle_timeout = \"9s\""),
        ("[publish]", "[limits]\nstreams = 1\nstreams_per_user = 1\n[publish]"),
    ] {
        site.reload_with(what, instead);
        is_told(&site, &mut stream, "still here");
    }
    assert!(stream.is_silent_for(MOMENT));
    assert_eq!(site.count("revoked"), 0);
}

#[test]
fn a_key_that_is_taken_away_ends_its_streams_and_no_others() {
    let anonymous = "[[route]]\npath = \"/open\"\n[route.stream]\nauth = []\nchannels = [\"all\"]\n";
    let site = Sidestream::start(&in_front_of(NO_APP, "", anonymous));
    let streams: Vec<_> = (0..20).map(|_| Subscriber::of(site.connect(), "1")).collect();
    let mut open = Subscriber::open(site.connect(), "/open", "");
    site.reload_with(SECRET, "another secret that nobody has had before");
    for stream in streams {
        // It must be abrupt, and without a word: the client comes back.
        assert_eq!(stream.end(), "");
    }
    let refused = site.connect().get(&format!("/events?token={}", token("1")), "").response();
    assert_eq!(refused.status, 401);
    assert_eq!(site.publish(r#"{"channel": "all", "data": "still here"}"#)["delivered"], 1);
    assert_eq!(open.data(), "still here");
    site.becomes("revoked", 20);
}

#[test]
fn a_route_that_is_taken_away_ends_its_streams() {
    for (what, instead) in [
        ("path = \"/events\"", "path = \"/elsewhere\""),
        ("path = \"/events\"", "path = \"/events\"\nhosts = [\"test\"]"),
        ("auth = [\"jwt\"]", "auth = []"),
        ("auth = [\"jwt\"]", "auth = [\"jwt\"]\nchannels = [\"all\"]"),
        ("cookie = \"token\"", "cookie = \"other\""),
    ] {
        let site = Sidestream::start(&in_front_of(NO_APP, "", ""));
        let stream = Subscriber::of(site.connect(), "1");
        site.reload_with(what, instead);
        assert_eq!(stream.end(), "", "{instead}");
    }
}

#[test]
fn a_stream_that_was_moved_and_moved_back_in_time_stays_for_who_comes_back() {
    let site = Sidestream::start(&in_front_of(NO_APP, "", ""));
    let first = Subscriber::of(site.connect(), "1");
    let last_id = first.last_id.clone();
    site.reload_with(SECRET, "another secret that nobody has had before");
    first.end();
    site.publish(r#"{"user": 1, "data": "missed"}"#);
    site.reload_with("another secret that nobody has had before", SECRET);
    assert_eq!(Subscriber::resume(site.connect(), "1", &last_id).data(), "missed");
}

/// The address of a stream of the first user, with a ticket.
fn address_with_ticket(site: &Sidestream) -> String {
    let mut client = site.connect();
    let fields = format!("Authorization: Bearer {}\r\nContent-Length: 0\r\n", token("1"));
    client.send(format!("POST /events?ticket=1 HTTP/1.1\r\nHost: test\r\n{fields}\r\n"));
    format!("/events?ticket={}", client.response().json()["ticket"].as_str().unwrap())
}

#[test]
fn a_ticket_goes_with_what_stands_behind_it() {
    for (what, instead) in [
        (format!("\"{SECRET}\""), "\"another secret that nobody has had before\""),
        ("auth = [\"jwt\"]".to_owned(), "auth = [\"session\"]"),
        ("cookie = \"token\"".to_owned(), "cookie = \"token\"\nrequire = { staff = true }"),
    ] {
        let session = "[auth.session]\nkind = \"authjs\"\nsecret = \"0123456789abcdef\"\n";
        let site = Sidestream::start(&in_front_of(NO_APP, "", session));
        let target = address_with_ticket(&site);
        let stream = Subscriber::open(site.connect(), &target, "");
        site.reload_with(&what, instead);
        let mut again = site.connect();
        again.get(&target, "");
        assert!(again.head().starts_with("HTTP/1.1 401 "), "{instead}");
        assert_eq!(stream.end(), "", "{instead}");
        site.becomes("revoked", 1);
    }
}

#[test]
fn a_ticket_stays_good_while_that_stands() {
    let site = Sidestream::start(&in_front_of(NO_APP, "", ""));
    let target = address_with_ticket(&site);
    let mut stream = Subscriber::open(site.connect(), &target, "");
    for (what, instead) in [
        ("cookie = \"token\"", "cookie = \"other\"\nleeway = \"9s\""),
        ("[auth.jwt]", "[auth.another]\nkind = \"authjs\"\nsecret = \"0123456789abcdef\"\n[auth.jwt]"),
        ("auth = [\"jwt\"]", "auth = [\"another\", \"jwt\"]"),
    ] {
        site.reload_with(what, instead);
        is_told(&site, &mut stream, "still here");
        Subscriber::open(site.connect(), &target, "");
    }
    assert!(stream.is_silent_for(MOMENT));
    assert_eq!(site.count("revoked"), 0);
}
