//! Session cookies of NextAuth and Auth.js: who has one gets a stream, and nobody else does.

use crate::support::{App, Client, NO_APP, Sidestream, Site, Subscriber, tls, token};

/// The secret of the cookies, and a provider behind that takes tokens too.
const PROVIDER: &str = r#"
[auth.authjs]
kind = "authjs"
secret = ["a newer one of ours", "correct horse battery staple"]
[[route]]
path = "/session"
[route.stream]
auth = ["authjs", "jwt"]
"#;

// For the user 42 until 2036, made by `encode()` of @auth/core 0.41.3 and next-auth 4.24.15.
const V5: &str = "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2Q0JDLUhTNTEyIiwia2lkIjoib0hEZ21icEdMeU9vS05TOWRmWXRma3ZBR3hSMlF6LUhuMmFvR2l4c2VWVGxQdlNoMmNmMEVKQmlaOHNOaTYwLWxfQndjc2QyLVZSMUpWdjQ4U3A2ZncifQ..wTcIeMQfRC9Dq4HFbA2J7g.HW2clH1skni3LNKGyVhBL8zFPDpQqVu7mC80b3SKWMee_wVzsqwMhaYO94QgIt3iJsrrknEP7hizksH-y5U5SZzfw0uuVwGs9_MIHfBxMaxMzsUZaLiX5eucG8KUe8vG5RcQwDJ_r8vA4G3mtOIbQH50cD-qd_O1YuBEibE0LEbzr09hJqhQhz_wmia8Omlu.0_Zi2i7btQVnz-QwkbTVHUyUlvsualHkIRaaZac97Cw";
const V5_SECURE: &str = "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2Q0JDLUhTNTEyIiwia2lkIjoibHFUaUdRV1JrSjJrZXZsVzJnaTM3WHItODZaRXY2aUdDNnV0eHVuNFQyOEZ4dVc2UjRaYnJva3QxSnFvQ2lhakNuUHEwbUp6YnpRdFVFaWI4NU1aRUEifQ..O4cI5wBTVGmKwt0d_-xj6A.HgcCTvQ-KT0lA4cbsIlnt4cqocwMMzuqjuwKmMwiAEAFEOuRqRFjlqSTL56nw5qTtrDsQq94ChVwO8kbg00AymkpLzPnruz4-l_dGQ5IREP0s2JHobUe6Hv2pP5zxIOPpWAL_kUxEf9s2zCicEeArjnhImq7fhSJL-Iw7cGxv4GTZEW1NKblfqF2qRdjOjvo.9x7JQbsDShqeglcmKtVAGj1bsocsJcm3gFMhie1PLEk";
const V4: &str = "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..kH1Xx_cpKlffmsLo.cm9SiRyK0k-JjXnIpG2cf6QqyDBEvexsjytmUfH3E4Xx3nblsSoBZ4UEcazuOnTM22XIFqA0L270NS8cCnq_XNGkuZqVxol2Q6uEnUyvlVwVotpkYicRttDouIh7VaO9wcc1MfkdN7tfoWeHAn8qETNtusVYWVV3PoB81bhqcI7q8g.pV6P25jSbWaddQ3Xm-sRvw";

fn gets_the_events_of_42(site: &Sidestream, client: Client, fields: &str) {
    let mut subscriber = Subscriber::open(client, "/session", fields);
    site.publish(r#"{"user": 43, "data": "not for this one"}"#);
    site.publish(r#"{"user": 42, "data": "hello"}"#);
    assert_eq!(subscriber.data(), "hello", "{fields:.60}");
}

#[test]
fn a_session_cookie_opens_the_stream_of_its_user() {
    let site = Site::before(NO_APP).more(PROVIDER).start();
    for (name, cookie) in [("authjs.session-token", V5), ("next-auth.session-token", V4)] {
        gets_the_events_of_42(&site, site.connect(), &format!("Cookie: theme=dark; {name}={cookie}\r\n"));
        let (head, tail) = cookie.split_at(cookie.len() / 2);
        let pieces = format!("Cookie: {name}.1={tail}\r\nCookie: {name}.0={head}; theme=dark\r\n");
        gets_the_events_of_42(&site, site.connect(), &pieces);
    }
}

#[test]
fn over_tls_the_cookie_decides_that_only_https_can_set() {
    let site = Site::before(NO_APP).tls(&[&["test"]]).more(PROVIDER).start();
    let connect = || tls::connect(site.address(), "test");
    let planted = "Cookie: authjs.session-token=planted; __Secure-authjs.session-token=";
    gets_the_events_of_42(&site, connect(), &format!("{planted}{V5_SECURE}\r\n"));
    let spoilt = format!("Cookie: authjs.session-token={V5}; __Secure-authjs.session-token=x\r\n");
    assert_eq!(connect().get("/session", &spoilt).response().status, 401);
}

#[test]
fn a_cookie_that_is_not_good_is_401_whatever_else_there_is() {
    let site = Site::before(NO_APP).more(PROVIDER).start();
    let token = token("42");
    let changed = V5.replacen('.', "A.", 1);
    for (cookie, why) in [
        (format!("authjs.session-token={changed}"), "not"),
        (format!("authjs.session-token={V4}"), "sealed"),
        (format!("authjs.session-token.1={V5}"), "pieces"),
        (format!("authjs.session-token={V5}; authjs.session-token={V5}"), "twice"),
        ("authjs.session-token=".to_owned(), "empty"),
    ] {
        let fields = format!("Cookie: {cookie}\r\n");
        let response = site.connect().get(&format!("/session?token={token}"), &fields).response();
        assert_eq!(response.status, 401, "{cookie:.60}");
        let message = response.json()["message"].as_str().unwrap().to_owned();
        assert!(message.contains(why) && !message.contains("eyJ"), "{cookie:.60}: {message}");
    }
    // Who has no such cookie is asked by the next provider.
    let other = "Cookie: authjs.session-token-foo=x\r\n";
    Subscriber::open(site.connect(), &format!("/session?token={token}"), other);
    assert_eq!(site.connect().get("/session", other).response().status, 401);
}

#[test]
fn a_page_of_another_site_cannot_use_the_cookie() {
    let site = Site::before(NO_APP).more(PROVIDER).start();
    let cookie = format!("Cookie: authjs.session-token={V5}\r\n");
    let foreign = format!("Origin: https://evil.example\r\n{cookie}");
    assert_eq!(site.connect().get("/session", &foreign).response().status, 403);
    Subscriber::open(site.connect(), "/session", &format!("Origin: http://test\r\n{cookie}"));
}

#[test]
fn another_claim_may_be_the_user() {
    let provider = PROVIDER.replace("kind = \"authjs\"", "kind = \"authjs\"\nuser_claim = \"email\"");
    let site = Site::before(NO_APP).more(&provider).start();
    let cookie = format!("Cookie: next-auth.session-token={V4}\r\n");
    let mut subscriber = Subscriber::open(site.connect(), "/session", &cookie);
    site.publish(r#"{"user": "ann@example.com", "data": "hello"}"#);
    assert_eq!(subscriber.data(), "hello");
}

#[test]
fn the_app_gets_its_cookie_as_ever() {
    let app = App::that_echoes();
    let site = Site::before(app.origin()).more(PROVIDER).start();
    let page = site.connect().get("/page", &format!("Cookie: authjs.session-token={V5}\r\n")).response();
    assert!(page.text().contains(V5), "{}", page.text());
}
