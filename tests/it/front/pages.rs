//! `error_pages`.

use std::fs;

use tempfile::TempDir;

use crate::support::{App, NO_APP, Sidestream, Site};

/// A site with pages, by their names.
fn site(origin: &str, pages: &[(&str, &str)]) -> (Sidestream, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in pages {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let server = format!("error_pages = \"{}\"", folder.path().display());
    let more = "[[route]]\npath = \"/static/\"\n[route.files]\nroot = \"static\"";
    (Site::before(origin).server(&server).more(more).start(), folder)
}

const PAGES: &[(&str, &str)] = &[
    ("502.html", "<h1>{status}</h1><i>{request_id}</i><style>p{margin:0}</style>"),
    ("4xx.html", "not here: {status}"),
    ("5xx.json", "{\"code\": {status}, \"id\": \"{request_id}\"}"),
];

#[test]
fn what_is_not_the_apps_answer_is_on_the_operators_page() {
    let (site, _folder) = site(NO_APP, PAGES);
    let mut client = site.connect();
    let page = client.get("/", "Accept: text/html\r\n").response();
    assert_eq!((page.status, page.field("content-type")), (502, Some("text/html; charset=utf-8")));
    assert_eq!((page.field("cache-control"), page.field("retry-after")), (Some("no-store"), Some("2")));
    let text = page.text();
    let id = text.strip_prefix("<h1>502</h1><i>").unwrap().split('<').next().unwrap();
    assert!(text.ends_with("<style>p{margin:0}</style>"));
    // It is found again in the log.
    site.comes_true(
        || "the id is in the log".to_owned(),
        || fs::read_to_string(site.path("access.log")).unwrap().contains(&format!("\"id\":\"{id}\"")),
    );
    let json = client.get("/", "Accept: application/json\r\n").response();
    assert_eq!((json.status, json.field("content-type")), (502, Some("application/json")));
    assert_eq!(json.json()["code"], 502);
    assert_eq!(json.json()["id"].as_str().unwrap().len(), 16);
    assert_eq!(client.get("/static/missing", "").response().text(), "not here: 404");
    // There is none for it.
    let json = client.get("/static/missing", "Accept: application/json\r\n").response();
    assert_eq!(json.json()["error"], "not_found");
    client.send("HEAD / HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(client.response_to("HEAD").field("content-length"), Some(&*text.len().to_string()));
}

#[test]
fn streams_keep_their_word_and_the_app_its_own_pages() {
    let app = App::that_says("HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\napps");
    let (site, _folder) = site(&app.origin(), PAGES);
    let mut client = site.connect();
    assert_eq!(client.get("/", "").response().text(), "apps");
    let refused = client.get("/events", "Accept: text/html\r\n").response();
    assert_eq!((refused.status, refused.json()["error"].as_str()), (401, Some("unauthorized")));
    // What is refused before it has a route, too.
    let wrong = client.send("GET / HTTP/1.1\r\nHost: a b\r\n\r\n").response();
    assert_eq!(wrong.text(), "not here: 400");
}
