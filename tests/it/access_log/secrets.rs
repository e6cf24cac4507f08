//! What is secret reaches no log, wherever a client or the configuration has it, in any form, at any level.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::process::Signal;

use crate::support::frames::Frames;
use crate::support::program::Ended;
use crate::support::{App, Client, Program, SECRET, in_front_of, publish, tls, token};

const PASSWORD: &str = "correct-horse-battery";
const REDIS: &str = "redis-staple-password";
const PUBLISHER: &str = "publisher-token-of-the-app";
const WEBHOOK: &str = "d2ViaG9vay1zZWNyZXQtb2YtdGhlLXRlc3Rz";
const USERINFO: &str = "word-before-the-host";
const DATA: &str = "what-is-published-is-private";

/// Routes and sources with secrets of every kind.
fn more() -> String {
    format!(
        r#"
[auth.own]
kind = "jwt"
secret = "{SECRET}"
query = "sesame"
[[route]]
path = "/own"
[route.stream]
auth = ["own"]
[[route]]
path = "/staging/"
basic_auth = {{ realm = "Staging", passwords = {{ anna = "{PASSWORD}" }} }}
[route.proxy]
upstream = "app"
[[route]]
path = "/hook"
[route.publish]
webhook = "whsec_{WEBHOOK}"
[[route]]
path = "/push"
[route.publish]
token = "{PUBLISHER}"
[[source]]
kind = "redis-pubsub"
url = "redis://reader:{REDIS}@127.0.0.1:9/0"
channel = "notifications"
"#
    )
}

#[track_caller]
fn assert_none_of(secrets: &[&str], ended: &Ended, log: &str) {
    for (what, text) in [("access log", log), ("stderr", &ended.stderr), ("stdout", &ended.stdout)] {
        for secret in secrets {
            if let Some(place) = text.find(secret) {
                let line = text[..place].rfind('\n').map_or(0, |at| at + 1);
                panic!("{secret} is in the {what}: {}", text[line..].lines().next().unwrap_or_default());
            }
        }
    }
}

