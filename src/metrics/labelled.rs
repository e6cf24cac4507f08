//! Cells with a label, such as those of a route.
//!
//! Invariants: the lock is taken when a label is looked up and when all are read, and not to count; nothing that was
//! counted is forgotten; and however often the configuration changes, there is a bound to how many labels are kept.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// So many labels are kept that nothing is counted under any more: of routes and upstreams that a configuration has no
/// longer. The oldest of more are summed up under one.
const GONE: usize = 200;

/// What cells can be labelled with.
pub trait Label: Ord + Clone {
    /// The label of those that are kept no longer by themselves. No configuration has it.
    fn gone() -> Self;
}

/// Cells that can be summed up.
pub trait Sum {
    /// Adds what others hold, which are counted no more.
    fn take_in(&self, others: &Self);
}

/// Cells by their labels, which come from the configuration alone. They stay when a configuration without them follows:
/// what was counted was counted.
#[derive(Debug)]
pub struct Labelled<K, T>(Mutex<Kept<K, T>>);

#[derive(Debug)]
struct Kept<K, T> {
    cells: BTreeMap<K, Slot<T>>,
    made: u64,
}

#[derive(Debug)]
struct Slot<T> {
    /// Held elsewhere as long as something may be counted.
    cells: Arc<T>,
    /// How many were made before it.
    made: u64,
}

impl<K: Label, T: Default + Sum> Labelled<K, T> {
    /// The cells of a label, made if it is new. For the thread that counts.
    pub fn of(&self, label: K) -> Arc<T> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = kept.cells.get(&label) {
            return slot.cells.clone();
        }
        kept.sum_up();
        kept.add(label)
    }

    /// Looks at all of them, in the order of their labels.
    pub fn each(&self, mut look: impl FnMut(&K, &T)) {
        for (label, slot) in &self.0.lock().unwrap_or_else(PoisonError::into_inner).cells {
            look(label, &slot.cells);
        }
    }
}

impl<K: Label, T: Default + Sum> Kept<K, T> {
    fn add(&mut self, label: K) -> Arc<T> {
        let made = self.made;
        self.made += 1;
        self.cells.entry(label).or_insert_with(|| Slot { cells: Arc::default(), made }).cells.clone()
    }

    fn sum_up(&mut self) {
        if self.cells.len() <= GONE {
            return;
        }
        let is_gone =
            |(label, slot): &(&K, &Slot<T>)| Arc::strong_count(&slot.cells) == 1 && **label != K::gone();
        let gone = self.cells.iter().filter(is_gone).map(|(label, slot)| (slot.made, label.clone()));
        let mut gone: Vec<_> = gone.collect();
        let Some(over) = gone.len().checked_sub(GONE).filter(|over| *over > 0) else { return };
        gone.sort_unstable();
        let sum = self.add(K::gone());
        for (_, label) in gone.into_iter().take(over) {
            if let Some(slot) = self.cells.remove(&label) {
                sum.take_in(&slot.cells);
            }
        }
    }
}

impl<K, T> Default for Labelled<K, T> {
    fn default() -> Self {
        Self(Mutex::new(Kept { cells: BTreeMap::new(), made: 0 }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Class, RouteCells, RouteLabel};

    #[test]
    fn what_was_counted_stays_and_does_not_grow() {
        let routes = Labelled::<RouteLabel, RouteCells>::default();
        let label = |number: usize| RouteLabel { route: format!("/{number}"), upstream: "app".to_owned() };
        let held = routes.of(label(0));
        let count = |cells: &RouteCells| cells.count(Class::Status(200));
        count(&held);
        for number in 1..=3 * GONE {
            count(&routes.of(label(number)));
        }
        let (mut labels, mut sum, mut gone) = (0, 0, 0);
        routes.each(|label, cells| {
            labels += 1;
            sum += cells.classes()[1];
            if *label == RouteLabel::gone() {
                gone = cells.classes()[1];
            }
        });
        assert_eq!(sum, 3 * GONE as u64 + 1, "nothing is forgotten");
        // Those that are kept, the last one, the one that is held, and the sum.
        assert_eq!((labels, gone), (GONE + 3, 2 * GONE as u64 - 1));
        count(&held);
        assert_eq!(routes.of(label(0)).classes()[1], 2, "what is held is not touched");
        assert_eq!(routes.of(label(3 * GONE)).classes()[1], 1, "nor is what went last");
        assert_eq!(routes.of(label(1)).classes()[1], 0, "what comes again begins anew");
    }
}
