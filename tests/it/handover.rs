//! The program replaced by itself, with all of its sockets, while clients come and go.

mod chain;
mod load;

use crate::support::{App, Client, Subscriber, in_front_of, publish};

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
    let addresses: Vec<String> = {
        let said = chain.program.said();
        let lines = said.lines().filter(|line| line.contains("listening address"));
        lines.map(|line| line.split('"').nth(1).unwrap().to_owned()).collect()
    };
    let before = Subscriber::of(Client::connect(chain.address()), "42");
    for _ in 0..3 {
        chain.upgrade();
        for address in &addresses {
            let mut client = Client::connect(address);
            assert_eq!(client.get("/", "").response().text(), "ok");
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
