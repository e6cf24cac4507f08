//! `redirect_https`: cleartext is sent on to https, and never to a host that is not ours.

use crate::support::settings::Settings;
use crate::support::{App, Client, NO_APP, Sidestream, WEBSOCKET, tls};

fn status_and_location(client: &mut Client, request: &str) -> (u16, Option<String>) {
    let response = client.send(request).response();
    let location = response.field("location").map(str::to_owned);
    (response.status, location)
}

fn asked(site: &Sidestream, host: &str, target: &str) -> (u16, Option<String>) {
    let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    status_and_location(&mut site.connect(), &request)
}

fn to(location: &str) -> (u16, Option<String>) {
    (308, Some(location.to_owned()))
}

#[test]
fn every_route_is_sent_on_with_its_target() {
    let more = "[[route]]\npath = \"/hook\"\n[route.publish]\ntoken = \"0123456789abcdef0123456789abcdef\"\n";
    let listen = "server_names = [\"shop.example\", \"*.shop.example\"]\nredirect_https = true";
    let site = Settings { listen, more, ..Settings::default() };
    let site = Sidestream::start(&site.text(&[NO_APP]));
    for target in ["/", "/a/b?c=d&e=%2F", "/events?token=x", "/hook", "//evil.example/x", "/%0d%0aX: y"] {
        let target = target.replace(' ', "%20");
        assert_eq!(asked(&site, "shop.example", &target), to(&format!("https://shop.example{target}")));
    }
    assert_eq!(asked(&site, "WWW.shop.example:8080", "/x"), to("https://WWW.shop.example/x"));
    assert_eq!(asked(&site, "shop.example", "http://shop.example/abs"), to("https://shop.example/abs"));
    let mut client = site.connect();
    for request in [
        "POST /form HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 3\r\n\r\na=b".to_owned(),
        "OPTIONS /form HTTP/1.1\r\nHost: shop.example\r\n\r\n".to_owned(),
        format!("GET /form HTTP/1.1\r\nHost: shop.example\r\n{WEBSOCKET}\r\n"),
    ] {
        assert_eq!(status_and_location(&mut client, &request), to("https://shop.example/form"), "{request}");
    }
    // Not in the log of the next site, and not in anybody's cache for ever.
    let response = client.send("GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n").response();
    assert_eq!(response.field("cache-control"), Some("no-store"));
    assert_eq!(response.field("referrer-policy"), Some("no-referrer"));
}

#[test]
fn a_host_that_is_not_ours_is_not_sent_anywhere() {
    let listen = "server_names = [\"shop.example\"]\nredirect_https = true";
    let site = Settings { listen, ..Settings::default() };
    let site = Sidestream::start(&site.text(&[NO_APP]));
    for host in ["evil.example", "shop.example.evil.example", "127.0.0.1", "[::1]", "xshop.example"] {
        assert_eq!(asked(&site, host, "/"), (404, None), "{host}");
    }
    // A client of HTTP/1.0 that names none.
    let (status, location) = status_and_location(&mut site.connect(), "GET / HTTP/1.0\r\n\r\n");
    assert_eq!((status, location), (404, None));
    for host in ["shop.example@evil.example", "shop.example/evil", "shop.example\\evil", "a b"] {
        assert_eq!(asked(&site, host, "/").0, 400, "{host}");
    }
}

#[test]
fn the_listener_with_tls_says_which_hosts_there_are_and_on_which_port() {
    let app = App::that_echoes();
    let folder = tempfile::tempdir().unwrap();
    tls::certificate(folder.path(), "site", &["shop.example", "*.shop.example"]);
    tls::certificate(folder.path(), "other", &["other.example"]);
    let more = "[[listen]]\naddress = \"127.0.0.1:0\"\ntls = [{ cert = \"site.crt\", key = \"site.key\" }]\n\
                [[listen]]\naddress = \"127.0.0.1:0\"\ntls = [{ cert = \"other.crt\", key = \"other.key\" }]\n\
                server_names = [\"named.example\"]\n\
                [[listen]]\naddress = \"127.0.0.1:0\"\nredirect_https = 443\n";
    let settings = Settings { listen: "redirect_https = true", more, ..Settings::default() };
    let site = Sidestream::start_in(folder, &settings.text(&[&app.origin()]));
    let (_, port) = site.address_of(1).rsplit_once(':').unwrap();
    for (host, known) in [
        ("shop.example", true),
        ("www.shop.example", true),
        ("a.b.shop.example", false),
        ("named.example", true),
        // What a certificate covers is nothing where a list says which hosts there are.
        ("other.example", false),
        ("evil.example", false),
        ("127.0.0.1", false),
    ] {
        let expected = |port: &str| if known { to(&format!("https://{host}{port}/")) } else { (404, None) };
        assert_eq!(asked(&site, host, "/"), expected(&format!(":{port}")), "{host}");
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let found = status_and_location(&mut Client::connect(site.address_of(3)), &request);
        assert_eq!(found, expected(""), "{host}");
    }
    // The one it leads to serves.
    let mut client = tls::connect(site.address_of(1), "shop.example");
    assert_eq!(client.send("GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n").response().status, 200);
}

#[test]
fn what_a_trusted_proxy_took_by_https_is_served() {
    let app = App::that_says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let listen = "server_names = [\"shop.example\"]\nredirect_https = true";
    let by =
        |scheme: &str| format!("GET / HTTP/1.1\r\nHost: shop.example\r\nX-Forwarded-Proto: {scheme}\r\n\r\n");
    let trusting = Settings { server: "trusted_proxies = [\"127.0.0.1\"]", listen, ..Settings::default() };
    let trusting = trusting.before(&app);
    assert_eq!(status_and_location(&mut trusting.connect(), &by("https")), (200, None));
    assert_eq!(status_and_location(&mut trusting.connect(), &by("http")), to("https://shop.example/"));
    let strict = Settings { listen, ..Settings::default() }.before(&app);
    assert_eq!(status_and_location(&mut strict.connect(), &by("https")), to("https://shop.example/"));
}
