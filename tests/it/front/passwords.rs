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
fn two_of_them_may_stand_before_one_path() {
    let app = App::that_echoes();
    let guarded = |path: &str| {
        format!(
            "[[route]]\npath = \"{path}\"\nbasic_auth = {{ realm = \"x\", passwords = {{ bob = \"plain\" }} }}\n\
             [route.proxy]\nupstream = \"app\"\n"
        )
    };
    let site = Site::before(app.origin()).more(&(guarded("/staging/") + &guarded("/staging/api/"))).start();
    let mut client = site.connect();
    for path in ["/staging/api/x", "/staging//api/x"] {
        let response = client.get(path, &basic("bob:plain")).response();
        assert_eq!(response.status, 200, "{path}");
        assert_eq!(field(&response.text(), "authorization"), None, "{path}");
    }
}

#[test]
fn what_it_guards_is_not_compressed_and_not_for_shared_caches() {
    let app = App::that_says(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2000\r\n\r\n".to_owned()
            + &"x".repeat(2000),
    );
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.txt"), "for bob").unwrap();
    let guard = "basic_auth = { realm = \"x\", passwords = { bob = \"plain\" } }";
    let site = Site::before(app.origin())
        .more(&format!(
            "[[route]]\npath = \"/page/\"\n{guard}\n[route.proxy]\nupstream = \"app\"\ncompress = true\n\
             [[route]]\npath = \"/files/\"\n{guard}\n[route.files]\nroot = \"{}\"",
            folder.path().display()
        ))
        .start();
    let mut client = site.connect();
    let fields = basic("bob:plain") + "Accept-Encoding: gzip\r\n";
    let page = client.get("/page/", &fields).response();
    assert_eq!((page.status, page.field("content-encoding")), (200, None));
    let file = client.get("/files/a.txt", &fields).response();
    assert_eq!((file.status, file.field("cache-control")), (200, Some("private, max-age=60")));
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
