//! `maintenance`.

use std::fs;

use super::{ok, refused};
use crate::support::{App, Response, Sidestream, Site, Subscriber};

fn site(app: &App, path: &str) -> Sidestream {
    Site::before(app.origin())
        .server(&format!("maintenance = \"{path}\""))
        .more(
            "[[route]]\npath = \"/static/\"\n[route.files]\nroot = \".\"\n\
             [[route]]\npath = \"/hook\"\n[route.publish]\ntoken = \"0123456789abcdef\"",
        )
        .start()
}

fn get(site: &Sidestream, fields: &str) -> Response {
    site.connect().get("/", fields).response()
}

#[test]
fn while_the_file_is_there_only_streams_and_publishers_are_served() {
    let app = ok();
    let site = site(&app, "down.html");
    let file = site.path("down.html");
    assert_eq!(get(&site, "").text(), "ok");
    let mut old = Subscriber::of(site.connect(), "1");

    fs::write(&file, "<p>back at noon</p>").unwrap();
    let down = site.comes(|| get(&site, ""), |response| response.status == 503);
    assert_eq!(down.text(), "<p>back at noon</p>");
    assert_eq!(down.field("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(down.field("retry-after"), Some("30"));
    let json = get(&site, "Accept: application/json\r\n");
    assert_eq!((json.status, json.json()["error"].as_str()), (503, Some("service_unavailable")));
    assert_eq!(site.connect().get("/static/x", "").response().status, 503);
    assert!(site.count("requests_in_maintenance") >= 3);
    assert_eq!(refused(&site, 3)[0], "maintenance");

    let mut new = Subscriber::of(site.connect(), "1");
    let fields = "Authorization: Bearer 0123456789abcdef\r\n";
    let sent = site.connect().post("/hook", fields, "{\"user\":1,\"data\":\"hi\"}").response();
    assert_eq!(sent.json()["delivered"], 2);
    assert_eq!((old.data().as_str(), new.data().as_str()), ("hi", "hi"));

    fs::write(&file, "").unwrap();
    let ours = site.comes(|| get(&site, ""), |response| !response.text().contains("noon"));
    assert!(ours.status == 503 && ours.text().contains("back soon"), "{}", ours.text());
    fs::remove_file(&file).unwrap();
    site.comes(|| get(&site, ""), |response| response.text() == "ok");
}
