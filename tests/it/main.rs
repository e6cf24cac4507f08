//! The integration tests: one crate, a file a behaviour.

mod cli;
mod config;
mod proxy;
mod stream;
mod support;
