//! Clients that take their time, and clients that are too many: each wait ends, and nobody else notices.

mod crowds;
mod waits;
