//! Routes, apps, limits and logs follow a reload; what is wrong changes nothing.

use crate::support::{App, NO_APP, Sidestream, in_front_of};

fn body(site: &Sidestream, target: &str) -> String {
    site.connect().get(target, "Connection: close\r\n").response().text()
}

#[test]
fn routes_follow_and_connections_stay() {
    let [one, other] = ["one", "two"]
        .map(|text| App::that_says(format!("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{text}")));
    let site = Sidestream::start(&in_front_of(&one.origin(), "", ""));
    let mut client = site.connect();
    assert_eq!(client.get("/", "").response().text(), "one");

    let more = format!(
        "[upstreams.other]\nservers = [\"{}\"]\n[[route]]\npath = \"/two/\"\n[route.proxy]\nupstream = \"other\"\n",
        other.origin()
    );
    let reloaded = site.reload(&in_front_of(&one.origin(), "", &more)).unwrap();
    assert_eq!((reloaded.generation, reloaded.changed), (2, vec!["[upstreams]", "[[route]]"]));
    assert!(reloaded.kept.is_empty());
    assert_eq!(client.get("/two/", "").response().text(), "two");
    assert_eq!(client.get("/", "").response().text(), "one");

    let reloaded = site.reload(&in_front_of(&other.origin(), "", "")).unwrap();
    assert_eq!(reloaded.generation, 3);
    assert_eq!(client.get("/two/", "").response().text(), "two");
    assert_eq!(client.get("/", "").response().text(), "two");

    let same = site.reload(&in_front_of(&other.origin(), "", "")).unwrap();
    assert_eq!((same.generation, same.changed), (3, vec![]));
    assert_eq!(site.reloads.generation(), 3);
}

#[test]
fn a_configuration_that_is_wrong_changes_nothing() {
    let app = App::that_says("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none");
    let site = Sidestream::start(&in_front_of(&app.origin(), "", ""));
    let good = in_front_of(&app.origin(), "", "");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    for (bad, why) in [
        (good.replace("upstream = \"app\"", "upstream = \"none\""), "test.toml:"),
        (format!("{good}\n[[route]]\nhost = 1"), "test.toml:"),
        ("no TOML".to_owned(), "this is not TOML"),
        (format!("{good}\n[[listen]]\naddress = \"{}\"", taken.local_addr().unwrap()), "in use"),
        (good.replace("access = \"access.log\"", "access = \"./missing/access.log\""), "does not exist"),
    ] {
        let error = site.reload(&bad).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
        assert_eq!(body(&site, "/"), "one");
    }
    assert_eq!((site.reloads.generation(), site.reload(&good).unwrap().changed), (1, vec![]));
}

#[test]
fn what_cannot_change_is_named_and_the_rest_is_taken() {
    let app = App::that_says("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none");
    let site = Sidestream::start(&in_front_of(NO_APP, "", ""));
    let text = in_front_of(&app.origin(), "", "[store]\nevents = 7\n").replace("workers = 2", "workers = 3");
    let reloaded = site.reload(&text).unwrap();
    assert_eq!(reloaded.kept, ["[server] workers", "[store]"]);
    assert_eq!(reloaded.changed, ["[upstreams]"]);
    assert_eq!(body(&site, "/"), "one");
}

#[test]
fn the_access_log_moves_and_no_line_is_lost() {
    let site = Sidestream::start(&in_front_of(NO_APP, "", ""));
    let lines = |name: &str| std::fs::read_to_string(site.path(name)).unwrap_or_default();
    body(&site, "/first");
    site.reload_with("access = \"access.log\"", "access = \"other.log\"\nformat = \"logfmt\"");
    body(&site, "/second");
    site.reload_with("access = \"other.log\"", "access = \"off\"");
    body(&site, "/third");
    site.comes_true(
        || "it is written".to_owned(),
        || {
            lines("access.log").contains("\"target\":\"/first\"")
                && lines("other.log").contains("target=/second")
        },
    );
    site.reload_with("access = \"off\"", "access = \"access.log\"");
    body(&site, "/fourth");
    site.comes_true(|| "it is written".to_owned(), || lines("access.log").contains("target=/fourth"));
    assert_eq!((lines("access.log").lines().count(), lines("other.log").lines().count()), (2, 1));
}

#[test]
fn generations_are_gone_with_their_last_request() {
    let (say, go_on) = std::sync::mpsc::channel::<()>();
    let go_on = std::sync::Mutex::new(go_on);
    let app = App::start(move |mut client| {
        while client.try_head().is_some() {
            go_on.lock().unwrap().recv().unwrap();
            client.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let site = Sidestream::start(&in_front_of(&app.origin(), "", ""));
    let mut client = site.connect();
    client.get("/", "");
    let begun = std::time::Instant::now();
    while app.connections() == 0 && begun.elapsed() < crate::support::PATIENCE {
        std::thread::yield_now();
    }
    for n in 0..10 {
        site.reload(&in_front_of(NO_APP, &format!("retry = \"{}s\"", n + 1), "")).unwrap();
    }
    assert_eq!(site.reloads.alive(), 3, "one of each worker, and that of the request");
    say.send(()).unwrap();
    assert_eq!(client.response().text(), "ok");
    site.comes_true(|| "it is gone".to_owned(), || site.reloads.alive() == 2);
}
