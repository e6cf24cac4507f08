//! The fault tool in its short form: Sidestream is broken a few times, and everybody gets what was promised.

#[path = "../../benches/faults/clock.rs"]
mod clock;
#[path = "../../benches/faults/full.rs"]
mod full;
#[path = "../../benches/faults/hand_in.rs"]
mod hand_in;
#[path = "../../benches/faults/kill.rs"]
mod kill;
#[path = "../../benches/faults/ledger.rs"]
mod ledger;
#[path = "../../benches/faults/network.rs"]
mod network;
#[path = "../../benches/faults/nodes.rs"]
mod nodes;
#[path = "../../benches/faults/options.rs"]
mod options;
#[path = "../../benches/faults/program.rs"]
mod program;
#[path = "../../benches/faults/publisher.rs"]
mod publisher;
#[path = "../../benches/faults/reader.rs"]
mod reader;
#[path = "../../benches/faults/redis.rs"]
mod redis;
#[path = "../../benches/faults/redis_server.rs"]
mod redis_server;
#[path = "../../benches/faults/relay.rs"]
mod relay;
#[path = "../../benches/faults/report.rs"]
mod report;
#[path = "../../benches/faults/run.rs"]
mod run;
#[path = "../../benches/faults/sse.rs"]
mod sse;
#[path = "../../benches/faults/table.rs"]
mod table;
#[path = "../../benches/faults/verdict.rs"]
mod verdict;
#[path = "../../benches/faults/world.rs"]
mod world;

use clap::Parser as _;

use options::Options;
use report::Report;

/// Runs the tool. A debug build on a busy machine is given less to do and more time.
fn faults(words: &str) -> Report {
    let few = "faults --readers 24 --publishers 4 --channels 5 --rate 400 --patience 60 --binary";
    let words = few.split(' ').chain([env!("CARGO_BIN_EXE_sidestream")]).chain(words.split(' '));
    let report = run::run(&Options::parse_from(words)).unwrap();
    print!("{report}");
    assert!(report.is_clean(), "{report}");
    report
}

#[test]
fn what_was_acknowledged_outlives_kills() {
    let report = faults("--rounds 10 --seed 1");
    assert_eq!((report.rounds, report.epochs, report.resets.len()), (10, 1, 0));
}

#[test]
fn a_clock_that_goes_back_and_forward_loses_nothing() {
    for store in ["memory", "disk --sync interval"] {
        let report = faults(&format!("--clock --rounds 12 --seed 2 --store {store}"));
        assert_eq!((report.rounds, report.resets.len()), (12, 0));
    }
}

#[test]
fn readers_whose_network_is_gone_for_a_while_get_everything() {
    let report = faults("--network --rounds 1 --seed 3");
    assert_eq!((report.rounds, report.resets.len()), (1, 0));
    assert_eq!(report.acknowledged, report.published);
}

#[test]
fn a_disk_that_is_full_in_the_middle_of_a_batch_loses_nothing_and_keeps_nothing_that_was_refused() {
    let report = faults("--disk-full --rounds 1 --seed 4");
    assert_eq!((report.rounds, report.resets.len()), (1, 0));
}
