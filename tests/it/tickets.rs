//! Tickets: a credential handed in by POST, and what stands for it in the address of a stream.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::backend::Backend;
use crate::support::h2_session::H2Session;
use crate::support::tokens::{in_a, now, signed};
use crate::support::{
    Client, NO_APP, Program, Response, SECRET, Sidestream, Site, Subscriber, at_some_pace, in_front_of, tls,
    token,
};

/// Streams besides `/events`: one that needs claims, one for anybody, and one whose provider allows no leeway.
const MORE: &str = r#"
[auth.exact]
kind = "jwt"
secret = "a secret of the tests, thirty-two bytes and more"
leeway = "0s"
[[route]]
path = "/exact"
[route.stream]
auth = ["exact"]
[[route]]
path = "/tenant"
[route.stream]
auth = ["jwt"]
channels = ["tenant.{tenant}"]
allow = ["team.{team}.*"]
[[route]]
path = "/public"
[route.stream]
auth = []
[[route]]
path = "/told"
[route.stream]
auth = ["jwt"]
unauthorized = "event"
"#;

fn start() -> Sidestream {
    Sidestream::start(&in_front_of(NO_APP, "", MORE))
}

fn post(mut client: Client, target: &str, fields: &str) -> Response {
    client.send(format!("POST {target} HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n{fields}\r\n{{}}"));
    client.response()
}

fn ticket_for(site: &Sidestream, route: &str, claims: &Value) -> String {
    let fields = format!("Authorization: Bearer {}\r\n", signed(claims));
    let response = post(site.connect(), &format!("{route}?ticket=1"), &fields);
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()["ticket"].as_str().unwrap().to_owned()
}

fn ticket_of(site: &Sidestream, user: &str) -> String {
    ticket_for(site, "/events", &json!({"sub": user, "exp": now() + 7200}))
}

#[test]
fn a_ticket_opens_streams_of_its_user_again_and_again() {
    let site = start();
    for (target, fields) in [
        (format!("/events?ticket=1&token={}", token("42")), String::new()),
        ("/events?ticket=1".to_owned(), format!("Authorization: Bearer {}\r\n", token("42"))),
        (
            "/events?ticket=1".to_owned(),
            format!("Cookie: token={}\r\nContent-Type: application/json; charset=utf-8\r\n", token("42")),
        ),
    ] {
        let response = post(site.connect(), &target, &fields);
        assert_eq!(response.status, 200, "{}", response.text());
        assert_eq!(response.field("content-type"), Some("application/json"));
        assert_eq!(response.field("cache-control"), Some("no-store"));
        let said = response.json();
        let left = said["expires_in"].as_u64().unwrap();
        assert!((3590..=3600).contains(&left), "{left}");
        assert_eq!(said.as_object().unwrap().len(), 2, "{said}");
        let ticket = said["ticket"].as_str().unwrap();
        assert!(ticket.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)), "{ticket}");
        let target = format!("/events?ticket={ticket}");
        for _ in 0..2 {
            // Of a page of any site: whoever has the ticket was given it.
            let mut subscriber =
                Subscriber::open(site.connect(), &target, "Origin: https://elsewhere.example\r\n");
            site.publish(r#"{"user": 43, "data": "not for this one"}"#);
            site.publish(r#"{"user": 42, "data": "hello"}"#);
            assert_eq!(subscriber.data(), "hello");
        }
    }
}

