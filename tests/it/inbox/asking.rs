//! The inbox asked for, and events marked as read, by a page and by the app.

use serde_json::{Value, json};

use super::{MOMENT, STORES, id_of, notify, unread};
use crate::support::{Client, NO_APP, Response, Sidestream, Subscriber, in_front_of, token};

const MORE: &str = r#"
cors = { origins = ["https://app.example"], credentials = true }
[[route]]
path = "/plain"
[route.stream]
auth = ["jwt"]
"#;

fn sites() -> impl Iterator<Item = Sidestream> {
    STORES.into_iter().map(site)
}

fn site(store: &str) -> Sidestream {
    let text = in_front_of(NO_APP, "replay = \"unread\"\nread = \"ack\"\nheartbeat = false", store);
    let (before, route) = text.split_once("path = \"/events\"\n").unwrap();
    let (cors, plain) = MORE.trim_start().split_once('\n').unwrap();
    Sidestream::start(&format!("{before}path = \"/events\"\n{cors}\n{route}\n{plain}"))
}

fn bearer(user: &str) -> String {
    format!("Authorization: Bearer {}\r\n", token(user))
}

fn cookie(user: &str, more: &str) -> String {
    format!("Cookie: token={}\r\n{more}", token(user))
}

fn post(site: &Sidestream, fields: &str, json: &Value) -> Response {
    site.connect().post("/events", fields, &json.to_string()).response()
}

fn get(site: &Sidestream, target: &str, fields: &str) -> Response {
    site.connect().get(target, &format!("Connection: close\r\n{fields}")).response()
}

#[test]
fn a_page_marks_and_the_other_tabs_are_told() {
    for site in sites() {
        let mut tabs: Vec<_> = (0..8).map(|_| Subscriber::of(site.connect(), "42")).collect();
        let mut other = Subscriber::of(site.connect(), "43");
        let mut plain = Subscriber::open(site.connect(), &format!("/plain?token={}", token("42")), "");
        let ids: Vec<_> = ["a", "b", "c"].iter().map(|data| notify(&site, 42, data)).collect();
        for tab in tabs.iter_mut().chain([&mut plain]) {
            assert_eq!([tab.data(), tab.data(), tab.data()], ["a", "b", "c"]);
        }
        let marked = post(&site, &bearer("42"), &json!({ "read": [ids[1], ids[1]] }));
        assert_eq!((marked.status, marked.json()), (200, json!({ "unread": 2 })));
        assert_eq!(marked.field("cache-control"), Some("no-store"));
        for tab in &mut tabs {
            let told = tab.event();
            assert_eq!((told.event.as_str(), &told.id), ("read", &None));
            let data: Value = serde_json::from_str(&told.data.unwrap()).unwrap();
            assert_eq!(data, json!({ "read": [ids[1]], "unread": 2 }));
            // It has no id: a client resumes from the last event.
            assert_eq!(tab.last_id, ids[2]);
        }
        // Said again, it changes nothing and nobody is told.
        assert_eq!(post(&site, &bearer("42"), &json!({ "read": [ids[1]] })).json(), json!({ "unread": 2 }));
        assert_eq!(
            post(&site, &bearer("42"), &json!({ "read_up_to": ids[2] })).json(),
            json!({ "unread": 0 })
        );
        for tab in &mut tabs {
            let data: Value = serde_json::from_str(&tab.data()).unwrap();
            assert_eq!(data, json!({ "read": [ids[0], ids[2]], "read_up_to": ids[2], "unread": 0 }));
        }
        assert!(other.is_silent_for(MOMENT) && plain.is_silent_for(MOMENT));
        // It is not kept: a client that resumes gets events only.
        let mut resumed = Subscriber::resume(site.connect(), "42", &ids[0]);
        assert_eq!([resumed.data(), resumed.data()], ["b", "c"]);
        assert!(resumed.is_silent_for(MOMENT));
    }
}

#[test]
fn nobody_marks_or_sees_what_is_anothers() {
    for site in sites() {
        let id = notify(&site, 42, "mine");
        for said in [json!({ "read": [id] }), json!({ "read_up_to": id })] {
            assert_eq!(post(&site, &bearer("43"), &said).json(), json!({ "unread": 0 }));
            assert_eq!(post(&site, "", &said).status, 401);
        }
        assert_eq!(get(&site, "/events?inbox=1", &bearer("43")).json(), json!({ "unread": 0, "events": [] }));
        assert_eq!(get(&site, "/events?inbox=1", "").status, 401);
        assert_eq!(unread(&site, 42), ["mine"]);
    }
}

