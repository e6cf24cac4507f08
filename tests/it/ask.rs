//! The app is asked who sends a request: what it is asked, what its answers do, and how often it is bothered.

mod recheck;

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use crate::support::client::field;
use crate::support::settings::Settings;
use crate::support::{App, PATIENCE, Sidestream, Subscriber};

/// An app that knows sessions. It answers as it is told, and remembers what it was asked.
struct Sessions {
    app: App,
    desk: Arc<Desk>,
}

#[derive(Default)]
struct Desk {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    answer: String,
    heads: Vec<String>,
    /// Whether it thinks about it until it is told to go on.
    is_held: bool,
}

impl Sessions {
    fn that_say(answer: &str) -> Self {
        let desk = Arc::new(Desk::default());
        let asked = desk.clone();
        let app = App::start(move |mut client| {
            while let Some(head) = client.try_head() {
                let mut state = asked.state.lock().unwrap();
                state.heads.push(head);
                asked.changed.notify_all();
                let waited =
                    asked.changed.wait_timeout_while(state, PATIENCE, |state| state.is_held).unwrap();
                let answer = waited.0.answer.clone();
                drop(waited);
                if client.try_send(answer).is_err() {
                    return;
                }
            }
        });
        let sessions = Self { app, desk };
        sessions.say(answer);
        sessions
    }

    /// Answers like this from here on.
    fn say(&self, answer: &str) {
        self.desk.state.lock().unwrap().answer = answer.to_owned();
    }

    fn hold(&self, is_held: bool) {
        self.desk.state.lock().unwrap().is_held = is_held;
        self.desk.changed.notify_all();
    }

    fn asked(&self) -> Vec<String> {
        self.desk.state.lock().unwrap().heads.clone()
    }

    /// Waits until it has been asked so often.
    fn until_asked(&self, times: usize) {
        let state = self.desk.state.lock().unwrap();
        let few = |state: &mut State| state.heads.len() < times;
        let (state, waited) = self.desk.changed.wait_timeout_while(state, PATIENCE, few).unwrap();
        assert!(!waited.timed_out(), "asked {} times only", state.heads.len());
    }

    /// A Sidestream in front of it, with a stream at `/session`.
    fn site(&self, auth: &str, stream: &str) -> Sidestream {
        let more = format!(
            "[auth.ask]\nkind = \"ask\"\nupstream = \"app\"\npath = \"/api/me?full=1\"\n{auth}\n\
             [[route]]\npath = \"/session\"\n[route.stream]\nauth = [\"ask\"]\n{stream}\n"
        );
        Settings { more: &more, ..Settings::default() }.before(&self.app)
    }
}

