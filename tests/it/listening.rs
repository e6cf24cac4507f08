//! Taking an address: never somebody else's, and without a trace when it is given back.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Instant;

use sidestream::config::Config;
use sidestream::server::Server;
use tempfile::TempDir;

use crate::support::port::leave_stale;
use crate::support::program::command;
use crate::support::{App, Client, NO_APP, PATIENCE, Sidestream, Subscriber, in_front_of};

/// Why a configuration cannot be bound.
fn refused(folder: &Path, config: &str) -> String {
    let config = Config::parse(config, "test.toml", folder).unwrap_or_else(|error| panic!("{error}"));
    match Server::bind(config) {
        Ok(server) => panic!("it was bound: {:?}", server.addresses()),
        Err(error) => error.to_string(),
    }
}

/// The two sockets that are files, each with the configuration that asks for it at a path.
fn configurations(path: &Path) -> [(&'static str, String); 2] {
    let web = format!("[[listen]]\naddress = \"unix:{}\"\n", path.display());
    let config = in_front_of(NO_APP, "", "");
    let publish = config.replace("\"publish.sock\"", &format!("\"{}\"", path.display()));
    [("listener", config + &web), ("publish socket", publish)]
}

#[test]
fn a_port_that_is_in_use_is_not_shared() {
    let folder = tempfile::tempdir().unwrap();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let site = Sidestream::start(&in_front_of(NO_APP, "", ""));
    let config = in_front_of(NO_APP, "", "");
    for taken in [other.local_addr().unwrap().to_string(), site.address().to_owned()] {
        let config = config.replace("127.0.0.1:0", &taken);
        let why = refused(folder.path(), &config);
        assert!(why.contains(&taken) && why.contains("in use") && why.contains("choose another"), "{why}");

        let ended = command(folder.path(), &config).output().unwrap();
        let stderr = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains(&taken) && stderr.contains("in use"), "{stderr}");
        assert!(!folder.path().join("publish.sock").exists());
    }
    // The one that runs does so undisturbed.
    Subscriber::of(site.connect(), "42");
}

#[test]
fn the_port_of_publishers_is_not_shared_either() {
    let folder = tempfile::tempdir().unwrap();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap().to_string();
    let http = format!("[publish]\nhttp = \"{taken}\"\ntoken = \"0123456789abcdef0123456789abcdef\"\n");
    let why = refused(folder.path(), &in_front_of(NO_APP, "", "").replace("[publish]\n", &http));
    assert!(why.contains(&taken) && why.contains("in use"), "{why}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "more than the access log is left behind");
}

#[test]
fn a_port_can_be_taken_again_at_once() {
    let first = Sidestream::start(&in_front_of(NO_APP, "", ""));
    let address = first.address().to_owned();
    // Closed by us first, so that the system remembers the connections for a while.
    let streams: Vec<_> = (0..5).map(|_| Subscriber::of(first.connect(), "42")).collect();
    first.stop();
    first.wait();
    for stream in streams {
        stream.end();
    }
    let config = in_front_of(NO_APP, "", "").replace("127.0.0.1:0", &address);
    // Another test may have the port for a moment, but not for the minute that closed connections are remembered.
    let folder = tempfile::tempdir().unwrap();
    let begun = Instant::now();
    while let Err(error) = Server::bind(Config::parse(&config, "test.toml", folder.path()).unwrap()) {
        assert!(begun.elapsed() < PATIENCE, "{error}");
    }
}

#[test]
fn a_socket_that_was_left_behind_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.sock");
    for (what, config) in configurations(&path) {
        leave_stale(&path);
        let site = Sidestream::start(&config);
        let mut client = Client::connect(&format!("unix:{}", path.display()));
        client.get("/nowhere", "");
        client.head();
        drop(client);
        site.stop();
        site.wait();
        assert!(!path.exists(), "the {what} is left behind");
    }
}

