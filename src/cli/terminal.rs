//! What commands write for people and scripts: results to stdout, everything else to stderr.
//!
//! Invariant: writing never panics. A closed stdout ends the command as a [`Failure`], a closed stderr is ignored.

use std::fmt::Display;
use std::io::{self, Write};

use super::failure::Failure;

/// Writes one line of result to stdout, at once.
pub(super) fn line(text: impl Display) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush())?;
    Ok(())
}

/// Writes one remark to stderr.
pub(super) fn note(text: impl Display) {
    // With stderr closed there is no one left to tell.
    let _ = writeln!(io::stderr().lock(), "{text}");
}
