//! Connections behind a balancer that speaks the PROXY protocol: the client is who the header says, and nobody but a
//! trusted peer may say it.

use serde_json::Value;

use crate::support::settings::Settings;
use crate::support::{App, Client, NO_APP, Sidestream, tls};

const TRUSTED: &str = "trusted_proxies = [\"127.0.0.1\", \"unix\"]";
const V1: &[u8] = b"PROXY TCP4 203.0.113.7 10.0.0.1 4321 443\r\n";
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n";

/// A header of version 2 for these addresses with a checksum behind them, which is not looked at.
fn v2(command: u8) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend([command, 0x21, 0, 36 + 7]);
    header.extend("2001:db8::7".parse::<std::net::Ipv6Addr>().unwrap().octets());
    header.extend([0; 16]);
    header.extend([0x10, 0xe1, 0x01, 0xbb]);
    header.extend([3, 0, 4, 1, 2, 3, 4]);
    header
}

fn behind(server: &str, listen: &str, app: &App) -> Sidestream {
    Settings { server, listen: &format!("proxy_protocol = true\n{listen}"), ..Settings::default() }
        .before(app)
}

/// What the app is told of the client.
fn told(client: &mut Client) -> String {
    let text = client.response().text();
    let line = text.lines().find_map(|line| line.strip_prefix("x-forwarded-for: "));
    line.unwrap_or_else(|| panic!("{text}")).to_owned()
}

#[test]
fn the_client_is_who_the_header_says() {
    let app = App::that_echoes();
    let folder = tempfile::tempdir().unwrap();
    tls::certificate(folder.path(), "site", &["test"]);
    let more = "[[listen]]\naddress = \"127.0.0.1:0\"\nproxy_protocol = true\n\
                tls = [{ cert = \"site.crt\", key = \"site.key\" }]\n\
                [[listen]]\naddress = \"unix:site.sock\"\nproxy_protocol = true";
    let settings = Settings { server: TRUSTED, listen: "proxy_protocol = true", more, ..Settings::default() };
    let site = Sidestream::start_in(folder, &settings.text(&[&app.origin()]));
    for (header, client) in [(V1, "203.0.113.7"), (&v2(0x21), "2001:db8::7")] {
        for listener in [0, 2] {
            let mut connection = Client::connect(site.address_of(listener));
            // What the client itself says of others is not believed, though the balancer would be.
            let spoof = b"GET / HTTP/1.1\r\nHost: test\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n";
            connection.send([header, spoof].concat());
            assert_eq!(told(&mut connection), client);
            assert_eq!(told(connection.send(REQUEST)), client, "the second request");
        }
        let mut connection = tls::connect_behind(header, site.address_of(1), "test");
        assert_eq!(told(connection.send(REQUEST)), client);
    }
    let clients = site.comes(
        || {
            let text = site.access_log();
            let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
            lines.map(|line| line["client"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        },
        |clients| clients.len() == 10,
    );
    assert_eq!(clients.iter().filter(|client| *client == "203.0.113.7").count(), 5, "{clients:?}");
    assert_eq!(clients.iter().filter(|client| *client == "2001:db8::7").count(), 5, "{clients:?}");
}

#[test]
fn a_header_may_come_in_pieces() {
    let app = App::that_echoes();
    let site = behind(TRUSTED, "", &app);
    for header in [V1, &v2(0x21)] {
        let whole = [header, REQUEST].concat();
        let mut connection = site.connect();
        for byte in &whole {
            connection.send([*byte]);
        }
        assert!(told(&mut connection).contains("7"));
        for cut in [1, 5, 6, 12, 15, 16, 17, header.len() - 1, header.len(), header.len() + 3] {
            let mut connection = site.connect();
            connection.send(&whole[..cut]);
            // Seen by the server, or not yet: it must not matter.
            std::thread::yield_now();
            connection.send(&whole[cut..]);
            assert!(told(&mut connection).contains("7"), "cut at {cut}");
        }
    }
}

#[test]
fn a_balancer_that_speaks_for_itself_is_the_peer_and_one_that_knows_no_client_vouches_for_none() {
    let app = App::that_echoes();
    let site = behind(TRUSTED, "", &app);
    let unknown = [&v2(0x21)[..13], &[0, 0, 0]].concat();
    for (header, is_itself) in [
        (&b"PROXY UNKNOWN\r\n"[..], false),
        (b"PROXY UNKNOWN a b c d\r\n", false),
        (&unknown, false),
        (&v2(0x20), true),
    ] {
        let mut connection = site.connect();
        connection.send([header, REQUEST].concat());
        assert_eq!(told(&mut connection), "127.0.0.1");
        connection.get("/", "X-Forwarded-For: 198.51.100.1\r\n");
        let expected = if is_itself { "198.51.100.1, 127.0.0.1" } else { "127.0.0.1" };
        assert_eq!(told(&mut connection), expected);
    }
}

#[test]
fn nobody_else_may_say_who_the_client_is() {
    let app = App::that_echoes();
    let site = behind("trusted_proxies = [\"10.0.0.0/8\"]", "", &app);
    for (refused, said) in [&[V1, REQUEST].concat()[..], REQUEST, b""].into_iter().enumerate() {
        let mut connection = site.connect();
        let _ = connection.try_send(said);
        connection.closed();
        site.becomes("proxy_headers_refused", refused as u64 + 1);
    }
    assert_eq!(app.connections(), 0);
    // And where no header is awaited, one is no HTTP.
    let site = Settings { server: TRUSTED, ..Settings::default() }.before(&app);
    let response = site.connect().send([V1, REQUEST].concat()).response();
    assert_eq!(response.status, 400);
    site.becomes("requests_malformed", 1);
}

#[test]
fn what_is_no_header_ends_the_connection() {
    let site = Settings { server: TRUSTED, listen: "proxy_protocol = true", ..Settings::default() };
    let site = Sidestream::start(&site.text(&[NO_APP]));
    let long = [&b"PROXY UNKNOWN "[..], &[b'x'; 100]].concat();
    let too_long = [&v2(0x21)[..14], &[0xff, 0xff]].concat();
    for (refused, said) in [REQUEST, b"\x16\x03\x01\x02\x00", b"PROXY TCP4 a b c d\r\n", &long, &too_long]
        .into_iter()
        .enumerate()
    {
        let mut connection = site.connect();
        connection.send(said);
        connection.closed();
        site.becomes("proxy_headers_refused", refused as u64 + 1);
    }
    // One that ends in the middle too.
    let mut connection = site.connect();
    connection.send(&V1[..20]).finish();
    connection.closed();
    site.becomes("proxy_headers_refused", 6);
}

#[test]
fn a_header_that_does_not_come_is_not_waited_for_longer_than_a_handshake() {
    let site = Settings {
        server: TRUSTED,
        listen: "proxy_protocol = true\nhandshake_timeout = \"100ms\"",
        ..Settings::default()
    };
    let site = Sidestream::start(&site.text(&[NO_APP]));
    for (ended, said) in [&b""[..], b"PROXY TCP4 203.0.", &v2(0x21)[..30]].into_iter().enumerate() {
        let mut connection = site.connect();
        connection.send(said).closed();
        site.becomes("connections_timed_out", ended as u64 + 1);
    }
}