fn answer(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn ok(body: &str) -> String {
    answer("200 OK", body)
}

const USER: &str = "user = \"/id\"";

#[test]
fn a_session_that_the_app_knows_opens_a_stream() {
    let sessions = Sessions::that_say(&ok(r#"{"id": 42}"#));
    let site = sessions.site(USER, "");
    let fields = "Cookie: theme=dark; sessionid=s3cret\r\nCookie: csrftoken=x\r\nX-Forwarded-For: 6.6.6.6\r\n\
                  X-Powered-By: me\r\nAccept: text/event-stream\r\n";
    let mut subscriber = Subscriber::open(site.connect(), "/session?token=x", fields);
    site.publish(r#"{"user": 42, "data": "hello"}"#);
    assert_eq!(subscriber.data(), "hello");

    let asked = sessions.asked();
    let head = &asked[0];
    assert_eq!(asked.len(), 1);
    assert!(head.starts_with("GET /api/me?full=1 HTTP/1.1\r\n"), "{head}");
    for (name, value) in [
        ("cookie", "theme=dark; sessionid=s3cret; csrftoken=x"),
        ("accept", "application/json"),
        ("host", "test"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "test"),
    ] {
        assert_eq!(field(head, name), Some(value), "{name}");
    }
    for name in ["authorization", "x-powered-by", "content-length", "last-event-id"] {
        assert_eq!(field(head, name), None, "{name}");
    }
}

#[test]
fn a_token_of_the_apps_own_is_asked_about_without_the_cookies() {
    let sessions = Sessions::that_say(&ok(r#"{"id": "a1"}"#));
    let site = sessions.site(USER, "");
    Subscriber::open(site.connect(), "/session", "Authorization: Token abc\r\nCookie: theme=dark\r\n");
    let head = &sessions.asked()[0];
    assert_eq!((field(head, "authorization"), field(head, "cookie")), (Some("Token abc"), None));
}

#[test]
fn without_a_session_nobody_is_asked() {
    let sessions = Sessions::that_say(&ok(r#"{"id": 42}"#));
    let site = sessions.site(USER, "");
    for fields in ["", "Cookie: theme=dark\r\n", "Cookie: sessionid2=x; xsessionid=y\r\n"] {
        assert_eq!(site.connect().get("/session", fields).response().status, 401, "{fields}");
    }
    assert!(sessions.asked().is_empty());
}

#[test]
fn a_page_of_another_site_opens_none_with_a_session() {
    let sessions = Sessions::that_say(&ok(r#"{"id": 42}"#));
    let site = sessions.site(USER, "");
    let fields = "Cookie: sessionid=x\r\nAuthorization: Token y\r\nOrigin: https://evil.example\r\n";
    assert_eq!(site.connect().get("/session", fields).response().status, 403);
}

#[test]
fn what_browsers_send_by_themselves_is_no_proof_for_another_sites_page() {
    let sessions = Sessions::that_say(&ok(r#"{"id": 42}"#));
    let site = sessions.site(USER, "[[route]]\npath = \"/push\"\n[route.publish]\nauth = [\"ask\"]\n");
    let foreign = "Origin: https://evil.example\r\n";
    // A name and a password that were typed in once are sent ever after, as a cookie is.
    for scheme in ["Basic YTpi", "basic YTpi", "Digest a", "Negotiate a", "NTLM a"] {
        let get = format!("Authorization: {scheme}\r\n{foreign}");
        assert_eq!(site.connect().get("/session", &get).response().status, 403, "{scheme}");
    }
    let body = r#"{"user": 42, "data": 1}"#;
    let push = |fields: &str| {
        let request = format!(
            "POST /push HTTP/1.1\r\nHost: test\r\n{fields}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        site.connect().send(request).response().status
    };
    assert_eq!(push(&format!("Authorization: Basic YTpi\r\n{foreign}")), 403);
    assert_eq!(
        push("Authorization: Basic YTpi\r\nOrigin: http://test\r\nContent-Type: application/json\r\n"),
        200
    );
    assert_eq!(push(&format!("Authorization: Token x\r\n{foreign}")), 200, "only a script can have sent it");
    // An image has no origin, and would take one of its visitor's streams.
    let image = "Cookie: sessionid=x\r\nSec-Fetch-Site: cross-site\r\n";
    assert_eq!(site.connect().get("/session", image).response().status, 403);
    Subscriber::open(site.connect(), "/session", "Cookie: sessionid=x\r\nSec-Fetch-Site: same-origin\r\n");
}

#[test]
fn a_session_is_found_beside_a_cookie_that_is_no_text() {
    let sessions = Sessions::that_say(&ok(r#"{"id": 42}"#));
    let site = sessions.site(USER, "");
    Subscriber::open(site.connect(), "/session", "Cookie: name=J\u{f6}rg; sessionid=x\r\n");
}

#[test]
fn bad_sessions_from_one_address_do_not_keep_the_app_busy() {
    let sessions = Sessions::that_say(&answer("401 Unauthorized", ""));
    let site = sessions.site(USER, "[limits]\nopens_per_second_per_address = 2\n");
    let begun = std::time::Instant::now();
    for n in 0..40 {
        let fields = format!("Cookie: sessionid={n}\r\nConnection: close\r\n");
        site.connect().get("/session", &fields).rest();
    }
    let most = 2.0 + 2.0 * begun.elapsed().as_secs_f64() + 1.0;
    let asked = sessions.asked().len();
    assert!(asked >= 2 && (asked as f64) <= most, "asked {asked} times, at most {most}");
    assert_eq!(site.count("streams_limited_address_rate"), 40 - asked as u64);
}

#[test]
fn what_the_app_answers_decides() {
    let sessions = Sessions::that_say("");
    let site = sessions.site("user = [\"/user/id\", \"/id\"]\ncache = \"0s\"", "");
    let large = format!(r#"{{"id": 42, "x": "{}"}}"#, "x".repeat(70_000));
    for (said, status) in [
        (ok("{}"), 401),
        (ok("null"), 401),
        (ok(r#"{"user": {"name": "x"}}"#), 401),
        (ok(r#"{"id": "a b"}"#), 401),
        (answer("204 No Content", ""), 401),
        (answer("401 Unauthorized", "{}"), 401),
        (answer("403 Forbidden", r#"{"id": 42}"#), 401),
        (answer("302 Found\r\nLocation: /login/", r#"{"id": 42}"#), 401),
        (answer("404 Not Found", r#"{"id": 42}"#), 502),
        (answer("429 Too Many Requests", r#"{"id": 42}"#), 502),
        (answer("500 Internal Server Error", r#"{"id": 42}"#), 502),
        (ok("<html>42</html>"), 502),
        (ok(&large), 502),
        ("HTTP/1.1 200 OK\r\nContent-Length: nonsense\r\n\r\n{}".to_owned(), 502),
        ("nonsense\r\n\r\n".to_owned(), 502),
    ] {
        sessions.say(&said);
        let response = site.connect().get("/session", "Cookie: sessionid=x\r\n").response();
        assert_eq!(response.status, status, "{said:.80}");
        assert_eq!(response.field("retry-after").is_some(), status == 502, "{said:.80}");
        assert!(!response.text().contains("/api/me"), "{}", response.text());
    }
    sessions.say(&ok(r#"{"user": {"id": 7}}"#));
    Subscriber::open(site.connect(), "/session", "Cookie: sessionid=x\r\n");
}

#[test]
fn an_app_that_is_down_lets_nobody_in() {
    let folder = tempfile::tempdir().unwrap();
    let text = Settings {
        more: "[auth.ask]\nkind = \"ask\"\nupstream = \"app\"\npath = \"/me\"\nuser = \"/id\"\n\
               [[route]]\npath = \"/session\"\n[route.stream]\nauth = [\"ask\"]\n\
               [[route]]\npath = \"/told\"\n[route.stream]\nauth = [\"ask\"]\nunauthorized = \"event\"\nretry = \"10s\"\n",
        ..Settings::default()
    }
    .text(&["unix:none.sock"]);
    let site = Sidestream::start_in(folder, &text);
    let cookie = "Cookie: sessionid=x\r\nConnection: close\r\n";
    let response = site.connect().get("/session", cookie).response();
    assert_eq!((response.status, response.field("retry-after")), (502, Some("2")));

    // By an event, with the usual pause and not with the hour of one who has nothing to come back with.
    let response = site.connect().get("/told", cookie).response();
    assert_eq!((response.status, response.field("content-type")), (200, Some("text/event-stream")));
    let text = response.text();
    let retry = text.lines().find_map(|line| line.strip_prefix("retry: ")).unwrap();
    assert!((8_000..=10_000).contains(&retry.parse::<u32>().unwrap()), "{text}");
    assert!(text.starts_with("event: error\n"), "{text}");
    assert!(text.ends_with("\ndata: {\"error\":\"Unavailable\",\"code\":502}\n\n"), "{text}");
    let nobody = site.connect().get("/told", "Connection: close\r\n").response();
    assert!(nobody.text().contains("retry: 3600000\n"), "{}", nobody.text());
}

#[test]
fn an_answer_serves_for_a_while_and_for_its_session_only() {
    let sessions = Sessions::that_say(&ok(r#"{"id": 42}"#));
    let site = sessions.site(USER, "");
    let open = |cookie: &str| Subscriber::open(site.connect(), "/session", &format!("Cookie: {cookie}\r\n"));
    for _ in 0..5 {
        open("sessionid=a");
    }
    assert_eq!(sessions.asked().len(), 1);
    sessions.say(&ok(r#"{"id": 43}"#));
    let mut other = open("sessionid=b");
    assert_eq!(sessions.asked().len(), 2);
    site.publish(r#"{"user": 42, "data": "not for b"}"#);
    site.publish(r#"{"user": 43, "data": "for b"}"#);
    assert_eq!(other.data(), "for b");

    // What was not an answer is not kept.
    sessions.say(&answer("500 Internal Server Error", ""));
    let fields = "Cookie: sessionid=c\r\n";
    assert_eq!(site.connect().get("/session", fields).response().status, 502);
    sessions.say(&ok(r#"{"id": 44}"#));
    open("sessionid=c");
}

#[test]
fn no_cache_asks_each_time() {
    let sessions = Sessions::that_say(&ok(r#"{"id": 42}"#));
    let site = sessions.site("user = \"/id\"\ncache = \"0s\"", "");
    for _ in 0..3 {
        Subscriber::open(site.connect(), "/session", "Cookie: sessionid=a\r\n");
    }
    assert_eq!(sessions.asked().len(), 3);
}

#[test]
fn the_same_question_at_the_same_time_is_asked_once() {
    let sessions = Sessions::that_say(&ok(r#"{"id": 42}"#));
    let site = sessions.site("user = \"/id\"\ncache = \"0s\"", "");
    sessions.hold(true);
    let mut clients: Vec<_> = (0..8)
        .map(|_| {
            let mut client = site.connect();
            client.get("/session", "Cookie: sessionid=a\r\n");
            client
        })
        .collect();
    sessions.until_asked(1);
    // Those that came after the first had to be seen by the workers before the app goes on.
    site.becomes("requests", 8);
    assert!(clients[0].is_silent_for(Duration::from_millis(50)));
    sessions.hold(false);
    for client in clients {
        Subscriber::opened(client);
    }
    assert_eq!(sessions.asked().len(), 1);
}

#[test]
fn the_answer_may_give_channels() {
    let sessions =
        Sessions::that_say(&ok(r#"{"id": 42, "may": ["news"], "channels": ["secret"], "org": "acme"}"#));
    let site = sessions.site("user = \"/id\"\nchannels = \"/may\"", "allow = [\"{org}.*\"]");
    let cookie = "Cookie: sessionid=a\r\n";
    Subscriber::open(site.connect(), "/session?channels=news,acme.x", cookie);
    let response = site.connect().get("/session?channels=secret", cookie).response();
    assert_eq!(response.status, 403);
    assert!(response.text().contains("secret"), "{}", response.text());
}

#[test]
fn the_next_provider_is_tried_only_if_there_is_nothing_to_ask_about() {
    let sessions = Sessions::that_say(&answer("401 Unauthorized", ""));
    let site = sessions.site(USER, "");
    let both = "[[route]]\npath = \"/both\"\n[route.stream]\nauth = [\"ask\", \"jwt\"]\n";
    let more = format!("[auth.ask]\nkind = \"ask\"\nupstream = \"app\"\npath = \"/api/me\"\n{USER}\n{both}");
    drop(site);
    let site = Settings { more: &more, ..Settings::default() }.before(&sessions.app);
    let target = format!("/both?token={}", crate::support::token("42"));
    Subscriber::open(site.connect(), &target, "Cookie: theme=dark\r\n");
    assert_eq!(site.connect().get(&target, "Cookie: sessionid=x\r\n").response().status, 401);
}
