//! More clients than there is room for.

use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Client, NO_APP, PATIENCE, Site};

#[test]
fn connections_over_the_limit_are_closed_at_once_and_counted() {
    // Over all workers and listeners.
    let site = Site::before(NO_APP)
        .server("max_connections = 2")
        .more("[[listen]]\naddress = \"unix:site.sock\"\n")
        .start();
    let mut first = site.connect();
    assert_eq!(first.get("/", "").response().status, 502);
    let mut second = Client::connect(site.address_of(1));
    assert_eq!(second.get("/", "").response().status, 502);
    for listener in [0, 1] {
        let mut third = Client::connect(site.address_of(listener));
        third.closed();
    }
    assert_eq!(site.count("connections_refused"), 2);
    assert_eq!(site.count("connections"), 2);
    // Those who are there are not disturbed, and their place is free when they have gone.
    assert_eq!(first.get("/", "").response().status, 502);
    drop(first);
    site.becomes("connections", 1);
    assert_eq!(site.connect().get("/", "").response().status, 502);
}

/// A server of its own process, ended with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_listener_outlives_a_time_without_descriptors() {
    let folder = tempfile::tempdir().unwrap();
    let config = "[server]\nworkers = 1\nmax_connections = 10000\n[log]\naccess = \"off\"\n\
        [publish]\nsocket = \"publish.sock\"\n[[listen]]\naddress = \"unix:site.sock\"\n\
        [upstreams.app]\nservers = [\"http://127.0.0.1:9\"]\n[[route]]\npath = \"/\"\n[route.proxy]\nupstream = \"app\"\n";
    std::fs::write(folder.path().join("site.toml"), config).unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 40 && exec \"$0\" run --config site.toml"]);
    command.arg(env!("CARGO_BIN_EXE_sidestream")).current_dir(folder.path());
    let _process = Process(command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());

    let (path, publish) = (folder.path().join("site.sock"), folder.path().join("publish.sock"));
    let begun = Instant::now();
    while UnixStream::connect(&path).is_err() {
        assert!(begun.elapsed() < PATIENCE, "it does not start");
        std::thread::sleep(Duration::from_millis(5));
    }
    let connect = || Client::connect(&format!("unix:{}", path.display()));
    let mut early = connect();
    // Without a Host, so that the app is not asked: that would take a descriptor too.
    let ask = |client: &mut Client| client.send("GET /x HTTP/1.1\r\nHost: a b\r\n\r\n").response().status;
    let others: Vec<_> = (0..60).map(|_| connect()).collect();
    // Those who were let in are served; each that goes makes room for one more.
    assert_eq!(ask(&mut early), 400);
    drop(early);
    for mut client in others {
        assert_eq!(ask(&mut client), 400);
    }
    assert_eq!(ask(&mut connect()), 400);
    let health =
        Client::connect(&format!("unix:{}", publish.display())).get("/healthz", "").response().json();
    let errors = health["accept_errors"].as_u64().unwrap();
    assert!(errors > 0, "there was room for all");
    assert!(errors < 100, "it tried {errors} times without rest");
}
