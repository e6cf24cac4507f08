//! The stream route: who may subscribe, what a stream says of itself, and every open stream of a worker.
//!
//! A [`Grant`] is what a request becomes once it may be a stream; opening it makes a [`Subscriber`], on a
//! parked socket (HTTP/1) or as a body (HTTP/2). All of a worker's subscribers are in one table and are written to
//! from one task, in the hub's order. Invariants: a subscriber is in the table if and only if it is registered with
//! the hub; an event goes out only if its id is above the subscriber's cursor, and a subscriber that is catching up
//! takes none, so every seam between history and live is exact; a subscriber that cannot be served ends, it never skips.

mod backlog;
mod body;
mod catch_up;
mod clock;
mod delivery;
mod end;
mod grant;
mod inbox;
mod limited;
mod marking;
mod parked;
mod recheck;
mod records;
mod review;
mod settings;
mod story;
mod subscriber;
mod survey;
mod table;
mod ticket;
mod timers;

pub use body::{LimitedBody, StreamBody, StreamEnded};
pub use end::End;
pub use grant::{Context, Grant, StreamError, unauthorized_event, unavailable_event};
pub use inbox::{InboxError, asks_for_inbox, mark_read, show_inbox};
pub use parked::park;
pub use review::Review;
pub use settings::StreamSettings;
pub use subscriber::Subscriber;
pub use survey::{Found, Order, Question, Search, Seen};
pub use table::Streams;
pub use ticket::{TicketError, asks_for_ticket, give_ticket};
