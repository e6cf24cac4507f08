//! `server_names` under TLS: a host that is not served is turned away before anything is shown.

use crate::support::session::{Session, written};
use crate::support::settings::Settings;
use crate::support::tls::{certificate, client_config};
use crate::support::{App, NO_APP, Sidestream};

fn site(names: &str, upstream: &str) -> Sidestream {
    let folder = tempfile::tempdir().unwrap();
    certificate(folder.path(), "shop", &["shop.example"]);
    certificate(folder.path(), "wild", &["*.shop.example"]);
    let listen = format!(
        "server_names = {names}\n\
         tls = [{{ cert = \"shop.crt\", key = \"shop.key\" }}, {{ cert = \"wild.crt\", key = \"wild.key\" }}]"
    );
    Sidestream::start_in(folder, &Settings { listen: &listen, ..Settings::default() }.text(&[upstream]))
}

#[test]
fn a_host_that_is_not_served_is_told_so_and_sees_no_certificate() {
    let site = site("[\"shop.example\", \"*.shop.example\"]", NO_APP);
    let mut failed = 0;
    for alpn in [&["h2", "http/1.1"][..], &["http/1.1"], &[]] {
        // An address is a client that names no host.
        for host in ["evil.example", "example", "myshop.example", "shop.example.evil.example", "127.0.0.1"] {
            let error = Session::begin(site.address(), host, &client_config(alpn)).map(|_| ()).unwrap_err();
            assert!(error.to_string().contains("Unrecogni"), "{host}: {error}");
            failed += 1;
            site.becomes("handshakes_failed", failed);
        }
    }
    for (host, shown) in [
        ("shop.example", "shop"),
        ("SHOP.Example", "shop"),
        ("www.shop.example", "wild"),
        ("WWW.SHOP.EXAMPLE", "wild"),
        // Served, and covered by none: the first.
        ("a.b.shop.example", "shop"),
    ] {
        let session = Session::begin(site.address(), host, &client_config(&[])).unwrap();
        assert!(session.certificate == written(site.folder.path(), shown), "{host} was not shown {shown}");
    }
    assert_eq!(site.count("handshakes_failed"), failed);
}

#[test]
fn who_asks_for_an_address_that_is_served_names_no_host() {
    let app = App::that_says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let site = site("[\"shop.example\", \"127.0.0.1\"]", &app.origin());
    let mut session = Session::begin(site.address(), "127.0.0.1", &client_config(&[])).unwrap();
    for (host, status) in [("127.0.0.1", 200), ("shop.example", 200), ("evil.example", 421)] {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(session.client.send(request).response().status, status, "{host}");
    }
    assert!(Session::begin(site.address(), "evil.example", &client_config(&[])).is_err());
}
