//! How many connections one address may have at once, over all workers.
//!
//! Invariants: what is counted is given back exactly once, by dropping its [`Place`]; the table has a bound, and a
//! connection that it has no room for is let in uncounted, as a stream is.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::net::IpAddr;
use std::num::NonZero;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::counts::Counts;
use super::{MAX_KEYS, place};

/// The table is in this many parts, each with a lock of its own, so that workers seldom meet at one.
const SHARDS: usize = 64;

/// A bound on the connections of each address. A cheap handle.
#[derive(Debug, Clone)]
pub struct AddressLimit {
    most: NonZero<u32>,
    table: Arc<Table>,
}

#[derive(Debug)]
struct Table {
    /// Nobody outside can guess which addresses are in one part.
    hasher: RandomState,
    shards: [Mutex<Counts>; SHARDS],
}

/// One connection of an address, given back when it is dropped.
#[derive(Debug)]
pub struct Place {
    table: Arc<Table>,
    key: u64,
}

/// What becomes of a connection.
#[derive(Debug)]
pub enum Entry {
    /// It is counted while this lives.
    Counted(Place),
    /// The table has no room: it is let in all the same.
    Uncounted,
    /// Its address has as many as it may have.
    Refused,
}

impl AddressLimit {
    /// Nothing is open yet.
    pub fn new(most: NonZero<u32>) -> Self {
        let shards = std::array::from_fn(|_| Mutex::default());
        Self { most, table: Arc::new(Table { hasher: RandomState::new(), shards }) }
    }

    /// Another bound, for those that are counted now too, be they more.
    #[must_use]
    pub fn become_one_of(&self, most: NonZero<u32>) -> Self {
        Self { most, table: self.table.clone() }
    }

    /// Counts a connection. IPv6 addresses count by their network of 64 bits.
    pub fn enter(&self, address: IpAddr) -> Entry {
        let table = &self.table;
        let key = place(address).get();
        let mut counts = table.shard(key);
        if counts.of(key) >= self.most.get() {
            Entry::Refused
        } else if counts.add(key, MAX_KEYS / SHARDS) {
            Entry::Counted(Place { table: table.clone(), key })
        } else {
            Entry::Uncounted
        }
    }
}

impl Table {
    /// A poisoned lock is taken: a count is whole before anything can panic.
    fn shard(&self, key: u64) -> MutexGuard<'_, Counts> {
        let place = self.hasher.hash_one(key) % SHARDS as u64;
        // Below the number of parts.
        self.shards[usize::try_from(place).unwrap_or(0)].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.table.shard(self.key).remove(self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enter(limit: &AddressLimit, address: &str) -> Option<Place> {
        match limit.enter(address.parse().unwrap()) {
            Entry::Counted(place) => Some(place),
            Entry::Uncounted => panic!("not counted"),
            Entry::Refused => None,
        }
    }

    #[test]
    fn each_address_has_its_own_number_and_ipv6_by_network() {
        let limit = AddressLimit::new(NonZero::new(2).unwrap());
        for same in
            [["10.0.0.1", "10.0.0.1", "::ffff:10.0.0.1"], ["2001:db8::1", "2001:db8::2", "2001:db8::3"]]
        {
            let first = enter(&limit, same[0]);
            let second = enter(&limit, same[1]);
            assert!(first.is_some() && second.is_some());
            assert!(enter(&limit, same[2]).is_none());
            let other = [enter(&limit, "10.0.0.2"), enter(&limit, "2001:db8:0:1::1")];
            assert!(other.iter().all(Option::is_some));
            drop(first);
            let again = enter(&limit, same[2]);
            assert!(again.is_some() && enter(&limit, same[0]).is_none());
        }
        assert!(limit.table.shards.iter().all(|shard| shard.lock().unwrap().keys() == 0));
    }

    #[test]
    fn who_has_no_room_in_the_table_is_not_shut_out() {
        let limit = AddressLimit::new(NonZero::new(1).unwrap());
        let mut counted = Vec::new();
        let mut uncounted = 0;
        for bits in 0..u32::try_from(MAX_KEYS + MAX_KEYS / 8).unwrap() {
            match limit.enter(std::net::Ipv4Addr::from_bits(bits).into()) {
                Entry::Counted(place) => counted.push(place),
                Entry::Uncounted => uncounted += 1,
                Entry::Refused => panic!("refused"),
            }
        }
        assert!(counted.len() <= MAX_KEYS && uncounted > 0);
    }
}
