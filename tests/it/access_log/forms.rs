//! The other forms of a line: combined and logfmt.

use std::fs;

use super::Logged;
use crate::support::{App, Subscriber, in_front_of, token};

#[test]
fn other_forms_are_written_as_other_programs_read_them() {
    let app = App::that_echoes();
    let text_of = |format: &str| {
        let config = in_front_of(&app.origin(), "", "");
        let config = config
            .replace("access = \"access.log\"", &format!("access = \"access.log\"\nformat = \"{format}\""));
        assert!(config.contains(format), "{config}");
        let logged = Logged::start(&config);
        let mut client = logged.site.connect();
        let asker = "User-Agent: t\"est 1\r\nReferer: https://shop.example/?token=secret\r\n";
        let page = client.get("/page?token=secret", asker).response();
        let stream = Subscriber::open(logged.site.connect(), &format!("/events?token={}", token("42")), "");
        drop((client, stream));
        let Logged { site, folder } = logged;
        site.drain();
        site.wait();
        (fs::read_to_string(folder.path().join("access.log")).unwrap(), page.body.len())
    };

    let (text, length) = text_of("combined");
    let line = |beginning: &str, end: &str| {
        let found = text.lines().find(|line| line.ends_with(end));
        let line = found.unwrap_or_else(|| panic!("no line that ends so: {end}\n{text}"));
        assert!(line.starts_with(beginning), "{line}");
    };
    line(
        "127.0.0.1 - - [",
        &format!(
            r#" +0000] "GET /page?token=- HTTP/1.1" 200 {length} "https://shop.example/?token=-" "t\"est 1""#
        ),
    );
    line("127.0.0.1 - 42 [", r#" +0000] "GET /events?token=- HTTP/1.1" 200 - "-" "-""#);
    assert_eq!(text.lines().count(), 2, "{text}");

    let (text, length) = text_of("logfmt");
    let page = format!(
        " method=GET host=test target=\"/page?token=-\" protocol=HTTP/1.1 status=200 bytes={length} "
    );
    assert!(text.contains(&page), "{text}");
    assert!(text.contains(" kind=open client=127.0.0.1 target=\"/events?token=-\" user=42 "), "{text}");
    assert!(text.lines().all(|line| line.starts_with("time=") && !line.contains("secret")), "{text}");
}