#[test]
fn no_secret_is_in_any_form_of_the_log() {
    let app = App::that_echoes();
    for format in ["json", "logfmt", "combined"] {
        let config = in_front_of(&app.origin(), "", &more());
        let config = config.replace("[log]", &format!("[log]\nlevel = \"trace\"\nformat = \"{format}\""));
        let program = Program::run(&config);
        let token = token("42");
        let signature = token.rsplit('.').next().unwrap().to_owned();
        let (right, wrong) = (format!("anna:{PASSWORD}"), format!("anna:{PASSWORD}x"));
        let [right, wrong] = [right, wrong].map(|pair| STANDARD.encode(pair));
        let ask = |head: &str| {
            let mut client = Client::connect(&program.address);
            client.send(format!("{head}\r\nConnection: close\r\n\r\n"));
            client.try_head().unwrap_or_default()
        };
        let get = |target: &str, fields: &str| ask(&format!("GET {target} HTTP/1.1\r\nHost: test{fields}"));

        // In the query, by every name and in every place of it.
        get(&format!("/events?token={token}"), "");
        get(&format!("/events?channels=all&tok%65n={token}x"), "");
        get(&format!("/events?channels=all;token={token}?token={token}"), "");
        get(&format!("/own?sesame={token}"), "");
        get(&format!("/missing?sesame={token}&jwt={token}&access_token={token}&ticket={token}"), "");
        // In fields.
        get("/events", &format!("\r\nCookie: token={token}; sessionid={signature}"));
        get("/events", &format!("\r\nAuthorization: Bearer {token}"));
        get("/events", &format!("\r\nAuthorization: {token}"));
        get("/staging/", &format!("\r\nAuthorization: Basic {right}"));
        get("/staging/", &format!("\r\nAuthorization: Basic {wrong}"));
        get("/page", &format!("\r\nReferer: https://ana:{USERINFO}@shop.example/?token={token}&a=b"));
        get("/page", &format!("\r\nX-Token : {token}"));
        // Before the host.
        assert!(
            ask(&format!("GET http://ana:{USERINFO}@test/page HTTP/1.1\r\nHost: test"))
                .starts_with("HTTP/1.1 ")
        );
        ask(&format!("GET http://ana:{USERINFO}@test/page HTTP/1.0\r\nAccept: */*"));
        ask(&format!("GET /page HTTP/1.1\r\nHost: ana:{USERINFO}@test"));
        // A ticket, which is a credential itself.
        let mut client = Client::connect(&program.address);
        let fields = format!("Authorization: Bearer {token}\r\n");
        let given = client.post("/events?ticket=1", &fields, "").response();
        let ticket = given.json()["ticket"].as_str().unwrap().to_owned();
        get(&format!("/events?ticket={ticket}"), "");
        get(&format!("/events?ticket={ticket}x"), "");
        // Publishers', at each of the doors.
        let body = format!("{{\"user\": \"42\", \"data\": \"{DATA}\"}}");
        for (target, fields) in [
            ("/push", format!("Authorization: Bearer {PUBLISHER}\r\n")),
            ("/push", format!("Authorization: Bearer {PUBLISHER}x\r\n")),
            (
                "/hook",
                format!("webhook-id: a\r\nwebhook-timestamp: 1\r\nwebhook-signature: v1,{WEBHOOK}\r\n"),
            ),
        ] {
            client.post(target, &fields, &body).response();
        }
        publish(&program.publish_socket(), &body);
        publish(&program.publish_socket(), &body.replace("\"user\"", "\"nobody\""));
        // What cannot be read of a configuration is shown without its secrets.
        program.says("the Redis of a source");
        program.reload(&config.replace("query = \"sesame\"", "quary = \"sesame\""), "is not reloaded");
        program.signal(Signal::TERM);
        let (ended, log) = program.end_with("access.log");
        assert!(log.lines().count() >= 20 && log.contains("sesame=-"), "{log}");
        assert!(ended.stderr.contains("quary") && ended.stderr.contains("DEBUG"), "{}", ended.stderr);
        let secrets = [
            &*signature,
            &right,
            &wrong,
            &ticket,
            PASSWORD,
            REDIS,
            PUBLISHER,
            WEBHOOK,
            USERINFO,
            DATA,
            SECRET,
        ];
        assert_none_of(&secrets, &ended, &log);
    }
}

#[test]
fn no_secret_of_a_request_that_is_none_is_in_the_log() {
    let folder = tempfile::tempdir().unwrap();
    tls::certificate(folder.path(), "test", &["test"]);
    let secure = "address = \"127.0.0.1:0\"\ntls = [{ cert = \"test.crt\", key = \"test.key\" }]";
    let config = in_front_of("http://127.0.0.1:9", "", "").replace("address = \"127.0.0.1:0\"", secure);
    let program = Program::run_in(folder, &config.replace("[log]", "[log]\nlevel = \"trace,h2=trace\""));
    let token = token("42");
    let signature = token.rsplit('.').next().unwrap();
    let mut client = Frames::connect(&program.address);
    let head = |path: &str, host: &str| {
        let (path, host) = (path.to_owned(), host.to_owned());
        [
            (":method", "GET".to_owned()),
            (":scheme", "https".to_owned()),
            (":authority", host),
            (":path", path),
        ]
    };
    let fits = format!("/events?token={token}");
    let no_path = format!("/events ?token={token}");
    let no_host = format!("{USERINFO}@te st");
    let userinfo = format!("ana:{USERINFO}@test");
    for (stream, fields) in [
        (1, head(&fits, "test")),
        (3, head(&no_path, "test")),
        (5, head(&fits, &no_host)),
        (7, head(&fits, &userinfo)),
    ] {
        let mut fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let bearer = format!("Bearer {token}");
        fields.extend([("authorization", &*bearer), ("cookie", &token)]);
        client.headers(stream, &fields);
        assert!(client.next().is_some());
    }
    program.says("recv HEADERS");
    program.signal(Signal::TERM);
    drop(client);
    let (ended, log) = program.end_with("access.log");
    assert!(log.contains("token=-"), "{log}");
    assert_none_of(&[signature, USERINFO], &ended, &log);
}
