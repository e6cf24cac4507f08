//! Another configuration while it runs: what follows it, what goes on, and what is refused.

mod listeners;
mod routes;
mod streams;
