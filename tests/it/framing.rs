//! Where a message ends: everybody must agree on it, or a request hides in another one's body.

mod bounds;
mod chunks;
mod heads;