#[test]
fn a_cookie_is_not_enough_for_a_page_of_another_site() {
    for site in sites() {
        let id = notify(&site, 42, "mine");
        let said = json!({ "read": [id] });
        let foreign =
            ["Origin: https://evil.example\r\n", "Origin: null\r\n", "Sec-Fetch-Site: cross-site\r\n"];
        for origin in foreign {
            assert_eq!(post(&site, &cookie("42", origin), &said).status, 403, "{origin}");
            for target in ["/events", "/events?inbox=1"] {
                assert_eq!(get(&site, target, &cookie("42", origin)).status, 403, "{target} {origin}");
            }
        }
        // What a form of the same site could send is refused too.
        let form = format!("Content-Type: text/plain\r\nContent-Length: 2\r\n{}", cookie("42", ""));
        let mut client = site.connect();
        client.send(format!("POST /events HTTP/1.1\r\nHost: test\r\n{form}\r\n{{}}"));
        assert_eq!(client.response().status, 415);
        assert_eq!(unread(&site, 42), ["mine"]);
        let own = [
            "Origin: http://test\r\n",
            "Sec-Fetch-Site: same-origin\r\n",
            "Origin: https://app.example\r\n",
            "",
        ];
        for origin in own {
            let shown = get(&site, "/events?inbox=1", &cookie("42", origin));
            assert_eq!((shown.status, &shown.json()["unread"]), (200, &json!(1)), "{origin}");
            drop(Subscriber::open(site.connect(), "/events", &cookie("42", origin)));
        }
        let listed = post(&site, &cookie("42", "Origin: https://app.example\r\n"), &said);
        assert_eq!(listed.json(), json!({ "unread": 0 }));
        assert_eq!(listed.field("access-control-allow-origin"), Some("https://app.example"));
    }
}

#[test]
fn the_inbox_is_shown_in_pages_to_both() {
    for site in sites() {
        let first =
            id_of(&site.publish(r#"{"user": 42, "event": "note", "data": {"title": "hi", "n": [1]}}"#));
        let second = notify(&site, 42, "two\nlines");
        let shown = get(&site, "/events?inbox=1", &bearer("42")).json();
        let at = shown["events"][0]["at"].as_u64().unwrap();
        assert!(at > 1_700_000_000_000, "{at}");
        let expected = [
            json!({ "id": first, "event": "note", "data": { "title": "hi", "n": [1] }, "at": at }),
            json!({ "id": second, "event": "message", "data": "two\nlines", "at": shown["events"][1]["at"] }),
        ];
        assert_eq!(shown, json!({ "unread": 2, "events": expected }));
        assert_eq!(site.ask("/inbox/42"), shown);
        for number in 0..200 {
            notify(&site, 42, &format!("number {number}"));
        }
        let (mut pages, mut after, mut seen) = (0, String::new(), Vec::new());
        loop {
            let page = get(&site, &format!("/events?inbox=1{after}"), &bearer("42")).json();
            assert_eq!(page["unread"], 202);
            seen.extend(page["events"].as_array().unwrap().iter().map(|event| event["data"].to_string()));
            pages += 1;
            let Some(next) = page["next"].as_str() else { break };
            assert_eq!(site.ask(&format!("/inbox/42?after={next}"))["unread"], 202);
            after = format!("&after={next}");
        }
        assert_eq!((pages, seen.len(), seen[201].as_str()), (3, 202, "\"number 199\""));
        assert_eq!(get(&site, "/events?inbox=1&after=x", &bearer("42")).status, 400);
    }
}

#[test]
fn a_ticket_is_as_good_as_what_it_was_given_for() {
    for site in sites() {
        let id = notify(&site, 42, "mine");
        let given = site.connect().post("/events?ticket=1", &bearer("42"), "{}").response();
        let target = format!("/events?ticket={}", given.json()["ticket"].as_str().unwrap());
        assert_eq!(get(&site, &format!("{target}&inbox=1"), "").json()["unread"], 1);
        let marked = site.connect().post(&target, "", &json!({ "read_up_to": id }).to_string()).response();
        assert_eq!(marked.json(), json!({ "unread": 0 }));
    }
}

#[test]
fn what_is_not_understood_is_refused() {
    let site = site(STORES[0]);
    for (json, status) in [
        ("", 400),
        ("{}", 400),
        (r#"{"read": ["x"]}"#, 400),
        (r#"{"raed": []}"#, 400),
        (&format!("{{\"read\": [{}]}}", "\"000000-1\",".repeat(9000)), 413),
    ] {
        let refused = site.connect().post("/events", &bearer("42"), json).response();
        assert_eq!(refused.status, status, "{}", refused.text());
        assert_eq!(site.post("/inbox/42/read", json).status, status);
    }
    // Ids of a history that is no more are nothing to mark.
    assert_eq!(post(&site, &bearer("42"), &json!({ "read": ["000000-1"] })).json(), json!({ "unread": 0 }));
    // A stream without an inbox takes no such words, and its parameter is nobody's.
    assert_eq!(site.connect().post("/plain", &bearer("42"), "{}").response().status, 405);
    Subscriber::open(site.connect(), &format!("/plain?inbox=1&token={}", token("42")), "");
    let socket = format!("unix:{}", site.publish_socket().display());
    for (method, path, status) in [
        ("GET", "/inbox/a:b", 400),
        ("GET", "/inbox/", 400),
        ("GET", "/inbox/42?after=x", 400),
        ("POST", "/inbox/42", 405),
        ("GET", "/inbox/42/read", 405),
    ] {
        let mut client = Client::connect(&socket);
        client.send(format!(
            "{method} {path} HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        ));
        assert_eq!(client.response().status, status, "{method} {path}");
    }
}
