//! The clock goes an hour back and forward.

use std::io;

use super::options::Options;
use super::report::Report;

pub(super) fn run(_options: &Options, seed: u64) -> io::Result<Report> {
    Ok(Report::new("jumps", seed))
}
