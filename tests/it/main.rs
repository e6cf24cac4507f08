//! The integration tests: one crate, a file a behaviour.

#[cfg(test)]
mod publish_route;
#[cfg(test)]
mod publish_socket;
