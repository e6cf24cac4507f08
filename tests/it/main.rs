//! The integration tests: one crate, a file a behaviour.
//!
//! Each module says that it is test code, so that it may stop at the first surprise.

#[cfg(test)]
mod access_log;
#[cfg(test)]
mod admin;
#[cfg(test)]
mod ask;
#[cfg(test)]
mod authjs;
#[cfg(test)]
mod catch_up;
#[cfg(test)]
mod child;
#[cfg(test)]
mod cli;
#[cfg(test)]
mod compress;
#[cfg(test)]
mod config;
#[cfg(test)]
mod connection_limits;
#[cfg(test)]
mod cors;
#[cfg(test)]
mod deadlines;
#[cfg(test)]
mod delivered;
#[cfg(test)]
mod descriptors;
#[cfg(test)]
mod disconnect;
#[cfg(test)]
mod disk;
#[cfg(test)]
mod docs;
#[cfg(test)]
mod expiry;
#[cfg(test)]
mod explain;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod files;
#[cfg(test)]
mod forwarding;
#[cfg(test)]
mod framing;
#[cfg(test)]
mod front;
#[cfg(test)]
mod handover;
#[cfg(test)]
mod headers;
#[cfg(test)]
mod hsts;
#[cfg(test)]
mod http2;
#[cfg(test)]
mod hub_threads;
#[cfg(test)]
mod inbox;
#[cfg(test)]
mod jwks;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod layers;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod listening;
#[cfg(test)]
mod mutual_tls;
#[cfg(test)]
mod prefix;
#[cfg(test)]
mod proxy;
#[cfg(test)]
mod proxy_protocol;
#[cfg(test)]
mod publish_identity;
#[cfg(test)]
mod publish_map;
#[cfg(test)]
mod publish_route;
#[cfg(test)]
mod publish_socket;
#[cfg(test)]
mod redirect;
#[cfg(test)]
mod reload;
#[cfg(test)]
mod reloaded_certificates;
#[cfg(test)]
mod request_names;
#[cfg(test)]
mod server_names;
#[cfg(test)]
mod shutdown;
#[cfg(test)]
mod spool;
#[cfg(test)]
mod stream;
#[cfg(test)]
mod stream_auth;
#[cfg(test)]
mod stream_h2;
#[cfg(test)]
mod stream_limits;
#[cfg(test)]
mod stream_resume;
#[cfg(test)]
mod stream_slow;
#[cfg(test)]
mod support;
#[cfg(test)]
mod systemd;
#[cfg(test)]
mod tickets;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod traces;
#[cfg(test)]
mod upgrade;
#[cfg(test)]
mod upstream;
