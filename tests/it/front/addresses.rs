//! `allow_from` and `deny_from`.

use super::{ok, refused, status_for};
use crate::support::{Client, NO_APP, Site, token};

#[test]
fn who_is_let_in_is_decided_by_the_clients_address() {
    let app = ok();
    let site = Site::before(app.origin())
        .server("trusted_proxies = [\"127.0.0.1\"]")
        .more(
            "[[route]]\npath = \"/admin/\"\nallow_from = [\"10.0.0.0/8\", \"2001:db8::/32\"]\n\
             deny_from = [\"10.6.6.6\"]\n[route.proxy]\nupstream = \"app\"",
        )
        .start();
    for (client, status) in [
        ("10.1.2.3", 200),
        ("2001:db8::1", 200),
        ("::ffff:10.1.2.3", 200),
        ("10.6.6.6", 403),
        ("11.0.0.1", 403),
        // What a client says of itself before its proxy does counts for nothing.
        ("10.1.2.3, 11.0.0.1", 403),
        ("11.0.0.1, 10.1.2.3", 200),
    ] {
        assert_eq!(status_for(&site, "/admin/x", client), status, "{client}");
        assert_eq!(status_for(&site, "/", client), 200, "{client}");
    }
    assert_eq!(site.count("requests_denied"), 3);
    // The connection goes on.
    let mut client = site.connect();
    assert_eq!(client.get("/admin/", "").response().status, 403);
    assert_eq!(client.get("/", "").response().text(), "ok");
    assert_eq!(refused(&site, 4), ["denied"; 4]);
}

#[test]
fn nobody_says_who_it_is_that_is_not_trusted() {
    let app = ok();
    let site = Site::before(app.origin())
        .more("[[route]]\npath = \"/x/\"\nallow_from = [\"10.0.0.0/8\"]\n[route.proxy]\nupstream = \"app\"")
        .start();
    assert_eq!(status_for(&site, "/x/", "10.1.2.3"), 403);
}

#[test]
fn a_unix_socket_is_an_address_of_its_own() {
    let app = ok();
    let site = Site::before(app.origin())
        .more(
            "[[listen]]\naddress = \"unix:s.sock\"\n\
             [[route]]\npath = \"/in/\"\nallow_from = [\"unix\"]\n[route.proxy]\nupstream = \"app\"\n\
             [[route]]\npath = \"/out/\"\ndeny_from = [\"unix\"]\n[route.proxy]\nupstream = \"app\"",
        )
        .start();
    let mut unix = Client::connect(&format!("unix:{}", site.path("s.sock").display()));
    assert_eq!(unix.get("/in/", "").response().status, 200);
    assert_eq!(unix.get("/out/", "").response().status, 403);
    let mut tcp = site.connect();
    assert_eq!(tcp.get("/in/", "").response().status, 403);
    assert_eq!(tcp.get("/out/", "").response().status, 200);
}

#[test]
fn it_holds_for_streams_and_publishers_and_a_page_is_told_why() {
    let site = Site::before(NO_APP)
        .more(
            "[[route]]\npath = \"/mine\"\ndeny_from = [\"127.0.0.0/8\"]\n[route.stream]\nauth = [\"jwt\"]\n\
             [[route]]\npath = \"/hook\"\ndeny_from = [\"127.0.0.0/8\"]\n\
             cors = { origins = [\"https://app.example\"], credentials = true }\n\
             [route.publish]\ntoken = \"0123456789abcdef\"",
        )
        .start();
    let mut client = site.connect();
    let stream =
        client.get(&format!("/mine?token={}", token("1")), "Accept: text/event-stream\r\n").response();
    assert_eq!((stream.status, stream.json()["error"].as_str()), (403, Some("forbidden")));
    let fields = "Origin: https://app.example\r\nAuthorization: Bearer 0123456789abcdef\r\n";
    let hook = client.post("/hook", fields, "{\"user\":1}").response();
    assert_eq!((hook.status, hook.json()["error"].as_str()), (403, Some("forbidden")));
    assert_eq!(hook.field("access-control-allow-origin"), Some("https://app.example"));
    client.send(
        "OPTIONS /hook HTTP/1.1\r\nHost: test\r\nOrigin: https://app.example\r\n\
         Access-Control-Request-Method: POST\r\n\r\n",
    );
    assert_eq!(client.response().status, 403);
}

#[test]
fn no_way_of_writing_its_path_leads_around_it() {
    let app = ok();
    let guard = |path: &str, key: &str| {
        format!("[[route]]\npath = \"{path}\"\n{key}\n[route.proxy]\nupstream = \"app\"\n")
    };
    let site = Site::before(app.origin())
        .more(&guard("/admin/", "deny_from = [\"127.0.0.1\"]"))
        .more(&guard("/staging/", "basic_auth = { passwords = { bob = \"plain\" } }"))
        .start();
    for path in [
        "/%61dmin/",
        "/admin%2Fx",
        "//admin/",
        "/x/../admin/",
        "/x/%2e%2e/admin/",
        "/.//admin/x",
        "/%2fadmin/",
        "/x%2fy/../admin/",
        "/x//../admin/",
    ] {
        assert_eq!(site.connect().get(path, "").response().status, 403, "{path}");
        let path = path.replace("admin", "staging").replace("%61dmin", "%73taging");
        assert_eq!(site.connect().get(&path, "").response().status, 401, "{path}");
    }
    for path in ["/x%20y", "/admin", "/xadmin/", "//x/", "/admin%252fx"] {
        assert_eq!(site.connect().get(path, "").response().status, 200, "{path}");
    }
}
