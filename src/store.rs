//! Stores: where history is kept, and what a resuming subscriber gets from it.
//!
//! Invariant of every store: a read past a cursor gives exactly the kept events above it, in order, once each, and
//! says so if any event above the cursor that was published to those channels may be gone (but for events that
//! outlived their own `ttl` or were collapsed by a newer one: those are not missed). What users have read of it is kept
//! beside it ([`Marks`]).

mod marks;
mod memory;
mod page;
mod record;

pub use marks::{MAX_APART, Mark, Marks};
pub use memory::Memory;
pub use page::{PAGE_BYTES, PAGE_EVENTS, Page};
pub use record::{Limits, Record};
