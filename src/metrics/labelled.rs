//! Cells with a label, such as those of a route.
//!
//! Invariant: the lock is taken when a label is looked up and when all are read, and not to count.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Cells by their labels, which come from the configuration alone. They stay when a configuration without them follows:
/// what was counted was counted.
#[derive(Debug)]
pub struct Labelled<K, T>(Mutex<BTreeMap<K, Arc<T>>>);

impl<K: Ord, T: Default> Labelled<K, T> {
    /// The cells of a label, made if it is new.
    pub fn of(&self, label: K) -> Arc<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(label).or_default().clone()
    }

    /// Looks at all of them, in the order of their labels.
    pub fn each(&self, mut look: impl FnMut(&K, &T)) {
        for (label, cells) in &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            look(label, cells);
        }
    }
}

impl<K, T> Default for Labelled<K, T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}
