//! Upgrades under load: no request fails, no event is lost, and none comes twice.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::{JoinHandle, spawn};
use std::time::{Duration, Instant};

use crate::support::{App, Client, PATIENCE, in_front_of, token};

use super::chain::Chain;

/// How often it is replaced.
const UPGRADES: usize = 20;

/// What publishes and asks, over and over, until it is told to stop.
struct Load {
    is_over: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    /// What it does is a number of the first event that was published, or nothing.
    fn client(&mut self, name: &'static str, mut step: impl FnMut(String) + Send + 'static) {
        let is_over = self.is_over.clone();
        self.clients.push(spawn(move || {
            let mut said = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                let next = format!("{name}-{}", said.len());
                step(next.clone());
                said.push(next);
            }
            said
        }));
    }

    /// Says what each has done, in its order.
    fn end(self) -> Vec<Vec<String>> {
        self.is_over.store(true, Ordering::Relaxed);
        self.clients.into_iter().map(|client| client.join().expect("something failed")).collect()
    }
}

fn publication(data: &str) -> String {
    format!(r#"{{"user": 42, "data": "{data}"}}"#)
}

fn id_of(reply: &str) {
    assert!(reply.contains(r#"{"id":""#), "{reply}");
}

/// A line and its reply; a connection that ends before that has published nothing.
fn by_lines(socket: PathBuf) -> impl FnMut(String) {
    let connect = move || BufReader::new(UnixStream::connect(&socket).unwrap());
    let mut connection = connect();
    move |data| {
        let line = publication(&data) + "\n";
        connection.get_mut().write_all(line.as_bytes()).unwrap();
        let mut reply = String::new();
        assert!(connection.read_line(&mut reply).unwrap() > 0, "the connection was not handed over");
        id_of(&reply);
    }
}

/// A request on a connection of its own, or on one that is kept for as long as it is not said to be closed.
fn by_posts(address: String, target: &'static str, keeps: bool) -> impl FnMut(String) {
    let mut kept: Option<Client> = None;
    move |data| {
        let mut client = kept.take().unwrap_or_else(|| Client::connect(&address));
        let fields = "Authorization: Bearer 0123456789abcdef\r\n";
        let reply = client.post(target, fields, &publication(&data)).response();
        assert_eq!(reply.status, 200, "{}", reply.text());
        id_of(&reply.text());
        if keeps && reply.field("connection") != Some("close") {
            kept = Some(client);
        }
    }
}

fn by_gets(address: String, keeps: bool) -> impl FnMut(String) {
    let mut kept: Option<Client> = None;
    move |_| {
        let mut client = kept.take().unwrap_or_else(|| Client::connect(&address));
        let reply = client.get("/", "").response();
        assert_eq!((reply.status, reply.text()), (200, "ok".to_owned()));
        if keeps && reply.field("connection") != Some("close") {
            kept = Some(client);
        }
    }
}

/// Reads a stream, comes back whenever it ends, and says all data up to and with the last word.
fn reader(address: String, opened: Sender<()>) -> JoinHandle<Vec<String>> {
    spawn(move || {
        let (mut seen, mut last_id) = (Vec::<String>::new(), String::new());
        let begun = Instant::now();
        loop {
            assert!(begun.elapsed() < 3 * PATIENCE, "no last word after {} events", seen.len());
            let mut stream = TcpStream::connect(&address).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let id = if last_id.is_empty() { String::new() } else { format!("Last-Event-ID: {last_id}\r\n") };
            // Over HTTP/1.0 it comes without chunks.
            let head = format!("GET /events?token={} HTTP/1.0\r\nHost: a\r\n{id}\r\n", token("42"));
            stream.write_all(head.as_bytes()).unwrap();
            let mut text = BufReader::new(stream);
            let (mut id, mut data) = (None, None);
            let mut line = String::new();
            let mut is_head = true;
            while matches!(text.read_line(&mut line), Ok(1..)) && line.ends_with('\n') {
                let said = line.trim_end();
                if is_head {
                    assert!(!said.starts_with("HTTP") || said.contains("200"), "{said}");
                    is_head = !said.is_empty();
                } else if let Some(value) = said.strip_prefix("id: ") {
                    id = Some(value.to_owned());
                } else if let Some(value) = said.strip_prefix("data: ") {
                    data = Some(value.to_owned());
                } else if said.starts_with("event: ") {
                    panic!("{said} after {last_id}");
                } else if said.is_empty() {
                    if let Some(id) = id.take() {
                        if last_id.is_empty() {
                            // Nobody may ask any more.
                            let _ = opened.send(());
                        }
                        last_id = id;
                    }
                    if let Some(data) = data.take() {
                        if data == "the last" {
                            return seen;
                        }
                        seen.push(data);
                    }
                }
                line.clear();
            }
        }
    })
}

fn upgrades_under_load(store: &str, upgrades: usize) {
    let app = App::start(|mut client| {
        while client.try_head().is_some() {
            if client.try_send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").is_err() {
                return;
            }
        }
    });
    let more = format!(
        "[store]\n{store}\nevents = 100000\nbytes = \"64MiB\"\n[[route]]\npath = \"/hook\"\n[route.publish]\n\
         token = \"0123456789abcdef\"\n"
    );
    // What is late on a busy machine is not to be cut.
    let config = in_front_of(&app.origin(), "", &more).replace("\"3s\"", "\"30s\"");
    let mut chain = Chain::run(&config);
    let (address, socket) = (chain.address().to_owned(), chain.program.publish_socket());
    let on_socket = format!("unix:{}", socket.display());
    let (opened, all_opened) = channel();
    let readers: Vec<_> = (0..3).map(|_| reader(address.clone(), opened.clone())).collect();
    readers.iter().for_each(|_| all_opened.recv_timeout(PATIENCE).unwrap());
    let mut load = Load { is_over: Arc::default(), clients: Vec::new() };
    load.client("lines", by_lines(socket.clone()));
    load.client("posts", by_posts(on_socket.clone(), "/publish", false));
    load.client("kept", by_posts(on_socket, "/publish", true));
    load.client("hooks", by_posts(address.clone(), "/hook", false));
    load.client("hooks-kept", by_posts(address.clone(), "/hook", true));
    let published = load.clients.len();
    load.client("gets", by_gets(address.clone(), false));
    load.client("gets-kept", by_gets(address, true));
    for _ in 0..upgrades {
        // So that there is something of each in between.
        std::thread::sleep(Duration::from_millis(100));
        chain.upgrade();
    }
    let done = load.end();
    by_lines(socket)("the last".to_owned());
    for reader in readers {
        let seen = reader.join().unwrap();
        for all in &done[..published] {
            assert!(all.len() > upgrades, "{all:?}");
            let name = all[0].strip_suffix("-0").unwrap();
            let its = |data: &&String| data.rsplit_once('-').is_some_and(|(its, _)| its == name);
            let got: Vec<_> = seen.iter().filter(its).collect();
            // In the order in which it published them, each once.
            assert_eq!(got.len(), all.len(), "of {name}");
            assert!(got.into_iter().eq(all), "{name}");
        }
        assert_eq!(seen.len(), done[..published].iter().map(Vec::len).sum::<usize>());
    }
    let said = chain.end();
    assert!(!said.contains("ERROR") && !said.contains("WARN"), "{said}");
}

#[test]
fn no_request_fails_and_no_event_is_lost() {
    upgrades_under_load("kind = \"disk\"\npath = \"store\"", UPGRADES);
}
