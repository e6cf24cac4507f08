//! `POST /disconnect`: a user's streams end on all workers, and the user stays out if it is blocked.

use serde_json::json;

use crate::support::h2_session::H2Session;
use crate::support::{Client, NO_APP, Said, Sidestream, Subscriber, in_front_of, tls, token};

/// Several workers, a cleartext listener and one for HTTP/2.
fn site(stream: &str, more: &str) -> Sidestream {
    let folder = tempfile::tempdir().unwrap();
    tls::certificate(folder.path(), "test", &["test"]);
    let listen =
        "[[listen]]\naddress = \"127.0.0.1:0\"\ntls = [{ cert = \"test.crt\", key = \"test.key\" }]\n";
    let text = in_front_of(NO_APP, stream, &format!("{listen}{more}"));
    Sidestream::start_in(folder, &text.replace("workers = 2", "workers = 4"))
}

fn disconnect(site: &Sidestream, json: &str) -> serde_json::Value {
    let response = site.post("/disconnect", json);
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()
}

const REFUSED: &str = "event: error\nretry: 3600000\ndata: {\"error\":\"Unauthorized\",\"code\":401}\n\n";

#[test]
fn all_streams_of_the_user_end_and_no_others() {
    let other_channels = "[[route]]\npath = \"/news\"\n[route.stream]\nauth = [\"jwt\"]\nchannels = [\"news\"]\n\
         [limits]\nstreams_per_user = 26\n";
    let site = site("", other_channels);
    let mut session = H2Session::connect(site.address_of(1));
    let mut on_h2 = session.subscribe("42");
    // So many that every worker has some.
    let tabs: Vec<_> = (0..24).map(|_| Subscriber::of(site.connect(), "42")).collect();
    // Of the same user, though nothing of its channels says so.
    let news = Subscriber::open(site.connect(), &format!("/news?token={}", token("42")), "");
    let mut other = Subscriber::of(site.connect(), "4");
    assert_eq!(disconnect(&site, r#"{"user": 42}"#), json!({"disconnected": 26}));
    for tab in tabs {
        // Abrupt, so that a client comes back, and without a word.
        assert_eq!(tab.end(), "");
    }
    assert_eq!((news.end().as_str(), on_h2.try_event()), ("", None));
    assert_eq!(site.publish(r#"{"channel": "all", "data": "on"}"#)["delivered"], 1);
    assert_eq!(other.data(), "on");
    assert_eq!((site.count("disconnected"), site.count("streams")), (26, 1));
    assert_eq!(disconnect(&site, r#"{"user": "42"}"#), json!({"disconnected": 0}));
    // Without a block the user may come back at once, and misses nothing.
    Subscriber::of(site.connect(), "42");
    let logged = || site.access_log();
    let ended = |log: &String| log.matches("\"reason\":\"disconnected\"").count();
    assert_eq!(ended(&site.comes(logged, |log| ended(log) >= 26)), 26);
}

#[test]
fn the_event_comes_first_and_behind_what_was_published_before() {
    let site = site("", "");
    let mut tab = Subscriber::of(site.connect(), "42");
    let mut session = H2Session::connect(site.address_of(1));
    let mut on_h2 = session.subscribe("42");
    let id = site.publish(r#"{"user": 42, "data": "before"}"#)["id"].as_str().unwrap().to_owned();
    disconnect(&site, r#"{"user": 42, "event": "signed-out", "data": {"why": "elsewhere"}}"#);
    site.publish(r#"{"user": 42, "data": "after"}"#);
    let bye = Said { id: None, event: "signed-out".into(), data: Some(r#"{"why": "elsewhere"}"#.into()) };
    for (said, last, end) in
        [(tab.data(), tab.event(), tab.try_event()), (on_h2.data(), on_h2.event(), on_h2.try_event())]
    {
        assert_eq!((said.as_str(), &last, end), ("before", &bye, None));
    }
    // It has no id: a client that comes back gets what came since the event before.
    assert_eq!(tab.last_id, id);
    assert_eq!(Subscriber::resume(site.connect(), "42", &id).data(), "after");
}

#[test]
fn a_blocked_user_stays_out() {
    let told = "[[route]]\npath = \"/told\"\n[route.stream]\nauth = [\"jwt\"]\nunauthorized = \"event\"\n\
                [[route]]\npath = \"/push\"\n[route.publish]\nauth = [\"jwt\"]\n";
    let site = site("", told);
    let tab = Subscriber::of(site.connect(), "42");
    let mut session = H2Session::connect(site.address_of(1));
    let mut on_h2 = session.subscribe("42");
    let reply = disconnect(&site, r#"{"user": 42, "event": "bye", "block": "10m"}"#);
    assert_eq!(reply, json!({"disconnected": 2}));
    assert_eq!(tab.end(), format!("event: bye\ndata: {{}}\n\n{REFUSED}"));
    assert_eq!((on_h2.event().event, on_h2.event().event), ("bye".into(), "error".into()));
    assert_eq!(on_h2.try_event(), None);

    let good = token("42");
    let refused = site.connect().get(&format!("/events?token={good}"), "").response();
    assert_eq!((refused.status, refused.json()["error"].as_str()), (401, Some("unauthorized")));
    assert_eq!(session.get(&format!("/events?token={good}"), &[]).status(), 401);
    let told = site.connect().get(&format!("/told?token={good}"), "Connection: close\r\n").response();
    assert_eq!((told.status, told.text()), (200, REFUSED.to_owned()));
    let bearer = |user: &str| format!("Authorization: Bearer {}\r\n", token(user));
    let push = |user: u32| {
        let body = format!(r#"{{"user": {user}, "data": 1}}"#);
        site.connect().post("/push", &bearer(&user.to_string()), &body).response().status
    };
    assert_eq!((push(42), push(43)), (401, 200));
    // Others come in, and the app may still publish to the user: it is kept for later.
    Subscriber::of(site.connect(), "43");
    assert_eq!(site.publish(r#"{"user": 42, "data": 1}"#)["delivered"], 0);
    assert_eq!(site.count("streams_refused"), 3);
}

#[test]
fn a_block_ends_by_itself() {
    let site = site("", "");
    disconnect(&site, r#"{"user": 42, "block": "1h"}"#);
    // The last word counts.
    disconnect(&site, r#"{"user": 42, "block": "3s"}"#);
    let target = format!("/events?token={}", token("42"));
    assert_eq!(site.connect().get(&target, "").response().status, 401);
    let open = || {
        let mut client = site.connect();
        client.get(&target, "");
        client.head()
    };
    let head = site.comes(open, |head| !head.contains(" 401 "));
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
}

#[test]
fn nobody_slips_in_while_a_block_begins() {
    let site = site("", "");
    for round in 0..20 {
        let target = format!("/events?token={}", token(&format!("user-{round}")));
        let address = site.address().to_owned();
        let opening = std::thread::spawn(move || {
            let mut clients: Vec<_> = (0..8).map(|_| Client::connect(&address)).collect();
            for client in &mut clients {
                client.get(&target, "Connection: close\r\n");
            }
            // Streams that were let in are ended, and those that were not never begin: all connections end.
            clients.into_iter().map(|mut client| client.rest()).filter(|said| !said.is_empty()).count()
        });
        disconnect(&site, &format!(r#"{{"user": "user-{round}", "block": "1h"}}"#));
        assert_eq!(opening.join().unwrap(), 8);
        assert_eq!(site.count("streams"), 0);
    }
}

#[test]
fn a_publication_that_is_on_its_way_when_a_block_begins_is_refused() {
    let site = site("", "[[route]]\npath = \"/push\"\n[route.publish]\nauth = [\"jwt\"]\n");
    let body = r#"{"user": 42, "data": 1}"#;
    let mut client = site.connect();
    // Asked to go on, it has been let in, and its body is waited for.
    client.send(format!(
        "POST /push HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {}\r\nExpect: 100-continue\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        token("42"),
        body.len()
    ));
    let head = client.head();
    assert!(head.starts_with("HTTP/1.1 100 "), "{head}");
    disconnect(&site, r#"{"user": 42, "block": "10m"}"#);
    assert_eq!(client.send(body).response().status, 401);
}

#[test]
fn a_request_is_refused_that_is_not_understood() {
    let site = site("", "");
    let tab = Subscriber::of(site.connect(), "42");
    for (body, field) in [
        ("{}", Some("user")),
        (r#"{"user": 42, "blok": "1m"}"#, Some("blok")),
        (r#"{"user": 42, "block": "25h"}"#, Some("block")),
        (r#"{"user": 42, "event": "error"}"#, Some("event")),
        ("[42]", None),
    ] {
        let response = site.post("/disconnect", body);
        assert_eq!((response.status, response.json()["field"].as_str()), (400, field), "{body}");
    }
    assert_eq!(site.post("/disconnect", "{").json()["error"], "invalid_json");
    let socket = format!("unix:{}", site.publish_socket().display());
    let get = Client::connect(&socket).get("/disconnect", "").response();
    assert_eq!((get.status, get.field("allow")), (405, Some("POST")));
    // Not from a page, and not on a public port.
    let page =
        Client::connect(&socket).post("/disconnect", "Origin: http://test\r\n", r#"{"user": 42}"#).response();
    assert_eq!(page.status, 403);
    assert_eq!(site.count("streams"), 1);
    drop(tab);
}
