//! Reloads of the program under load: nothing fails, nothing is cut, and nothing grows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{JoinHandle, spawn};
use std::time::{Duration, Instant};

use crate::support::client::field;
use crate::support::h2_session::H2Session;
use crate::support::{
    App, Client, PATIENCE, Program, Subscriber, WEBSOCKET, in_front_of, publish, tls, token,
};

/// How often it is reloaded.
const RELOADS: usize = 100;

/// What the memory may grow by between the tenth reload and the last, in KiB: an eighth of what it would if a generation
/// stayed, streams or not, with its routes alone.
const GROWTH: u64 = 4 * 1024;

/// How much a client uploads, in bytes.
const UPLOAD: usize = 256 * 1024;

/// Reads bodies, and answers with their length; a WebSocket gets what it sends.
fn app() -> App {
    App::start(|mut client| {
        while let Some(head) = client.try_head() {
            if field(&head, "upgrade").is_some() {
                client.send(
                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
                );
                while let Some(byte) = client.try_exactly(1) {
                    client.send(byte);
                }
                return;
            }
            let length = field(&head, "content-length").map_or(0, |length| length.parse().unwrap());
            if client.try_exactly(length).is_none() {
                return;
            }
            let text = length.to_string();
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len());
            if client.try_send(answer).is_err() {
                return;
            }
        }
    })
}

/// Two configurations that differ in all that can.
fn configuration(app: &str, is_odd: bool) -> String {
    let (seconds, format) = if is_odd { (20, "json") } else { (30, "logfmt") };
    let more = format!(
        r#"
[[listen]]
address = "127.0.0.1:0"
tls = [{{ cert = "site.crt", key = "site.key" }}]
idle_timeout = "{seconds}s"
[[listen]]
address = "unix:{format}.sock"
[upstreams.other]
servers = ["{app}"]
response_timeout = "{seconds}s"
health = {{ path = "/{format}", every = "1s" }}
[auth.{format}]
kind = "authjs"
secret = "0123456789abcdef"
[limits]
streams = 1{seconds}
opens_per_second = 1{seconds}
connections_per_address = 1{seconds}
[[route]]
path = "/{format}/"
[route.proxy]
upstream = "other"
compress = true
[[route]]
path = "/more/{format}"
[route.stream]
auth = ["{format}"]
[[route]]
path = "/files/"
[route.files]
root = "."
immutable = "*.{format}"
"#
    );
    let text = in_front_of(app, &format!("retry = \"{seconds}s\""), &more);
    text.replace("access = \"access.log\"", &format!("access = \"{format}.log\"\nformat = \"{format}\""))
}

/// Clients that ask over and over until they are told to stop.
struct Load {
    is_over: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    fn client(&mut self, mut ask: impl FnMut() + Send + 'static) {
        let (is_over, done) = (self.is_over.clone(), self.done.clone());
        self.clients.push(spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                ask();
                done.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }

    /// Says how many requests have been answered, all of them.
    fn end(self) -> usize {
        self.is_over.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.join().expect("a request failed");
        }
        self.done.load(Ordering::Relaxed)
    }
}

fn is_answered(client: &mut Client) {
    let response = client.get("/", "").response();
    assert_eq!((response.status, &*response.body), (200, &b"0"[..]));
}

