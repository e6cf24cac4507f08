//! The integration tests: one crate, a file a behaviour.

mod publish_route;
mod publish_socket;
