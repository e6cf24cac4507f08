//! A process that has no file descriptors left: it waits for some, and goes on.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Client, PATIENCE};

/// So few that sixty clients are too many, though the configuration lets ten thousand in.
const DESCRIPTORS: &str = "40";

const CONFIG: &str = r#"
[server]
workers = 1
max_connections = 10000
[log]
access = "off"
[publish]
socket = "publish.sock"
[[listen]]
address = "unix:site.sock"
[upstreams.app]
servers = ["http://127.0.0.1:9"]
[[route]]
path = "/"
[route.proxy]
upstream = "app"
"#;

/// A server of its own process, ended with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sends a request that is refused without the app, which would take a descriptor too.
fn ask(client: &mut Client) {
    assert_eq!(client.send("GET /x HTTP/1.1\r\nHost: a b\r\n\r\n").response().status, 400);
}

/// Starts one that has few descriptors.
fn start(folder: &Path) -> Process {
    start_with(folder, DESCRIPTORS, CONFIG)
}

fn start_with(folder: &Path, descriptors: &str, config: &str) -> Process {
    std::fs::write(folder.join("site.toml"), config).unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -n {descriptors} && exec \"$0\" run --config site.toml")]);
    command.arg(env!("CARGO_BIN_EXE_sidestream")).current_dir(folder);
    let process = Process(command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let begun = Instant::now();
    // The second is there when the first has been for a while.
    while ["site.sock", "publish.sock"].iter().any(|path| UnixStream::connect(folder.join(path)).is_err()) {
        assert!(begun.elapsed() < PATIENCE, "it does not start");
        std::thread::sleep(Duration::from_millis(2));
    }
    process
}

fn connect(folder: &Path, socket: &str) -> Client {
    Client::connect(&format!("unix:{}", folder.join(socket).display()))
}

fn health(folder: &Path) -> serde_json::Value {
    connect(folder, "publish.sock").get("/healthz", "Connection: close\r\n").response().json()
}

#[test]
fn a_listener_outlives_a_time_without_descriptors() {
    let folder = tempfile::tempdir().unwrap();
    let process = start(folder.path());
    // They come while it still starts, as clients do after a restart.
    let connect = || connect(folder.path(), "site.sock");
    let mut early = connect();
    let others: Vec<_> = (0..60).map(|_| connect()).collect();
    // They are let in until there are none left, however busy the machine is.
    let used = || std::fs::read_dir(format!("/proc/{}/fd", process.0.id())).unwrap().count();
    let begun = Instant::now();
    while used() < DESCRIPTORS.parse().unwrap() {
        assert!(begun.elapsed() < PATIENCE, "there is room for all");
        std::thread::yield_now();
    }
    // Those who were let in are served; each that goes makes room for one more.
    ask(&mut early);
    drop(early);
    for mut client in others {
        ask(&mut client);
    }
    ask(&mut connect());
    let health = health(folder.path());
    let errors = health["accept_errors"].as_u64().unwrap();
    assert!(errors > 0, "there was room for all");
    assert!(errors < 100, "it tried {errors} times without rest");
}

#[test]
fn health_is_told_and_clients_are_turned_away_when_there_are_none_for_long() {
    let folder = tempfile::tempdir().unwrap();
    let _process = start(folder.path());
    // They hold all that there is, and say nothing.
    let mut holding: Vec<_> = (0..60).map(|_| connect(folder.path(), "site.sock")).collect();
    let begun = Instant::now();
    while health(folder.path())["connections_refused"] == 0 {
        assert!(begun.elapsed() < PATIENCE, "nobody is turned away");
        std::thread::sleep(Duration::from_millis(2));
    }
    // However often it is asked meanwhile.
    for _ in 0..20 {
        assert!(health(folder.path())["connections_refused"].as_u64().unwrap() > 0);
    }
    // The last of them had no chance.
    holding.pop().unwrap().closed();
    drop(holding);
    let is_served = || {
        let mut again = connect(folder.path(), "site.sock");
        again.try_send("GET /x HTTP/1.1\r\nHost: a b\r\n\r\n").is_ok() && again.try_head().is_some()
    };
    let begun = Instant::now();
    while !is_served() {
        assert!(begun.elapsed() < PATIENCE, "nobody is let in again");
    }
}

#[test]
fn files_that_nobody_reads_take_a_share_and_leave_the_rest_to_others() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("static")).unwrap();
    std::fs::write(folder.path().join("static/large.bin"), vec![7; 16 << 20]).unwrap();
    std::fs::write(folder.path().join("static/small.txt"), "small").unwrap();
    let files = "[[route]]\npath = \"/static/\"\n[route.files]\nroot = \"static\"\n";
    let _process = start_with(folder.path(), "120", &format!("{CONFIG}{files}"));
    let connect = || connect(folder.path(), "site.sock");
    let status = |head: String| head[9..12].parse::<u16>().unwrap();
    let mut asked: Vec<_> = (0..40).map(|_| connect()).collect();
    let told = asked.iter_mut().map(|client| status(client.get("/static/large.bin", "").head()));
    let told: Vec<_> = told.collect();
    let (sent, refused): (Vec<u16>, Vec<u16>) = told.iter().partition(|status| **status == 200);
    assert_eq!((sent.len(), refused.len()), (30, 10), "a quarter");
    assert!(refused.iter().all(|status| *status == 503), "{told:?}");
    // What is small needs no share, and neither does anything else.
    assert_eq!(connect().get("/static/small.txt", "").response().text(), "small");
    ask(&mut connect());
    drop(asked);
    let begun = Instant::now();
    while status(connect().get("/static/large.bin", "").head()) != 200 {
        assert!(begun.elapsed() < PATIENCE, "there is no room again");
    }
}
