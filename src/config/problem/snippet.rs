//! The place of a problem: file, line and column, the line itself, and a caret under what is wrong.

use std::fmt;
use std::ops::Range;

/// Writes the place of `span`.
pub(super) fn write(
    f: &mut fmt::Formatter<'_>,
    origin: &str,
    text: &str,
    span: Range<usize>,
    hint: Option<&str>,
    help: Option<&str>,
) -> fmt::Result {
    let line = text.as_bytes().iter().take(span.start).filter(|b| **b == b'\n').count() + 1;
    writeln!(f, "  --> {origin}:{line}")?;
    for text in [hint, help].into_iter().flatten() {
        writeln!(f, "   = {text}")?;
    }
    Ok(())
}
