//! A new process that does not take over: the old one goes on, and says why.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use rustix::process::Signal;

use crate::support::{Client, NO_APP, Subscriber, in_front_of, publish};

use super::chain::Chain;

const GOES_ON: &str = "not upgraded, everything is as it was";

fn on_disk() -> String {
    in_front_of(NO_APP, "", "[store]\nkind = \"disk\"\npath = \"store\"\n")
}

fn id(chain: &Chain) -> (String, u64) {
    let reply = publish(&chain.program.publish_socket(), r#"{"user": 42, "data": "hi"}"#);
    let (epoch, seq) = reply["id"].as_str().unwrap().split_once('-').unwrap();
    (epoch.to_owned(), seq.parse().unwrap())
}

#[test]
fn a_configuration_that_is_wrong_leaves_everything_as_it_was() {
    let mut chain = Chain::run(&on_disk());
    let mut stream = Subscriber::of(Client::connect(chain.address()), "42");
    let (epoch, _) = id(&chain);
    let file = chain.folder().join("sidestream.toml");
    // It cannot be read; it names what cannot be bound; and, when the store has been given up, what cannot be opened.
    let taken = on_disk()
        .replace("\"127.0.0.1:0\"", &format!("\"{}\"\n[[listen]]\naddress = \"192.0.2.1:1\"", "127.0.0.1:0"));
    for (text, why) in [
        ("nonsense".to_owned(), "nonsense"),
        (taken, "cannot listen on 192.0.2.1:1"),
        (on_disk().replace("\"store\"", "\"sidestream.toml/store\""), "the server could not start"),
    ] {
        fs::write(&file, text).unwrap();
        let line = chain.after_asking(GOES_ON);
        assert!(line.contains("has ended before it could take over (exit status: 1)"), "{line}");
        assert!(chain.program.said().contains(why), "{}", chain.program.said());
        assert_eq!(id(&chain).0, epoch);
        Subscriber::of(Client::connect(chain.address()), "43");
    }
    fs::write(&file, on_disk()).unwrap();
    chain.upgrade();
    assert_eq!(id(&chain), (epoch, 5));
    for _ in 0..4 {
        assert_eq!(stream.data(), "hi");
    }
    chain.end();
}

#[test]
fn a_program_that_dies_or_takes_its_time_does_no_harm() {
    let mut chain = Chain::run_own(&on_disk());
    let first = id(&chain);
    chain.replace_program("#!/bin/sh\nexit 3\n");
    let line = chain.after_asking(GOES_ON);
    assert!(line.contains("exit status: 3"), "{line}");
    chain.replace_program("not a program");
    let line = chain.after_asking(GOES_ON);
    assert!(line.contains("cannot be started"), "{line}");
    // One that is slow: another one is refused meanwhile, and then it takes over.
    let slowly = format!("#!/bin/sh\nsleep 1\nexec '{}' \"$@\"\n", chain.true_program().display());
    chain.replace_program(&slowly);
    chain.after_asking("a new process has been started");
    chain.after_asking("an upgrade is under way already");
    chain.taken_over();
    chain.settle();
    assert_eq!(id(&chain), (first.0, first.1 + 1));
    chain.end();
}

#[test]
fn who_is_to_end_is_not_replaced() {
    let chain = Chain::run_own(&on_disk());
    chain.replace_program("#!/bin/sh\nexec sleep 1000\n");
    let stream = Subscriber::of(Client::connect(chain.address()), "42");
    let line = chain.after_asking("a new process has been started");
    let new = format!("/proc/{}", line.split_once("pid=").unwrap().1.trim());
    chain.signal(Signal::TERM);
    stream.end();
    let said = chain.end();
    assert!(!said.contains("the new process serves"), "{said}");
    assert!(!fs::exists(new).unwrap(), "it is left behind");
}

impl Chain {
    /// Runs a program that can be replaced by another one at its path.
    fn run_own(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join("own");
        let program = crate::support::program::command(folder.path(), config);
        let built = program.get_program();
        // On another file system it has to be a copy.
        fs::hard_link(built, &own).or_else(|_| fs::copy(built, &own).map(drop)).unwrap();
        let mut command = std::process::Command::new(&own);
        command.args(program.get_args()).current_dir(folder.path());
        command.stdin(std::process::Stdio::null());
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        Self::of(crate::support::Program::start(folder, command))
    }

    fn true_program(&self) -> std::path::PathBuf {
        env!("CARGO_BIN_EXE_sidestream").into()
    }

    /// Puts another program in its place, as a package does it.
    fn replace_program(&self, text: &str) {
        let new = self.folder().join("new");
        fs::write(&new, text).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(new, self.folder().join("own")).unwrap();
    }
}
