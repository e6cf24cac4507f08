//! Streams of a provider that asks the app: the app is asked again, if it is to be asked otherwise.

use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use crate::support::client::field;
use crate::support::{App, NO_APP, Sidestream, Subscriber, in_front_of};

/// Knows everybody at `/a`, and `ann` alone at `/b`.
fn app() -> App {
    App::start(|mut client| {
        while let Some(head) = client.try_head() {
            let user = field(&head, "cookie").unwrap().split_once('=').unwrap().1.to_owned();
            let status =
                if head.starts_with("GET /a ") || user == "ann" { "200 OK" } else { "401 Unauthorized" };
            let body = format!("{{\"id\": \"{user}\"}}");
            let length = body.len();
            if client
                .try_send(format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}"))
                .is_err()
            {
                return;
            }
        }
    })
}

fn site(app: &App) -> Sidestream {
    let more = format!(
        "[upstreams.session]\nservers = [\"{}\"]\nkind = \"asgi\"\n[auth.session]\nkind = \"ask\"\n\
         upstream = \"session\"\npath = \"/a\"\nuser = \"/id\"\n\
         [[route]]\npath = \"/mine\"\n[route.stream]\nauth = [\"session\"]\n",
        app.origin()
    );
    Sidestream::start(&in_front_of(NO_APP, "", &more))
}

#[test]
fn who_is_known_still_stays() {
    let app = app();
    let site = site(&app);
    let open =
        |user: &str| Subscriber::open(site.connect(), "/mine", &format!("Cookie: sessionid={user}\r\n"));
    let (mut ann, ben) = (open("ann"), open("ben"));
    // Other providers before it, and another place among the apps.
    site.reload_with("[upstreams.app]", "[upstreams.a]\nservers = [\"unix:none\"]\n[upstreams.app]");
    site.reload_with(
        "[auth.jwt]",
        "[auth.authjs]\nkind = \"authjs\"\nsecret = \"0123456789abcdef\"\n[auth.jwt]",
    );
    assert_eq!((app.connections() > 0, site.count("streams")), (true, 2));
    site.reload_with("path = \"/a\"", "path = \"/b\"");
    let last = ben.end();
    assert!(last.contains("Unauthorized"), "{last}");
    site.publish(r#"{"user": "ann", "data": "still here"}"#);
    assert_eq!(ann.data(), "still here");
    site.reload_with("auth = [\"session\"]", "auth = [\"jwt\"]");
    assert_eq!(ann.end(), "");
}

#[test]
fn an_answer_that_was_on_its_way_does_not_stand_for_the_next() {
    let (asked, is_asked) = channel();
    let (answer, may_answer) = channel();
    let may_answer = Mutex::new(may_answer);
    let app = App::start(move |mut client| {
        while let Some(head) = client.try_head() {
            if head.starts_with("GET /slow ") {
                asked.send(()).unwrap();
                may_answer.lock().unwrap().recv_timeout(Duration::from_secs(10)).unwrap();
            }
            let said = match head.starts_with("GET /gone ") {
                true => "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n",
                false => "HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{\"id\": \"ben\"}",
            };
            if client.try_send(said).is_err() {
                return;
            }
        }
    });
    let site = site(&app);
    let ben = Subscriber::open(site.connect(), "/mine", "Cookie: sessionid=ben\r\n");
    site.reload_with("path = \"/a\"", "path = \"/slow\"");
    is_asked.recv_timeout(Duration::from_secs(10)).unwrap();
    // The next is to be asked although the one before it is still thinking.
    site.reload_with("path = \"/slow\"", "path = \"/gone\"");
    answer.send(()).unwrap();
    let last = ben.end();
    assert!(last.contains("Unauthorized"), "{last}");
}
