//! The integration tests: one crate, a file a behaviour.

#[cfg(test)]
mod config;
