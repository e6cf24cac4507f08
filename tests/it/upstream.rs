//! The app as it is: near or away, quick or slow, careful with HTTP or not, alone or one of several.

mod absent;
mod answers;
mod balance;
mod broken;
mod health;
mod names;
mod pool;
mod queue;
mod restart;
mod secure;
mod uploads;
