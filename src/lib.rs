//! Sidestream: a reverse-proxy sidecar that ends Server-Sent-Events connections for the app behind it.

pub mod access_log;
pub mod config;
pub mod event;
pub mod http;
pub mod hub;
pub mod metrics;
pub mod shutdown;
pub mod store;
pub mod tls;
pub mod transport;
