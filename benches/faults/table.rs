//! What came of each fault, in a table.

use std::fmt;

/// One fault's row. Times are in milliseconds; none is what was not to be seen.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) name: String,
    /// Publications that were acknowledged from the fault on until all readers had all of them, and attempts that were
    /// refused, and of which nobody knows what became.
    pub(super) acknowledged: u64,
    pub(super) refused: u64,
    pub(super) unknown: u64,
    /// Epochs that have begun, and resets.
    pub(super) epochs: u64,
    pub(super) resets: u64,
    /// Streams that were opened.
    pub(super) streams: u64,
    /// Until the nodes said that Redis is away, of the fault.
    pub(super) noticed: Option<u64>,
    /// The slowest answer to a publisher.
    pub(super) slowest: u64,
    /// Until all nodes said that they are well, of its end.
    pub(super) back: u64,
    /// Until all readers had what was published last.
    pub(super) level: u64,
}

/// The names of the columns.
pub(super) const HEAD: &str = "\
fault            acked refused unknown  epochs  resets streams noticed slowest    back   level";

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            acknowledged,
            refused,
            unknown,
            epochs,
            resets,
            streams,
            noticed,
            slowest,
            back,
            level,
        } = self;
        let noticed = noticed.map_or_else(|| "-".to_owned(), |noticed| noticed.to_string());
        write!(
            f,
            "{name:<14} {acknowledged:>7} {refused:>7} {unknown:>7} {epochs:>7} {resets:>7} {streams:>7} \
             {noticed:>7} {slowest:>7} {back:>7} {level:>7}"
        )
    }
}
