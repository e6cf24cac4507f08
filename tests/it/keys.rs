//! Idempotency keys at every door, within the operator's bounds, and over a restart.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Client, NO_APP, Program, Sidestream, in_front_of, publish, token};

/// What goes behind the stream's route: bounds for keys, and doors of every kind.
fn config(bounds: &str) -> String {
    let doors = "[[route]]\npath = \"/token\"\n[route.publish]\ntoken = \"s3cret\"\n\
                 [[route]]\npath = \"/user\"\n[route.publish]\nauth = [\"jwt\"]\n";
    let socket = "socket = \"publish.sock\"\n";
    let publish = format!("{socket}{bounds}\nhttp = \"127.0.0.1:0\"\ntoken = \"s3cret\"\n");
    in_front_of(NO_APP, "", doors).replace(socket, &publish)
}

fn keyed(key: impl std::fmt::Display, data: u32) -> String {
    json!({"user": "42", "data": data, "key": key.to_string()}).to_string()
}

/// Hands in a publication at a door; says the status and the answer.
type HandIn<'d> = &'d dyn Fn(&str) -> (u16, Value);

#[test]
fn at_every_door_a_key_is_one_publication() {
    let site = Sidestream::start(&config(""));
    let user = format!("Authorization: Bearer {}\r\n", token("42"));
    let doors: [(&str, HandIn<'_>); 4] = [
        ("POST on the socket", &|body| answer(&site.post("/publish", body))),
        ("a line", &|body| {
            let said = site.publish(body);
            (if said["error"].is_null() { 200 } else { 409 }, said)
        }),
        ("a route with a token", &|body| {
            answer(&site.connect().post("/token", "Authorization: Bearer s3cret\r\n", body).response())
        }),
        ("a route for users", &|body| answer(&site.connect().post("/user", &user, body).response())),
    ];
    for (door, hand_in) in doors {
        let first = hand_in(&keyed(door.len(), 1));
        assert_eq!((first.0, &first.1["delivered"]), (200, &json!(0)), "{door}");
        assert_eq!(hand_in(&keyed(door.len(), 1)), first, "{door}");
        let (status, said) = hand_in(&keyed(door.len(), 2));
        let said = (status, &said["error"], &said["field"]);
        assert_eq!(said, (409, &json!("key_reused"), &json!("key")), "{door}");
    }
    assert_eq!(site.ask("/channels/user:42")["events"], doors.len());
    assert_eq!(site.count("keys"), doors.len() as u64);
}

fn answer(response: &crate::support::Response) -> (u16, Value) {
    (response.status, response.json())
}

#[test]
fn an_array_with_one_bad_key_publishes_nothing() {
    let site = Sidestream::start(&config(""));
    let first = site.publish(&keyed("a", 1));
    let array = |bodies: &[String]| answer(&site.post("/publish", &format!("[{}]", bodies.join(","))));
    let (status, said) = array(&[keyed("b", 1), keyed("a", 2)]);
    assert_eq!((status, &said["field"]), (409, &json!("[1].key")));
    let (status, said) = array(&[keyed("b", 1), keyed("c", 1), keyed("b", 2)]);
    assert_eq!((status, &said["field"]), (409, &json!("[2].key")));
    assert_eq!((site.count("keys"), site.ask("/channels/user:42")["events"].as_u64()), (1, Some(1)));
    // Neither key was used up.
    let (status, said) = array(&[keyed("b", 2), keyed("a", 1), keyed("b", 2)]);
    assert_eq!((status, &said[0], &said[1]), (200, &said[2], &first));
    assert_eq!(site.ask("/channels/user:42")["events"], 2);
}

#[test]
fn a_key_is_remembered_for_as_long_as_the_operator_says() {
    let site = Sidestream::start(&config("key_window = \"3s\""));
    let first = site.publish(&keyed("k", 1));
    assert_eq!(site.publish(&keyed("k", 2))["error"], "key_reused");
    let second = site.comes(|| site.publish(&keyed("k", 2)), |said| said["error"].is_null());
    assert_ne!(first["id"], second["id"]);
    site.becomes("keys", 0);
}

#[test]
fn with_all_room_taken_another_key_is_refused_and_no_promise_is_broken() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    for store in [String::new(), format!("[store]\nkind = \"disk\"\npath = \"{}\"\n", path.display())] {
        let config = config("max_batch = 100\nmax_keys = 100") + &store;
        let mut program = Program::run(&config);
        let mut lines = String::new();
        for key in 0..100 {
            writeln!(lines, "{}", keyed(key, 1)).unwrap();
        }
        let first = send(&program, &lines);
        assert!(first.iter().all(|said| said["error"].is_null()), "{first:?}");
        if !store.is_empty() {
            program.signal(Signal::KILL);
            assert_eq!(program.end().code, None);
            program = Program::run(&config);
        }
        let socket = format!("unix:{}", program.publish_socket().display());
        let post =
            |body: &str| Client::connect(&socket).post("/publish", "Connection: close\r\n", body).response();
        let refused = post(&keyed("new", 1));
        let said = refused.json();
        assert_eq!(
            (refused.status, &said["error"], &said["field"]),
            (503, &json!("unavailable"), &json!("key"))
        );
        let wait: u64 = refused.field("retry-after").unwrap().parse().unwrap();
        assert!((1..=300).contains(&wait), "{wait}");
        assert_eq!(publish(&program.publish_socket(), &keyed("new", 1))["error"], "unavailable");
        assert_eq!(post(&format!("[{},{}]", keyed(7, 1), keyed("new", 1))).status, 503);
        // Every key that was promised is known, and who brings none is served.
        assert_eq!(send(&program, &lines), first);
        assert_eq!(post(&keyed(7, 2)).status, 409);
        assert_eq!(post(r#"{"user": 42, "data": 1}"#).status, 200);
        let health = Client::connect(&socket).get("/healthz", "").response().json();
        assert_eq!((&health["keys"], &health["keys_refused"]), (&json!(100), &json!(3)));
    }
}

/// Hands in lines over one connection and reads their replies.
fn send(program: &Program, lines: &str) -> Vec<Value> {
    let mut stream = UnixStream::connect(program.publish_socket()).unwrap();
    stream.set_read_timeout(Some(crate::support::PATIENCE)).unwrap();
    stream.write_all(lines.as_bytes()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    BufReader::new(stream).lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect()
}
