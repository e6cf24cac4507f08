//! The load tool: opens streams, publishes, and measures the server and its subscribers.
//!
//! One thread reads all streams and another one publishes, each with an epoll of its own; HTTP is read by hand, so
//! that the tool costs less than what it measures. It knows nothing of Sidestream but the defaults of its options,
//! and so measures other servers by the same rule. `benches/compare` runs it against several of them.

mod chunks;
mod clock;
mod codec;
mod connection;
mod cost;
mod histogram;
mod http1;
mod http2;
mod ledger;
mod lines;
mod options;
mod poller;
mod publisher;
mod report;
mod requests;
mod run;
mod sampler;
mod sse;
mod stamp;
mod streams;
mod template;
mod tls;
mod token;
mod wire;
mod witness;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser as _;

use crate::options::Options;

fn main() -> ExitCode {
    let options = Options::parse();
    let report = run::run(&options).and_then(|report| {
        let text =
            if options.json { serde_json::to_string_pretty(&report)? + "\n" } else { report.to_string() };
        io::stdout().lock().write_all(text.as_bytes())
    });
    match report {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // There is nobody left to tell if stderr is gone.
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}
