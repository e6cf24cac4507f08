//! Requests to the app and its answers back: every byte, as it comes, and no longer than both want it.

mod bodies;
mod goodbye;
mod messages;
mod old;
