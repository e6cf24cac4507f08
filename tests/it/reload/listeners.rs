//! Listeners come and go; those that stay are not touched.

use crate::support::tls;
use crate::support::{App, Client, NO_APP, Sidestream, Subscriber, in_front_of};

fn unix(site: &Sidestream, name: &str) -> String {
    format!("unix:{}", site.path(name).display())
}

#[test]
fn new_ones_are_bound_and_removed_ones_let_go() {
    let app = App::that_says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let site = Sidestream::start(&in_front_of(&app.origin(), "", ""));
    let one = in_front_of(&app.origin(), "", "");
    let two = format!("{one}\n[[listen]]\naddress = \"unix:web.sock\"\n");
    let mut first = site.connect();
    assert_eq!(first.get("/", "").response().status, 200);

    assert_eq!(site.reload(&two).unwrap().changed, ["[[listen]]"]);
    let mut idle = Client::connect(&unix(&site, "web.sock"));
    assert_eq!(idle.get("/", "").response().status, 200);
    let mut stream = Subscriber::of(Client::connect(&unix(&site, "web.sock")), "1");

    site.reload(&one).unwrap();
    assert!(!site.path("web.sock").exists());
    idle.closed();
    site.publish(r#"{"user": 1, "data": "still here"}"#);
    assert_eq!(stream.data(), "still here");
    assert_eq!(first.get("/", "").response().status, 200);

    // The same address, as a new listener.
    site.reload(&two).unwrap();
    assert_eq!(Client::connect(&unix(&site, "web.sock")).get("/", "").response().status, 200);
}

#[test]
fn tls_comes_and_goes_on_the_same_port() {
    let app = App::that_says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let site = Sidestream::start(&in_front_of(&app.origin(), "", ""));
    tls::certificate(site.folder.path(), "site", &["test"]);
    let mut clear = site.connect();
    assert_eq!(clear.get("/", "").response().status, 200);

    let address = "address = \"127.0.0.1:0\"";
    let with_tls = format!("{address}\ntls = [{{ cert = \"site.crt\", key = \"site.key\" }}]");
    site.reload_with(address, &with_tls);
    let mut secure = tls::connect(site.address(), "test");
    assert_eq!(secure.get("/", "").response().status, 200);
    assert_eq!(clear.get("/", "").response().status, 200, "it began in cleartext");

    site.reload_with(&with_tls, address);
    assert_eq!(site.connect().get("/", "").response().status, 200);
    assert_eq!(secure.get("/", "").response().status, 200, "it began with TLS");
}

#[test]
fn redirects_follow() {
    let site = Sidestream::start(&in_front_of(NO_APP, "", ""));
    let mut client = site.connect();
    let address = "address = \"127.0.0.1:0\"";
    assert_eq!(client.get("/", "").response().status, 502);
    site.reload_with(address, &format!("{address}\nserver_names = [\"test\"]\nredirect_https = 444"));
    let moved = client.get("/", "").response();
    assert_eq!((moved.status, moved.field("location")), (308, Some("https://test:444/")));
}
