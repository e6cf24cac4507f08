//! The integration tests: one crate, a file a behaviour.

mod cli;
mod config;
