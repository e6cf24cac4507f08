//! Where a message ends: everybody must agree on it, or a request hides in another one's body.

mod answers;
mod bounds;
mod bytes;
mod chunks;
mod heads;
