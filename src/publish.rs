//! Publishing: what a publisher may hand in, by which proof, and what it is told.
//!
//! Invariant: nothing gets past this module that a subscriber's stream, a channel or a log could not hold. Reading
//! and checking do no I/O; the doors ([`serve`] for the app, [`route::Route`] for a public path) are built on top
//! of them and all end in one [`Publisher`].

mod bearer;
mod body;
mod bounds;
mod disconnect;
mod door;
mod gate;
mod inbox;
mod intake;
mod map;
mod ndjson;
mod produced;
pub mod publication;
mod publisher;
pub mod refusal;
mod relay;
mod reply;
pub mod route;
mod socket;
mod way;
pub mod webhook;

pub use bearer::bearer;
pub use bounds::Bounds;
pub use gate::{go_on, serve};
pub use intake::{Intake, NotTaken};
pub use publication::Limits;
pub use publisher::{Publisher, Terms};
pub use refusal::{Refusal, RefusalKind};
pub use relay::{Relay, take_in};
pub use socket::{PublishSocket, SocketError, set_mode};
pub use way::Way;
