//! Streams, as their subscribers see them.

mod ends;
mod heartbeat;
mod opening;
mod recipients;
mod socket;