#[test]
fn a_socket_that_somebody_listens_on_is_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.sock");
    let other = UnixListener::bind(&path).unwrap();
    other.set_nonblocking(true).unwrap();
    for (what, config) in configurations(&path) {
        let home = tempfile::tempdir().unwrap();
        let why = refused(home.path(), &config);
        assert!(why.contains("x.sock") && why.contains("in use"), "{what}: {why}");
        let left: Vec<_> = fs::read_dir(home.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
        assert_eq!(left, ["access.log"], "{what}");
        // Whoever connects still finds the other.
        while other.accept().is_ok() {}
        let _client = UnixStream::connect(&path).unwrap();
        assert!(other.accept().is_ok(), "{what}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn another_sidestreams_sockets_are_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.sock");
    for (what, config) in configurations(&path) {
        let site = Sidestream::start(&config);
        let home = tempfile::tempdir().unwrap();
        let why = refused(home.path(), &config);
        assert!(why.contains("x.sock") && why.contains("in use"), "{what}: {why}");
        let mut client = Client::connect(&format!("unix:{}", path.display()));
        client.get("/nowhere", "");
        client.head();
        drop((client, site));
    }
}

#[test]
fn a_file_that_is_no_socket_is_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.sock");
    fs::write(&path, "precious").unwrap();
    for (what, config) in configurations(&path) {
        let why = refused(tempfile::tempdir().unwrap().path(), &config);
        assert!(why.contains("x.sock") && why.contains("socket"), "{what}: {why}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious", "{what}");
    }
}

#[test]
fn a_file_that_somebody_put_in_its_place_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.sock");
    for (what, config) in configurations(&path) {
        let site = Sidestream::start(&config);
        fs::remove_file(&path).unwrap();
        let other = UnixListener::bind(&path).unwrap();
        site.stop();
        site.wait();
        assert!(UnixStream::connect(&path).is_ok(), "the successor of the {what} was removed");
        drop(other);
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn what_was_taken_before_a_mistake_was_met_is_given_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.sock");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let [(_, config), _] = configurations(&path);
    let config = config + &format!("[[listen]]\naddress = \"{}\"\n", taken.local_addr().unwrap());
    refused(folder.path(), &config);
    assert!(!path.exists(), "a listener's socket is left behind");
    Sidestream::start(&configurations(&path)[0].1);
}

#[test]
fn every_listener_serves() {
    let app = App::that_echoes();
    let folder: TempDir = tempfile::tempdir().unwrap();
    let more = format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\n[[listen]]\naddress = \"unix:{}/web.sock\"\n",
        folder.path().display()
    );
    let site = Sidestream::start(&in_front_of(&app.origin(), "", &more));
    let socket = folder.path().join("web.sock");
    let kind = fs::metadata(&socket).unwrap();
    assert!(kind.file_type().is_socket());
    // Whom the folder lets in; the publish socket is for those of its mode.
    assert_eq!(kind.permissions().mode() & 0o777, 0o666);
    let publish = fs::metadata(site.publish_socket()).unwrap();
    assert_eq!(publish.permissions().mode() & 0o777, 0o660);
    for listener in 0..3 {
        // On the connections of more than one worker, most likely.
        for _ in 0..6 {
            let response = Client::connect(site.address_of(listener)).get("/", "").response();
            assert_eq!(response.status, 200);
        }
    }
    assert!(site.address().starts_with("127.0.0.1:") && !site.address().ends_with(":0"));
    assert!(site.address_of(2).starts_with("unix:/"), "{}", site.address_of(2));
    assert!(TcpStream::connect(site.address_of(1)).is_ok());
}

#[test]
fn a_port_is_taken_for_ipv6_beside_ipv4() {
    if TcpListener::bind("[::1]:0").is_err() {
        return; // A machine without IPv6 has nothing to share.
    }
    let folder = tempfile::tempdir().unwrap();
    let bind = |addresses: [&str; 2]| {
        let listen = addresses.map(|address| format!("[[listen]]\naddress = \"{address}\"\n")).concat();
        let config = in_front_of(NO_APP, "", &listen);
        Server::bind(Config::parse(&config, "test.toml", folder.path()).unwrap())
    };
    let connects = |host: &str, port: u16| TcpStream::connect((host, port)).is_ok();
    for first in ["0.0.0.0", "[::]"] {
        let second = if first == "[::]" { "0.0.0.0" } else { "[::]" };
        // Another test may have been given the port meanwhile.
        let begun = Instant::now();
        let (_server, port) = loop {
            let port = TcpListener::bind("[::]:0").unwrap().local_addr().unwrap().port();
            match bind([&format!("{first}:{port}"), &format!("{second}:{port}")]) {
                Ok(server) => break (server, port),
                Err(error) => assert!(begun.elapsed() < PATIENCE, "{error}"),
            }
        };
        assert!(connects("127.0.0.1", port) && connects("::1", port), "{first} first");
    }
    // Alone, it is for both.
    let server = bind(["[::]:0", "[::1]:0"]).unwrap();
    let port = server.addresses()[1].rsplit_once(':').unwrap().1.parse().unwrap();
    assert!(connects("127.0.0.1", port) && connects("::1", port));
}
