//! Another configuration while it runs: what follows it, what goes on, and what is refused.

mod certificates;
mod listeners;
mod load;
mod publishers;
mod routes;
mod sessions;
mod streams;
mod upstreams;
