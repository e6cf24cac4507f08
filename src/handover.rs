//! One process of the program in another's place, while clients come and go: what the two tell each other, and the
//! sockets that go with it.
//!
//! The old one starts the new one with one end of a channel for its standard input ([`Successor`]); the new one finds it
//! there ([`Predecessor`]), and what it is given in [`Inheritance`]. Invariants: a listening socket is never bound anew nor
//! closed while clients wait in it, for both have the same one; the file of a Unix socket is removed by one of the
//! two, or by neither ([`Claim`]); until the new one has said that it serves, the old one can go on as if nothing had been.
//!
//! | the old one says | and the new one answers, when |
//! |---|---|
//! | its sockets, and that these are all | prepared: its configuration is good, what that needs besides is bound |
//! | the store is free | opened: it has the store |
//! | go | serving: every worker accepts |
//! | you are the main one | |
//! | publishers who are still connected, and a way for what comes to the old one | |

mod channel;
mod inheritance;
mod predecessor;
mod successor;

pub use channel::{Letter, Word};
pub use inheritance::{Claim, Heir, Inheritance};
pub use predecessor::{Gone, Hearing, Predecessor};
pub use successor::{Failure, Program, Successor, Teller};
