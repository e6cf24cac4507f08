//! The integration tests: one crate, a file a behaviour.

#[cfg(test)]
mod cli;
mod config;
mod layers;
mod proxy;
mod stream;
mod stream_auth;
mod support;