#[test]
fn it_opens_streams_over_http2_too() {
    let site = Site::before(NO_APP).tls(&[&["test"]]).start();
    let fields = format!("Authorization: Bearer {}\r\n", token("42"));
    let response = post(tls::connect(site.address(), "test"), "/events?ticket=1", &fields);
    let target = format!("/events?ticket={}", response.json()["ticket"].as_str().unwrap());
    let mut session = H2Session::connect(site.address());
    let mut subscriber = session.open(&target, &[]);
    site.publish(r#"{"user": 42, "data": "hello"}"#);
    assert_eq!(subscriber.data(), "hello");
    let fields = [("authorization", format!("Bearer {}", token("42")))];
    let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(session.send("POST", "/events?ticket=1", &fields).status(), 200);
}

#[test]
fn it_is_good_for_its_route_only() {
    let site = start();
    let ticket = ticket_of(&site, "42");
    for target in ["/exact", "/tenant"] {
        let response = site.connect().get(&format!("{target}?ticket={ticket}"), "").response();
        assert_eq!(response.status, 401, "{target}");
        assert!(response.text().contains("not one of this stream"), "{}", response.text());
    }
    for spoilt in [String::new(), "1".to_owned(), format!("{ticket}A"), ticket[1..].to_owned()] {
        let response = site.connect().get(&format!("/events?ticket={spoilt}"), "").response();
        assert_eq!(response.status, 401, "{spoilt}");
        assert!(spoilt.len() < 2 || !response.text().contains(&spoilt), "the ticket came back");
    }
    let told = site.connect().get(&format!("/told?ticket={ticket}"), "Connection: close\r\n").response();
    assert_eq!((told.status, told.text().starts_with("event: error\n")), (200, true), "{}", told.text());
    assert_eq!(post(site.connect(), "/told?ticket=1", "").status, 401);
}

#[test]
fn a_ticket_makes_no_ticket() {
    let site = start();
    let ticket = ticket_of(&site, "42");
    for (target, status) in [
        (format!("/events?ticket={ticket}"), 400),
        (format!("/events?ticket=1&ticket={ticket}"), 400),
        (format!("/events?ticket={ticket}&token={}", token("42")), 400),
        (format!("/events?ticket=1&token={ticket}"), 401),
        ("/events?ticket=1".to_owned(), 401),
        ("/events?ticket=0".to_owned(), 400),
        ("/events?ticket".to_owned(), 400),
        ("/public?ticket=1".to_owned(), 400),
    ] {
        let response = post(site.connect(), &target, "");
        assert_eq!(response.status, status, "{target}: {}", response.text());
        assert!(!response.text().contains(&ticket), "the ticket came back");
    }
}

#[test]
fn a_ticket_beside_another_credential_is_one_too_many_but_for_a_cookie() {
    let site = start();
    let (ticket, other) = (ticket_of(&site, "42"), token("43"));
    let target = format!("/events?ticket={ticket}");
    for (target, fields) in [
        (format!("{target}&token={other}"), String::new()),
        (format!("/events?token={}&ticket={ticket}", token("42")), String::new()),
        (target.clone(), format!("Authorization: Bearer {other}\r\n")),
        (format!("{target}&ticket={ticket}"), String::new()),
    ] {
        let response = site.connect().get(&target, &fields).response();
        assert_eq!(response.status, 401, "{fields}");
        assert!(response.text().contains("twice"), "{}", response.text());
    }
    // A browser sends the cookie unasked, good or not. What the page asked with decides.
    for cookie in [other.as_str(), "spoilt"] {
        let mut subscriber =
            Subscriber::open(site.connect(), &target, &format!("Cookie: token={cookie}\r\n"));
        site.publish(r#"{"user": 43, "data": "not for this one"}"#);
        site.publish(r#"{"user": 42, "data": "hello"}"#);
        assert_eq!(subscriber.data(), "hello");
    }
    // And a bad ticket is not made good by it.
    let cookie = format!("Cookie: token={}\r\n", token("42"));
    assert_eq!(site.connect().get("/events?ticket=x", &cookie).response().status, 401);
}

#[test]
fn it_ends_with_the_credential_and_so_does_its_stream() {
    at_some_pace(|pace| {
        let site = start();
        let ticket = ticket_for(&site, "/exact", &json!({"sub": "42", "exp": in_a(pace.ms(500))}));
        let target = format!("/exact?ticket={ticket}");
        let mut subscriber = Subscriber::open(site.connect(), &target, "");
        let last_words = subscriber.event();
        assert_eq!((last_words.event.as_str(), last_words.id.clone()), ("error", None));
        assert!(last_words.data.unwrap().contains("401"));
        assert_eq!(subscriber.end(), "");
        let response = site.connect().get(&target, "").response();
        assert_eq!(response.status, 401);
        assert!(response.text().contains("expired"), "{}", response.text());
    });
}

#[test]
fn it_is_blocked_with_its_user() {
    let site = start();
    let (ticket, other) = (ticket_of(&site, "42"), ticket_of(&site, "43"));
    let open = |ticket: &str| Subscriber::open(site.connect(), &format!("/events?ticket={ticket}"), "");
    let tabs = [open(&ticket), open(&ticket)];
    let reply = site.post("/disconnect", r#"{"user": 42, "block": "10m"}"#).json();
    assert_eq!(reply, json!({"disconnected": 2}));
    for tab in tabs {
        assert!(tab.end().contains("\"code\":401"));
    }
    assert_eq!(site.connect().get(&format!("/events?ticket={ticket}"), "").response().status, 401);
    let fields = format!("Authorization: Bearer {}\r\n", token("42"));
    assert_eq!(post(site.connect(), "/events?ticket=1", &fields).status, 401, "nor is there a new one");
    open(&other);
}

#[test]
fn it_keeps_what_the_channels_are_made_of() {
    let site = start();
    let claims = json!({"sub": "42", "exp": now() + 60, "tenant": "acme", "team": 7, "channels": ["news"],
                        "profile": "x".repeat(3000)});
    let ticket = ticket_for(&site, "/tenant", &claims);
    let open = |channels| Subscriber::open(site.connect(), &format!("/tenant?ticket={ticket}{channels}"), "");
    let mut subscriber = open("&channels=team.7.chat,news");
    for channel in ["tenant.acme", "team.7.chat", "news"] {
        site.publish(&format!(r#"{{"channel": "{channel}", "data": "{channel}"}}"#));
        assert_eq!(subscriber.data(), channel);
    }
    let refused = site.connect().get(&format!("/tenant?ticket={ticket}&channels=team.8.chat"), "").response();
    assert_eq!(refused.status, 403);

    let large = json!({"sub": "42", "exp": now() + 60, "channels": vec!["a-long-name"; 300]});
    let fields = format!("Authorization: Bearer {}\r\n", signed(&large));
    let response = post(site.connect(), "/events?ticket=1", &fields);
    assert_eq!((response.status, response.json()["error"].as_str()), (400, Some("ticket_too_large")));
    assert!(response.text().contains("2048 bytes"), "{}", response.text());
}

#[test]
fn with_a_cookie_only_the_own_page_may_ask_for_one() {
    let site = start();
    let json = "Content-Type: application/json\r\n";
    let cookie = format!("Cookie: token={}\r\n", token("42"));
    for (fields, status) in [
        (String::new(), 415),
        ("Content-Type: text/plain\r\n".to_owned(), 415),
        ("Content-Type: application/x-www-form-urlencoded\r\nOrigin: http://test\r\n".to_owned(), 415),
        (format!("{json}Origin: https://evil.example\r\n"), 403),
        ("Origin: https://evil.example\r\n".to_owned(), 403),
        (format!("{json}Origin: null\r\n"), 403),
        (format!("{json}Origin: http://test\r\n"), 200),
        (json.to_owned(), 200),
    ] {
        let response = post(site.connect(), "/events?ticket=1", &format!("{cookie}{fields}"));
        assert_eq!(response.status, status, "{fields}");
        assert_eq!(response.text().contains("\"ticket\""), status == 200, "{}", response.text());
    }
}

#[test]
fn a_secret_of_its_own_lets_tickets_outlive_the_process() {
    let with = |line: &str| in_front_of(NO_APP, "", MORE).replace("[server]", &format!("[server]\n{line}"));
    let secret = "secret = \"a secret for tickets\"";
    let first = Sidestream::start(&with(secret));
    let target = format!("/events?ticket={}", ticket_of(&first, "42"));
    Subscriber::open(Sidestream::start(&with(secret)).connect(), &target, "");
    for other in ["", "secret = \"another secret for tickets\""] {
        assert_eq!(Sidestream::start(&with(other)).connect().get(&target, "").response().status, 401);
    }
}

#[test]
fn two_routes_of_one_path_have_tickets_of_their_own() {
    let hosts = "[[route]]\npath = \"/s\"\nhosts = [\"a.example\"]\n[route.stream]\nauth = [\"jwt\"]\n\
                 [[route]]\npath = \"/s\"\nhosts = [\"b.example\"]\n[route.stream]\nauth = [\"jwt\"]\n";
    let site = Sidestream::start(&in_front_of(NO_APP, "", hosts));
    let mut client = site.connect();
    let head = format!("Authorization: Bearer {}\r\nContent-Length: 0\r\n", token("42"));
    client.send(format!("POST /s?ticket=1 HTTP/1.1\r\nHost: a.example\r\n{head}\r\n"));
    let ticket = client.response().json()["ticket"].as_str().unwrap().to_owned();
    let mut status = |host: &str| {
        client.send(format!("GET /s?ticket={ticket} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        client.head()
    };
    assert!(status("b.example").starts_with("HTTP/1.1 401"));
}

#[test]
fn no_credential_of_an_address_goes_anywhere_else() {
    let app = Backend::start();
    let config = in_front_of(app.origin(), "", MORE)
        .replace("[log]", "[log]\nlevel = \"trace\"")
        .replace("[server]", &format!("[server]\nsecret = \"{SECRET}\""));
    let program = Program::run(&config);
    let connect = || Client::connect(&program.address);
    let token = token("42");
    let response = post(connect(), "/events?ticket=1", &format!("Authorization: Bearer {token}\r\n"));
    let ticket = response.json()["ticket"].as_str().unwrap().to_owned();
    for target in [
        format!("/events?ticket={ticket}"),
        format!("/events?a=b&TICKET={ticket}"),
        format!("/events?tic%6bet={ticket}"),
        format!("/events?ticket={ticket}x"),
        format!("/events?ticket={ticket}&token={token}"),
        format!("/events?ticket={ticket}&channels=forbidden"),
        format!("/exact?ticket={ticket}"),
        format!("/public?ticket={ticket}&token={token}"),
        format!("/told?ticket={ticket}"),
        format!("/events?token={token}x"),
    ] {
        let mut client = connect();
        client.get(&target, "Connection: close\r\nAccept: text/html\r\n");
        let head = client.head().to_ascii_lowercase();
        assert!(head.contains("referrer-policy: no-referrer"), "{head}");
        assert!(!head.contains(&ticket.to_ascii_lowercase()), "{head}");
    }
    for target in [format!("/events?ticket={ticket}"), format!("/public?ticket=1&token={token}")] {
        let refused = post(connect(), &target, "");
        assert_eq!(refused.status, 400);
        assert_eq!(refused.field("referrer-policy"), Some("no-referrer"));
        assert!(!refused.text().contains(&ticket) && !refused.text().contains(&token));
    }
    assert!(app.is_left_alone(), "the app was asked about a stream");
    program.signal(Signal::TERM);
    let (ended, log) = program.end_with("access.log");
    assert!(log.contains("/events?ticket=-&channels=forbidden"), "{log}");
    for (what, text) in [("access log", &log), ("stderr", &ended.stderr), ("stdout", &ended.stdout)] {
        for secret in [&ticket, &token, &SECRET.to_owned()] {
            assert!(!text.contains(secret.as_str()), "{what}");
        }
    }
}
