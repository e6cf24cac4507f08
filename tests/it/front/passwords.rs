//! `basic_auth`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{ok, refused};
use crate::support::client::field;
use crate::support::{App, Sidestream, Site, WEBSOCKET};

fn basic(pair: &str) -> String {
    format!("Authorization: Basic {}\r\n", STANDARD.encode(pair))
}

/// The bcrypt hash of a password, as `htpasswd` writes it.
fn hash(password: &str, cost: u32) -> String {
    bcrypt::hash_with_salt(password, cost, [7; 16]).unwrap().format_for_version(bcrypt::Version::TwoY)
}

fn site(app: &App, passwords: &str) -> Sidestream {
    Site::before(app.origin())
        .more(&format!(
            "[[route]]\npath = \"/staging/\"\nbasic_auth = {{ realm = \"Staging\", passwords = {{ {passwords} }} }}\n\
             [route.proxy]\nupstream = \"app\""
        ))
        .start()
}

#[test]
fn who_has_a_password_comes_in_and_the_app_does_not_see_it() {
    let app = App::that_echoes();
    let site = site(&app, &format!("anna = \"{}\", bob = \"plain\"", hash("hashed", 4)));
    let mut client = site.connect();
    for fields in [
        String::new(),
        basic("anna:wrong"),
        basic("bob:hashed"),
        basic("eve:plain"),
        "Authorization: Bearer plain\r\n".to_owned(),
        format!("{}{}", basic("bob:plain"), basic("bob:plain")),
    ] {
        let response = client.get("/staging/", &fields).response();
        assert_eq!(response.status, 401, "{fields}");
        let challenge = "Basic realm=\"Staging\", charset=\"UTF-8\"";
        assert_eq!(response.field("www-authenticate"), Some(challenge));
    }
    for pair in ["anna:hashed", "bob:plain", "anna:hashed"] {
        let response = client.get("/staging/", &basic(pair)).response();
        assert_eq!(response.status, 200, "{pair}");
        assert_eq!(field(&response.text(), "authorization"), None);
    }
    // Elsewhere it is the app's own.
    let elsewhere = client.get("/", &basic("x:y")).response().text();
    assert!(field(&elsewhere, "authorization").is_some());
    assert_eq!(site.count("passwords_refused"), 3);
    assert_eq!(refused(&site, 6), ["password"; 6]);
}

#[test]
fn an_upgrade_and_a_body_are_not_let_past_it() {
    let app = ok();
    let site = site(&app, "bob = \"plain\"");
    assert_eq!(site.connect().get("/staging/", WEBSOCKET).response().status, 401);
    assert_eq!(site.connect().post("/staging/", &basic("bob:x"), "{}").response().status, 401);
    assert_eq!(app.connections(), 0);
}

#[test]
fn guesses_do_not_keep_others_waiting() {
    const GUESSES: usize = 20;
    let app = ok();
    let site = site(&app, &format!("anna = \"{}\"", hash("right", 10)));
    let mut guessing: Vec<_> = (0..GUESSES).map(|_| site.connect()).collect();
    for (n, client) in guessing.iter_mut().enumerate() {
        client.get("/staging/", &basic(&format!("anna:{n}")));
    }
    // All on the one worker.
    assert_eq!(site.connect().get("/", "").response().text(), "ok");
    let done = site.count("passwords_refused");
    assert!(done < GUESSES as u64, "the worker has waited for all of them");
    for mut client in guessing {
        assert_eq!(client.response().status, 401);
    }
}
