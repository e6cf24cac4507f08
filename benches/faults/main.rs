//! The fault tool: breaks Sidestream at random while publishers write and readers read, and holds what everybody got
//! against what was promised.
//!
//! Every publication carries a stamp of its own, and everything that a reader is told is written down; at the end each
//! reader's record is gone through from its first id on. What is random comes from a seed, which is printed. Only
//! loopback and a temporary folder are used, and every wait has an end. `tests/it/faults.rs` runs the same code in a
//! short form.

mod clock;
mod full;
mod hand_in;
mod kill;
mod ledger;
mod network;
mod nodes;
mod options;
mod program;
mod publisher;
mod reader;
mod redis;
mod redis_server;
mod relay;
mod report;
mod run;
mod sse;
mod table;
mod verdict;
mod world;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser as _;

use options::Options;

fn main() -> ExitCode {
    let options = Options::parse();
    match run::run(&options) {
        Ok(report) => {
            // There is nobody left to tell if stdout is gone.
            let _ = io::stdout().lock().write_all(report.to_string().as_bytes());
            if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}
