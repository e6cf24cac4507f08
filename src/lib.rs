//! Sidestream: a reverse-proxy sidecar that ends Server-Sent-Events connections for the app behind it.

pub mod auth;
pub mod event;
pub mod hub;
pub mod publish;
