//! The integration tests: one crate, a file a behaviour.

#[cfg(test)]
mod cli;
mod config;
mod proxy;
mod stream;
mod support;
