//! The program replaced by itself, with all of its sockets, while clients come and go.

mod chain;
mod failures;
mod load;

use std::os::unix::net::UnixDatagram;

use rustix::process::Signal;

use crate::support::program::command;
use crate::support::{App, Client, NO_APP, PATIENCE, Program, Subscriber, in_front_of, publish};

use chain::Chain;

#[test]
fn another_process_takes_all_sockets_and_the_old_one_drains() {
    let app = App::start(|mut client| {
        while client.try_head().is_some() {
            client.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let more = "[[listen]]\naddress = \"127.0.0.1:0\"\n[[listen]]\naddress = \"unix:in.sock\"\n[admin]\naddress = \"127.0.0.1:0\"\n";
    let mut chain = Chain::run(&in_front_of(&app.origin(), "", more));
    chain.program.says("admin address open");
    let addresses: Vec<String> = {
        let said = chain.program.said();
        let lines = said.lines().filter(|line| line.contains("address="));
        let address = |line: &str| line.split('"').nth(1).unwrap().to_owned();
        let in_folder = format!("unix:{}", chain.folder().join("in.sock").display());
        lines.map(|line| address(line).replace("unix:in.sock", &in_folder)).collect()
    };
    assert_eq!(addresses.len(), 4, "{addresses:?}");
    let before = Subscriber::of(Client::connect(chain.address()), "42");
    for _ in 0..3 {
        chain.upgrade();
        for address in &addresses {
            let mut client = Client::connect(address);
            // Of the operator's address: the old one would say that it drains.
            let path = if address == &addresses[3] { "/readyz" } else { "/" };
            client.send(format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"));
            assert_eq!(client.response().status, 200, "{address}");
        }
        publish(&chain.program.publish_socket(), r#"{"user": 42, "data": "hi"}"#);
    }
    before.end();
    chain.settle();
    assert!(chain.folder().join("publish.sock").exists() && chain.folder().join("in.sock").exists());
    let mut stream = Subscriber::of(Client::connect(chain.address()), "42");
    publish(&chain.program.publish_socket(), r#"{"user": 42, "data": "hi"}"#);
    assert_eq!(stream.data(), "hi");
    let folder = chain.folder().to_owned();
    let said = chain.end();
    assert!(!said.contains("ERROR"), "{said}");
    assert!(!folder.join("publish.sock").exists() && !folder.join("in.sock").exists(), "it was ours");
}

/// How many clients come, so that each socket has some.
const CLIENTS: usize = 40;

#[test]
fn whoever_comes_is_accepted_however_many_workers_there_are() {
    let with = |workers| in_front_of(NO_APP, "", "").replace("workers = 2", &format!("workers = {workers}"));
    let mut chain = Chain::run(&with(3));
    for workers in [1, 4, 2] {
        std::fs::write(chain.folder().join("sidestream.toml"), with(workers)).unwrap();
        chain.upgrade();
        chain.settle();
        for client in 0..CLIENTS {
            Subscriber::of(Client::connect(chain.address()), &client.to_string());
        }
    }
    assert!(!chain.end().contains("ERROR"));
}

#[test]
fn the_service_manager_is_told_of_the_new_process() {
    let folder = tempfile::tempdir().unwrap();
    let manager = UnixDatagram::bind(folder.path().join("notify")).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let home = tempfile::tempdir().unwrap();
    let mut command = command(home.path(), &in_front_of(NO_APP, "", ""));
    command.env("NOTIFY_SOCKET", folder.path().join("notify")).env("WATCHDOG_USEC", "1000000");
    let mut chain = Chain::of(Program::start(home, command));
    let hears = |begin: &str| {
        let mut bytes = [0; 512];
        loop {
            let length = manager.recv(&mut bytes).unwrap_or_else(|_| panic!("no {begin}"));
            let said = String::from_utf8(bytes[..length].to_vec()).unwrap();
            assert!(!said.starts_with("STOPPING"), "it goes on");
            if said.starts_with(begin) {
                return said;
            }
        }
    };
    hears("READY=1");
    chain.upgrade();
    let pid = chain.newest().as_raw_nonzero();
    assert_eq!(hears("MAINPID="), format!("MAINPID={pid}"));
    hears("READY=1");
    for _ in 0..2 {
        hears("WATCHDOG=1");
    }
    drop(chain);
}

#[test]
fn a_store_in_memory_begins_anew_and_its_clients_are_told() {
    let mut chain = Chain::run(&in_front_of(NO_APP, "", ""));
    let mut stream = Subscriber::of(Client::connect(chain.address()), "42");
    publish(&chain.program.publish_socket(), r#"{"user": 42, "data": "hi"}"#);
    let last = stream.event().id.unwrap();
    chain.upgrade();
    stream.end();
    let mut stream = Subscriber::resume(Client::connect(chain.address()), "42", &last);
    assert!(stream.block().contains("new-epoch"));
    chain.end();
}

#[test]
fn what_looks_after_an_app_is_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = command(folder.path(), &in_front_of(NO_APP, "", ""));
    command.args(["--", "sleep", "1000"]);
    let program = Program::start(folder, command);
    program.says("app started");
    program.signal(Signal::USR2);
    program.says("the process is not upgraded");
    program.signal(Signal::TERM);
    assert_eq!(program.end().code, Some(0));
}
