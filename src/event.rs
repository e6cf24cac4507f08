//! Events and the bytes they become on the wire. Pure: no I/O, no clock, no configuration.
//!
//! Invariant: nothing a publisher, a token or a configuration says can add a field or a line to an event stream.
//! [`EventName`] and [`ChannelName`] cannot hold a control character, and data is split into `data:` lines at every
//! CR, LF and CRLF (WHATWG HTML, section 9.2.6). NUL is refused where data enters.

mod frame;
mod id;
mod name;
mod parsed;
mod timestamp;

pub use frame::{Event, Frame, comment, id_in, opening, place};
pub use id::{Epoch, EventId, InvalidEventId};
pub use name::{ChannelName, EventName, InvalidName, is_user_id};
pub use parsed::Parsed;
pub use timestamp::Timestamp;
