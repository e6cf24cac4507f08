//! The app as it is: near or away, quick or slow, careful with HTTP or not.

mod absent;
mod answers;
mod broken;
mod pool;
mod uploads;
