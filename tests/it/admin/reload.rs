//! `POST /reload`, and what the operator sees behind a reload.

use serde_json::{Value, json};

use super::{TOKEN, ask, look, site};
use crate::support::{App, Sidestream, Site};

/// Presses the button with a token.
fn press(sidestream: &Sidestream, token: &str) -> (u16, Value) {
    let fields = format!("Host: localhost\r\nContent-Length: 0\r\nAuthorization: Bearer {token}\r\n");
    let answer = ask(&mut sidestream.admin(), "POST", "/reload", &fields);
    (answer.status, answer.json())
}

fn row(sidestream: &Sidestream, row: &str) -> Option<String> {
    let text = look(sidestream, "/metrics").text();
    text.lines().find_map(|line| line.strip_prefix(row)?.strip_prefix(' ')).map(str::to_owned)
}

#[test]
fn what_became_of_it_is_told() {
    let sidestream = site().start();
    let same = json!({ "generation": 1, "changed": [], "kept": [] });
    assert_eq!(press(&sidestream, TOKEN), (200, same));

    sidestream.rewrite("[server]", "[server]\nmax_connections = 77");
    let done = json!({ "generation": 2, "changed": ["[server]"], "kept": [] });
    assert_eq!(press(&sidestream, TOKEN), (200, done));
    assert_eq!(row(&sidestream, "sidestream_config_generation").as_deref(), Some("2"));

    sidestream.rewrite("max_connections = 77", "max_connections = \"x\"");
    let (status, said) = press(&sidestream, TOKEN);
    assert_eq!((status, said["error"].as_str()), (422, Some("invalid_configuration")));
    let problem = &said["problems"][0];
    assert_eq!(problem["file"], "test.toml");
    assert!(problem["line"].as_u64() > Some(1) && problem["column"].as_u64() == Some(19), "{problem}");
    assert!(problem["message"].as_str().unwrap().contains("max_connections"), "{problem}");
    assert_eq!(row(&sidestream, "sidestream_config_generation").as_deref(), Some("2"));

    sidestream.rewrite("max_connections = \"x\"", "max_connections = 77");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = format!("[[listen]]\naddress = \"{}\"\n[[listen]]", taken.local_addr().unwrap());
    sidestream.rewrite("[[listen]]", &listen);
    let (status, said) = press(&sidestream, TOKEN);
    assert_eq!((status, said["error"].as_str()), (422, Some("cannot_be_opened")), "{said}");
}

#[test]
fn it_takes_the_token_that_is_in_force_and_keeps_its_address() {
    let sidestream = site().start();
    assert_eq!(press(&sidestream, "another").0, 401);
    let looked = look(&sidestream, "/reload");
    assert_eq!((looked.status, looked.field("allow")), (405, Some("POST")));

    sidestream.rewrite(TOKEN, "another");
    assert_eq!(press(&sidestream, TOKEN).0, 200);
    assert_eq!(press(&sidestream, TOKEN).0, 401);
    assert_eq!(press(&sidestream, "another").0, 200);

    sidestream.rewrite("[admin]\naddress = \"127.0.0.1:0\"", "[admin]\naddress = \"127.0.0.1:1\"");
    let (status, said) = press(&sidestream, "another");
    assert_eq!((status, &said["kept"]), (200, &json!(["[admin] address"])));
    sidestream.rewrite("[admin]\naddress = \"127.0.0.1:1\"\ntoken = \"another\"", "");
    let (status, said) = press(&sidestream, "another");
    assert_eq!((status, &said["changed"], &said["kept"]), (200, &json!([]), &json!(["[admin] address"])));
}

#[test]
fn what_was_counted_of_a_route_stays_when_it_is_gone() {
    let app = App::that_says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let more =
        "[admin]\naddress = \"127.0.0.1:0\"\n[[route]]\npath = \"/old/\"\n[route.proxy]\nupstream = \"app\"";
    let sidestream = Site::before(app.origin()).more(more).start();
    let counted = |route: &str| {
        let labels = format!("{{route=\"{route}\",upstream=\"app\",status=\"2xx\"}}");
        row(&sidestream, &format!("sidestream_requests_total{labels}"))
    };
    assert_eq!(sidestream.connect().get("/old/", "").response().status, 200);
    sidestream.comes_true(|| "it is counted".to_owned(), || counted("/old/").as_deref() == Some("1"));
    assert_eq!(counted("/new/"), None);
    sidestream.reload_with("\"/old/\"", "\"/new/\"");
    assert_eq!((counted("/old/").as_deref(), counted("/new/").as_deref()), (Some("1"), Some("0")));
    assert_eq!(sidestream.connect().get("/old/", "").response().status, 200, "by the route of all paths");
    assert_eq!(counted("/old/").as_deref(), Some("1"));
    sidestream.reload_with("\"/new/\"", "\"/old/\"");
    assert_eq!(sidestream.connect().get("/old/", "").response().status, 200);
    sidestream.comes_true(|| "it is counted on".to_owned(), || counted("/old/").as_deref() == Some("2"));
}
