//! The status page, and the event stream that feeds it.

use serde_json::Value;

use super::{TOKEN, ask, look, site};
use crate::support::{NO_APP, Sidestream, Site, Subscriber};

/// As many as may watch at once.
const MOST: usize = 16;

/// Watches, with more fields.
fn watch(sidestream: &Sidestream, fields: &str) -> Subscriber {
    let mut client = sidestream.admin();
    client.send(format!("GET /status/events HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n"));
    Subscriber::opened(client)
}

/// The name and the data of what a watcher was told first.
fn first(watcher: &Subscriber) -> (String, Value) {
    let said = crate::support::Said::parse(&watcher.opening);
    (said.event, serde_json::from_str(&said.data.unwrap()).unwrap())
}

/// The number of a sample's id.
fn count(id: &str) -> u64 {
    id.split_once('-').unwrap().1.parse().unwrap()
}

#[test]
fn the_page_is_open_to_whoever_may_look_and_runs_nothing_but_its_own() {
    let sidestream = site().start();
    let page = look(&sidestream, "/");
    assert_eq!((page.status, page.field("content-type")), (200, Some("text/html; charset=utf-8")));
    let policy = page.field("content-security-policy").unwrap();
    for said in ["default-src 'none'", "script-src 'sha256-", "connect-src 'self'", "frame-ancestors 'none'"]
    {
        assert!(policy.contains(said), "{policy}");
    }
    assert_eq!(page.field("referrer-policy"), Some("no-referrer"));
    assert!(page.text().contains("<title>Sidestream</title>") && !page.text().contains(TOKEN));
    let head = ask(&mut sidestream.admin(), "HEAD", "/", "Host: localhost\r\n");
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(ask(&mut sidestream.admin(), "GET", "/", "Host: evil.example\r\n").status, 421);
}

#[test]
fn samples_come_as_events_and_one_who_comes_back_gets_what_it_missed() {
    let sidestream = site().workers(2).start();
    let streams: Vec<_> = (0..3).map(|_| Subscriber::of(sidestream.connect(), "7")).collect();
    let mut watcher = watch(&sidestream, "");
    let (name, history) = first(&watcher);
    assert_eq!((name.as_str(), &history["kept"]), ("history", &450.into()));
    let columns: Vec<_> =
        history["columns"].as_array().unwrap().iter().map(|c| c.as_str().unwrap()).collect();
    let streams_at = columns.iter().position(|column| *column == "streams").unwrap();

    let begun = count(&watcher.last_id);
    let mut rows = Vec::new();
    let now = loop {
        let said = watcher.event();
        assert_eq!(said.event, "sample");
        let data: Value = serde_json::from_str(&said.data.unwrap()).unwrap();
        rows.extend(data["rows"].as_array().unwrap().clone());
        assert_eq!(count(&watcher.last_id), begun + rows.len() as u64, "each sample is told once");
        if rows.last().unwrap()[streams_at] == 3 {
            break data["now"].clone();
        }
    };
    assert!(rows.iter().all(|row| row.as_array().unwrap().len() == columns.len()));
    assert_eq!(
        (&now["state"], &now["token"], &now["store"]),
        (&"serving".into(), &true.into(), &true.into())
    );
    let of_workers =
        now["workers"].as_array().unwrap().iter().map(|worker| worker["streams"].as_u64().unwrap());
    assert_eq!((of_workers.len(), of_workers.sum::<u64>()), (2, 3));
    assert_eq!(now["upstreams"][0]["name"], "app");
    let text = format!("{now}");
    assert!(!text.contains("user:") && !text.contains(TOKEN), "{text}");

    let behind = format!("{}-{}", watcher.last_id.split_once('-').unwrap().0, count(&watcher.last_id) - 1);
    let (name, missed) = first(&watch(&sidestream, &format!("Last-Event-ID: {behind}\r\n")));
    assert_eq!(name, "sample");
    assert_eq!(missed["rows"].as_array().unwrap()[0], *rows.last().unwrap());
    for unknown in ["000000-1", "nonsense"] {
        let (name, all) = first(&watch(&sidestream, &format!("Last-Event-ID: {unknown}\r\n")));
        assert_eq!(name, "history");
        assert!(all["rows"].as_array().unwrap().len() >= rows.len());
    }
    drop(streams);
}

#[test]
fn so_many_may_watch_and_room_comes_back() {
    let sidestream = site().start();
    let mut watchers: Vec<_> = (0..MOST).map(|_| watch(&sidestream, "")).collect();
    let refused = look(&sidestream, "/status/events");
    assert_eq!((refused.status, refused.json()["error"].as_str()), (503, Some("too_many_watchers")));
    // Others are answered all the same.
    assert_eq!(look(&sidestream, "/healthz").status, 200);
    watchers.pop();
    sidestream.comes_true(
        || "there is room again".to_owned(),
        || {
            let mut client = sidestream.admin();
            client.send("GET /status/events HTTP/1.1\r\nHost: localhost\r\n\r\n");
            client.head().starts_with("HTTP/1.1 200")
        },
    );
}

#[test]
fn a_page_of_another_origin_watches_nothing() {
    let sidestream = site().start();
    for fields in ["Origin: https://evil.example\r\n", "Sec-Fetch-Site: cross-site\r\n", "Origin: null\r\n"] {
        let fields = format!("Host: localhost\r\n{fields}");
        let refused = ask(&mut sidestream.admin(), "GET", "/status/events", &fields);
        assert_eq!(
            (refused.status, refused.json()["error"].as_str()),
            (403, Some("foreign_origin")),
            "{fields}"
        );
    }
    watch(&sidestream, "Origin: http://localhost\r\nSec-Fetch-Site: same-origin\r\n");
}

#[test]
fn a_page_without_a_token_is_told_so() {
    let sidestream = Site::before(NO_APP).more("[admin]\naddress = \"127.0.0.1:0\"").start();
    let (_, history) = first(&watch(&sidestream, ""));
    assert_eq!(history["now"]["token"], false);
    for path in ["/status/streams", "/status/channels"] {
        let refused = look(&sidestream, path);
        assert_eq!((refused.status, refused.json()["error"].as_str()), (403, Some("no_token")), "{path}");
        assert!(refused.text().contains("[admin] has no token"), "{}", refused.text());
    }
}
