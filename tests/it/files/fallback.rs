//! What is no file goes to the app.

use super::{get, put, route};
use crate::support::{App, Backend, Client, NO_APP, Program, Site, WEBSOCKET, in_front_of};

#[test]
fn what_is_not_there_is_the_apps() {
    let app = App::that_echoes();
    let relay = Site::before(app.origin()).more(&route("try_upstream = \"app\"")).start();
    put(&relay, "a.css", b"file");
    put(&relay, "sub/a.css", b"file");
    assert_eq!(get(&relay, "/static/a.css", "").text(), "file");
    for target in ["/static/none.css?a=b", "/static/sub", "/static/sub/", "/static/", "/static/a%2fb"] {
        let response = get(&relay, target, "X-Own: 1\r\n");
        assert!(response.text().starts_with(&format!("GET {target} HTTP/1.1\r\n")), "{}", response.text());
        assert!(response.text().to_ascii_lowercase().contains("x-own: 1"));
    }
    let before = app.connections();
    let unchanged = get(&relay, "/static/a.css", "If-None-Match: *\r\n");
    let beyond = get(&relay, "/static/a.css", "Range: bytes=9-\r\n");
    assert_eq!((unchanged.status, beyond.status, app.connections()), (304, 416, before));
}

#[test]
fn bodies_and_other_methods_are_the_apps_too() {
    let app = Backend::start();
    let relay = Site::before(app.origin()).more(&route("try_upstream = \"app\"")).start();
    put(&relay, "a.css", b"file");
    for target in ["/static/a.css", "/static/none"] {
        let mut client = relay.connect();
        client.post(target, "", "{\"a\":1}");
        let mut connection = app.accept();
        let (head, body) = connection.request();
        assert!(head.starts_with(&format!("POST {target} HTTP/1.1\r\n")), "{head}");
        assert_eq!(body, b"{\"a\":1}");
        connection.answer("done");
        assert_eq!(client.response().text(), "done");
        drop(connection);
    }
}

#[test]
fn what_pages_of_other_origins_may_ask_the_app_is_the_apps_to_say() {
    let app = App::that_echoes();
    let cors = "cors = { origins = [\"https://shop.example\"] }";
    let both =
        route("try_upstream = \"app\"").replacen("[route.files]", &format!("{cors}\n[route.files]"), 1);
    let relay = Site::before(app.origin()).more(&both).start();
    put(&relay, "a.css", b"file");
    let origin = "Origin: https://shop.example\r\n";
    let file = get(&relay, "/static/a.css", origin);
    assert_eq!(file.field("access-control-allow-origin"), Some("https://shop.example"));
    let mut client = relay.connect();
    client.send(format!(
        "OPTIONS /static/api HTTP/1.1\r\nHost: test\r\n{origin}Access-Control-Request-Method: DELETE\r\n\r\n"
    ));
    let answer = client.response();
    assert!(answer.text().starts_with("OPTIONS /static/api "), "{}", answer.text());
}

#[test]
fn a_websocket_finds_the_app() {
    let app = Backend::start();
    let relay = Site::before(app.origin())
        .more("[[route]]\npath = \"/ws/\"\n[route.files]\nroot = \"static\"\ntry_upstream = \"app\"\n")
        .start();
    let mut client = relay.connect();
    client.get("/ws/chat", WEBSOCKET);
    let mut connection = app.accept();
    connection.head();
    connection
        .send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nhello");
    assert!(client.head().starts_with("HTTP/1.1 101 "));
    assert_eq!(client.exactly(5), b"hello");
}

#[test]
fn public_files_stand_before_the_pages_of_an_app() {
    let app = App::that_says("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npage");
    let text = format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\n[publish]\nsocket = \"\"\n[log]\naccess = \"off\"\n\
         [upstreams.app]\nservers = [\"{}\"]\nkind = \"node\"\n[[route]]\npath = \"/\"\n[route.files]\n\
         root = \"public\"\ntry_upstream = \"app\"\n",
        app.origin()
    );
    let relay = crate::support::Sidestream::start(&text);
    super::write(&relay.path("public/robots.txt"), b"Disallow:");
    super::write(&relay.path("public/images/a.png"), b"png");
    for (target, body) in [
        ("/robots.txt", "Disallow:"),
        ("/images/a.png", "png"),
        ("/", "page"),
        ("/images", "page"),
        ("/images/", "page"),
        ("//images/a.png", "page"),
        ("/about", "page"),
    ] {
        assert_eq!(get(&relay, target, "").text(), body, "{target}");
    }
}

#[test]
fn a_folder_that_is_not_there_is_spoken_of_and_served_when_it_comes() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("there")).unwrap();
    let route = |root: &str| format!("[[route]]\npath = \"/{root}/\"\n[route.files]\nroot = \"{root}\"\n");
    let config = in_front_of(NO_APP, "", &format!("{}{}", route("there"), route("later")));
    let program = Program::run_in(folder, &config);
    program.says("the folder of a files route is not there");
    assert_eq!(Client::connect(&program.address).get("/later/a.txt", "").response().status, 404);
    super::write(&program.folder.path().join("later/a.txt"), b"late");
    assert_eq!(Client::connect(&program.address).get("/later/a.txt", "").response().text(), "late");
    program.signal(rustix::process::Signal::TERM);
    let said = program.end().stderr;
    assert_eq!(said.matches("is not there").count(), 1, "{said}");
}
