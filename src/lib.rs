//! Sidestream: a reverse-proxy sidecar that ends Server-Sent-Events connections for the app behind it.

pub mod access_log;
pub mod auth;
pub mod cli;
pub mod config;
pub mod connection;
pub mod event;
pub mod http;
pub mod hub;
pub mod listener;
pub mod metrics;
pub mod proxy;
pub mod publish;
pub mod router;
pub mod server;
pub mod shutdown;
pub mod store;
pub mod stream;
pub mod tls;
pub mod transport;
pub mod worker;
