//! Pure helpers for HTTP messages: what may come in, what must be taken out, what small answers look like.
//!
//! No I/O and no configuration here. The order in which requests pass these checks is the router's and the proxy's
//! (see `reference` in the architecture notes of the crate root).

mod coding;
mod cookie;
mod fields;
mod forwarded;
mod handed;
mod meaning;
mod media;
mod origin;
mod query;
mod reply;
mod request;
mod request_id;
mod target;
mod trailers;

pub use coding::{Coding, Codings};
pub use cookie::cookies;
pub use fields::{HopByHopError, clean_response_fields, is_upgrade, names_websocket};
pub use forwarded::{Peer, PeerAddress};
pub use handed::HandedFile;
pub use meaning::meanings;
pub use media::is_media_type;
pub use origin::from_same_origin;
pub use query::query_values;
pub use reply::{Reply, accepts_json, reply};
pub use request::{Told, cookie_line, forwarded, request_fields};
pub use request_id::RequestId;
pub use target::{Fragment, RequestError, check_request, covers, host_without_port};
pub use trailers::{clean_request_trailers, clean_response_trailers};
