//! Sidestream: a reverse-proxy sidecar that ends Server-Sent-Events connections for the app behind it.

pub mod cli;
pub mod event;
pub mod hub;
