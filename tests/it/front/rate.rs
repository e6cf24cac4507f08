//! `rate`.

use super::{ok, refused, status_for};
use crate::support::{App, Client, NO_APP, Sidestream, Site, in_front_of};

/// A route at `/x/` with a rate that does not come back within a test.
fn limited(rate: &str) -> String {
    format!("[[route]]\npath = \"/x/\"\nrate = {{ {rate}, per = \"1h\" }}\n[route.proxy]\nupstream = \"app\"")
}

#[test]
fn an_address_has_its_share_over_all_workers() {
    let app = ok();
    let site = Site::before(app.origin())
        .workers(3)
        .server("trusted_proxies = [\"127.0.0.1\"]")
        .more(&limited("requests = 6, burst = 4"))
        .start();
    let statuses: Vec<_> = (0..20).map(|n| status_for(&site, &format!("/x/{n}"), "10.0.0.1")).collect();
    assert_eq!(statuses, [[200; 4].as_slice(), &[429; 16]].concat());
    // Others, and other paths, have their own.
    assert_eq!(status_for(&site, "/x/", "10.0.0.2"), 200);
    assert_eq!(status_for(&site, "/", "10.0.0.1"), 200);
    let v6: Vec<_> = (1..=6).map(|n| status_for(&site, "/x/", &format!("2001:db8::{n}"))).collect();
    assert_eq!(v6, [200, 200, 200, 200, 429, 429]);
    assert_eq!(status_for(&site, "/x/", "2001:db8:0:1::1"), 200);
    assert_eq!(site.count("requests_limited"), 18);
    assert!(refused(&site, 18).iter().all(|word| word == "rate"));
}

#[test]
fn who_is_refused_is_told_when_to_come_again_and_keeps_the_connection() {
    let app = ok();
    let site = Site::before(app.origin()).more(&limited("requests = 60, burst = 1")).start();
    let mut client = site.connect();
    assert_eq!(client.get("/x/", "").response().status, 200);
    let refused = client.get("/x/", "Accept: application/json\r\n").response();
    assert_eq!((refused.status, refused.json()["error"].as_str()), (429, Some("too_many_requests")));
    let wait: u64 = refused.field("retry-after").unwrap().parse().unwrap();
    assert!((50..=60).contains(&wait), "{wait}");
    assert_eq!(client.get("/", "").response().text(), "ok");
    assert_eq!(app.connections(), 1);
}

#[test]
fn all_of_a_route_may_share_one() {
    let app = ok();
    let site = Site::before(app.origin())
        .server("trusted_proxies = [\"127.0.0.1\"]")
        .more(&limited("requests = 2, by = \"route\""))
        .start();
    let statuses: Vec<_> = (1..=4).map(|n| status_for(&site, "/x/", &format!("10.0.0.{n}"))).collect();
    assert_eq!(statuses, [200, 200, 429, 429]);
}

#[test]
fn a_publisher_that_the_app_is_asked_about_is_under_it_before_the_app_is_asked() {
    let app = App::that_says("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n");
    let more = "[auth.me]\nkind = \"ask\"\nupstream = \"app\"\npath = \"/api/me\"\nuser = \"/id\"\ncache = \"0s\"\n\
         [[route]]\npath = \"/push\"\nrate = { requests = 2, per = \"1h\" }\n[route.publish]\nauth = [\"me\"]";
    let site = Sidestream::start(&in_front_of(&app.origin(), "", more));
    let push = |n: u32| {
        let fields = format!("Authorization: Bearer guess-{n}\r\n");
        site.connect().post("/push", &fields, "{\"user\":1,\"data\":1}").response()
    };
    assert_eq!([push(1).status, push(2).status], [401, 401]);
    let asked = app.connections();
    for n in 3..10 {
        let response = push(n);
        assert_eq!((response.status, response.json()["error"].as_str()), (429, Some("too_many_requests")));
    }
    assert_eq!(app.connections(), asked);
}

#[test]
fn files_have_it_too_and_a_unix_socket_has_no_address() {
    let site = Site::before(NO_APP)
        .more(
            "[[listen]]\naddress = \"unix:s.sock\"\n\
             [[route]]\npath = \"/static/\"\nrate = { requests = 1, per = \"1h\" }\n[route.files]\nroot = \".\"",
        )
        .start();
    let mut client = site.connect();
    assert_eq!(client.get("/static/missing", "").response().status, 404);
    assert_eq!(client.get("/static/missing", "").response().status, 429);
    let mut unix = Client::connect(&format!("unix:{}", site.path("s.sock").display()));
    for _ in 0..3 {
        assert_eq!(unix.get("/static/missing", "").response().status, 404);
    }
}
