//! Requests to the app and its answers back.

use crate::support::{App, Sidestream, in_front_of};

#[test]
fn a_request_reaches_the_app_and_comes_back() {
    let app = App::that_echoes();
    let site = Sidestream::start(&in_front_of(&app.origin(), "", ""));
    let mut client = site.connect();
    for _ in 0..3 {
        let response =
            client.get("/shop?a=1", "X-Forwarded-For: 6.6.6.6\r\nX_Real_IP: 6.6.6.6\r\n").response();
        assert_eq!(response.status, 200);
        let head = response.text();
        assert!(head.starts_with("GET /shop?a=1 HTTP/1.1\r\n"), "{head}");
        assert!(head.contains("x-forwarded-for: 127.0.0.1"), "{head}");
        assert!(!head.contains("6.6.6.6"), "{head}");
    }
    assert_eq!(app.connections(), 1, "the connection to the app is used again");
}