#[test]
fn a_hundred_reloads_fail_no_request_and_cut_no_stream() {
    let app = app();
    let folder = tempfile::tempdir().unwrap();
    tls::certificate(folder.path(), "site", &["test"]);
    let program = Program::run_in(folder, &configuration(&app.origin(), false));
    program.says("unix:");
    let address = program.address.clone();
    let said = program.said();
    let secure = said.split("address=\"").nth(2).unwrap().split('"').next().unwrap().to_owned();

    let mut streams: Vec<_> = (0..8).map(|_| Subscriber::of(Client::connect(&address), "1")).collect();
    streams.extend((0..2).map(|_| Subscriber::of(tls::connect(&secure, "test"), "1")));
    let mut session = H2Session::connect(&secure);
    let mut shared: Vec<_> = (0..3).map(|_| session.subscribe("1")).collect();
    let mut websocket = Client::connect(&address);
    websocket.get("/ws", WEBSOCKET).head();

    let mut load = Load { is_over: Arc::default(), done: Arc::default(), clients: Vec::new() };
    for _ in 0..2 {
        let mut client = Client::connect(&address);
        load.client(move || is_answered(&mut client));
    }
    let mut client = tls::connect(&secure, "test");
    load.client(move || is_answered(&mut client));
    let target = address.clone();
    load.client(move || is_answered(&mut Client::connect(&target)));
    let mut client = Client::connect(&address);
    let body = "x".repeat(UPLOAD);
    load.client(move || {
        let response = client.post("/", "", &body).response();
        assert_eq!((response.status, response.text()), (200, UPLOAD.to_string()));
    });
    load.client(move || {
        websocket.send("x");
        assert_eq!(websocket.exactly(1), b"x");
    });

    let (mut memory, begun) = (0, Instant::now());
    for reload in 1..=RELOADS {
        program.reload(&configuration(&app.origin(), reload % 2 == 1), "configuration reloaded");
        if reload == 10 {
            memory = program.memory();
        }
    }
    let took = begun.elapsed();
    let grown = program.memory().saturating_sub(memory);
    let answered = load.end();

    let reply = publish(&program.publish_socket(), r#"{"user": 1, "data": "still here"}"#);
    assert_eq!(reply["delivered"], 13);
    assert!(streams.iter_mut().all(|stream| stream.data() == "still here"));
    assert!(shared.iter_mut().all(|stream| stream.data() == "still here"));
    println!("{answered} requests in {took:?}, memory {memory} KiB and {grown} KiB more");
    assert!(answered > RELOADS, "{answered} requests");
    assert!(grown < GROWTH, "{grown} KiB more than {memory} KiB");
    let said = program.said();
    assert!(said.contains(&format!("generation={}", RELOADS + 1)), "{said}");
    assert!(!said.contains("WARN") && !said.contains("ERROR"), "{said}");
}

#[test]
fn descriptors_are_given_back() {
    let app = app();
    let folder = tempfile::tempdir().unwrap();
    tls::certificate(folder.path(), "site", &["test"]);
    let program = Program::run_in(folder, &configuration(&app.origin(), false));
    program.says("unix:");
    let _stream = Subscriber::of(Client::connect(&program.address), "1");
    let turn = || {
        for is_odd in [true, false] {
            program.reload(&configuration(&app.origin(), is_odd), "configuration reloaded");
            // By Sidestream itself: a connection to the app would wait for a while.
            let missing =
                Client::connect(&program.address).get("/files/none", "Connection: close\r\n").response();
            assert_eq!(missing.status, 404);
        }
    };
    turn();
    let settled = |most: usize| {
        let begun = Instant::now();
        while program.descriptors() > most && begun.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(10));
        }
        program.descriptors()
    };
    let before = program.descriptors();
    for _ in 0..5 {
        turn();
    }
    let now = settled(before);
    assert!(now <= before, "{now} files are open, and were {before}");
}

#[test]
fn a_file_that_is_wrong_is_told_as_at_the_start() {
    let app = app();
    let text = in_front_of(&app.origin(), "", "");
    let program = Program::run(&text);
    program.reload(&text.replace("kind = \"asgi\"", "kid = \"asgi\""), "is not reloaded");
    program.says("did you mean");
    let said = program.said();
    assert!(said.contains("sidestream.toml:") && said.contains("kid"), "{said}");
    is_answered(&mut Client::connect(&program.address));
    program.reload(&text.replace("[log]", "[log]\nlevel = \"debug\""), "configuration reloaded");
    let _ = Client::connect(&program.address).get(&format!("/events?token={}", token("1")), "").head();
    program.reload(&text.replace("[log]", "[server]"), "is not reloaded");
}
