//! Several servers: whose turn it is, and what becomes of one that fails.

use std::time::{Duration, Instant};

use crate::support::{App, Backend, Client, PATIENCE, Port, Sidestream, Site};

/// Lines for a site in front of several servers; `Site` writes one, and the quotes end it and begin the next.
fn before(origins: &[&str]) -> Site {
    Site::before(origins.join("\", \""))
}

fn ask(site: &Sidestream) -> String {
    let response = site.connect().get("/", "").response();
    assert_eq!(response.status, 200);
    response.text()
}

/// An app that says who it is, on a port that it was given.
fn named(name: &'static str) -> App {
    App::that_says(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len()))
}

/// How often the one that is not well was passed over, which is once: it is tried again after a second, if that is over.
fn ejections(site: &Sidestream, begun: Instant) -> u64 {
    let ejections = site.count("upstream_ejections");
    assert!((1..=1 + begun.elapsed().as_secs()).contains(&ejections), "{ejections}");
    ejections
}

#[test]
fn connections_that_wait_take_turns_too() {
    let apps = [named("a"), named("b"), named("c")];
    let origins = apps.each_ref().map(App::origin);
    let site = before(&origins.each_ref().map(String::as_str)).start();
    let said: Vec<_> = (0..9).map(|_| ask(&site)).collect();
    assert_eq!(said.concat(), "abcabcabc");
    assert_eq!(apps.each_ref().map(App::connections), [1, 1, 1]);
}

#[test]
fn the_one_with_the_fewest_requests_is_next() {
    let (slow, quick) = (Backend::start(), named("quick"));
    let site = before(&[slow.origin(), &quick.origin()]).upstream("balance = \"least-connections\"").start();
    let mut waiting = site.connect();
    waiting.get("/slow", "");
    let mut held = slow.accept();
    held.head();
    for _ in 0..6 {
        assert_eq!(ask(&site), "quick");
    }
    // Its body counts too, to the end.
    held.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nsl");
    waiting.until("sl");
    assert_eq!(ask(&site), "quick");
    held.send("ow");
    waiting.until("ow");
    let mut free = site.connect();
    let mut asked = 0;
    while slow_is_not_asked(&mut free, &mut held) {
        asked += 1;
        assert!(asked < 3, "the other is not asked again");
    }
}

/// How long one of two is looked at before the other.
const MOMENT: Duration = Duration::from_millis(5);

/// Sends a request, and answers it if it comes to an app on its connection.
fn slow_is_not_asked(client: &mut Client, app: &mut Client) -> bool {
    client.get("/", "");
    while app.is_silent_for(MOMENT) {
        if !client.is_silent_for(MOMENT) {
            client.response();
            return true;
        }
    }
    app.head();
    app.answer("slow");
    assert_eq!(client.response().text(), "slow");
    false
}

#[test]
fn what_cannot_be_connected_to_is_passed_over_and_left_alone() {
    let app = named("here");
    let nobody = Port::held();
    let site = before(&[&nobody.origin(), &app.origin()]).start();
    let begun = Instant::now();
    for _ in 0..10 {
        assert_eq!(ask(&site), "here");
    }
    // Nothing had been sent, so that even this may go to another.
    let response = site.connect().post("/", "", "{}").response();
    assert_eq!(response.status, 200);
    let ejections = ejections(&site, begun);
    assert_eq!(site.count("upstream_retries"), ejections);
    assert_eq!(site.count("upstream_errors"), 0);
}

#[test]
fn a_server_comes_back_when_one_request_has_found_it_well() {
    let place = Port::held();
    let app = named("stays");
    let site = before(&[&place.origin(), &app.origin()]).start();
    let begun = Instant::now();
    assert_eq!(ask(&site), "stays");
    assert_eq!(site.count("upstream_ejections"), 1);
    let listener = place.listen();
    let answering = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let handle = stream.try_clone().unwrap();
        let mut app = Client::over(stream, Some(handle));
        while app.try_head().is_some() {
            if app.try_send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nback").is_err() {
                break;
            }
        }
    });
    while ask(&site) != "back" {
        assert!(begun.elapsed() < PATIENCE, "it does not come back");
    }
    assert!(begun.elapsed() > Duration::from_millis(500), "it was not left alone");
    let said = [ask(&site), ask(&site), ask(&site), ask(&site)].concat();
    assert!(said == "staysbackstaysback" || said == "backstaysbackstays", "{said}");
    drop(site);
    answering.join().unwrap();
}

#[test]
fn a_server_that_takes_requests_and_does_not_answer_is_left_alone_too() {
    let broken = App::start(|mut client| drop(client.try_head()));
    let app = named("well");
    let site = before(&[&broken.origin(), &app.origin()]).start();
    let begun = Instant::now();
    let mut failed = 0;
    for _ in 0..20 {
        let response = site.connect().get("/", "").response();
        failed += u64::from(response.status == 502);
    }
    assert_eq!(failed, 3 + ejections(&site, begun) - 1);
}

#[test]
fn when_none_is_well_all_are_tried() {
    let nobody = [Port::held(), Port::held()].map(|port| (port.origin(), port));
    let site = before(&[&nobody[0].0, &nobody[1].0]).start();
    let begun = Instant::now();
    for _ in 0..3 {
        let response = site.connect().get("/", "").response();
        assert_eq!((response.status, response.field("retry-after")), (502, Some("2")));
    }
    let ejections = site.count("upstream_ejections");
    assert!((2..=2 + 2 * begun.elapsed().as_secs()).contains(&ejections), "{ejections}");
    // Each request tries both.
    assert_eq!(site.count("upstream_retries"), 3);
}

#[test]
fn what_an_app_says_of_its_own_trouble_is_no_fault() {
    let trouble = App::that_says("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n");
    let app = named("well");
    let site = before(&[&trouble.origin(), &app.origin()]).start();
    for _ in 0..20 {
        site.connect().get("/", "").response();
    }
    assert_eq!(site.count("upstream_ejections"), 0);
}
