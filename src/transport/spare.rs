//! Descriptors held back for the moment when the process has no others left.

use std::cell::RefCell;
use std::io;
use std::os::unix::net::UnixDatagram;

use rustix::io::Errno;

/// Descriptors that stand for others: one that is given up makes room for one connection.
#[derive(Debug)]
pub struct Spares {
    count: usize,
    // Sockets without an address: they need no file, and hold nothing else.
    held: RefCell<Vec<UnixDatagram>>,
}

impl Spares {
    /// Holds so many back; fewer, if there are no more.
    pub fn new(count: usize) -> Self {
        let spares = Self { count, held: RefCell::default() };
        spares.restore();
        spares
    }

    /// Gives one up. Says whether there was one.
    pub fn release(&self) -> bool {
        self.held.borrow_mut().pop().is_some()
    }

    /// Takes back what was given up, as far as that is possible now.
    pub fn restore(&self) {
        let mut held = self.held.borrow_mut();
        while held.len() < self.count {
            match UnixDatagram::unbound() {
                Ok(spare) => held.push(spare),
                // Another time: whoever gives up a connection asks again.
                Err(_) => return,
            }
        }
    }
}

/// Whether an error says that the process, or the system, has no descriptors left.
pub fn lacks_descriptors(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_up_can_be_taken_back() {
        let spares = Spares::new(2);
        assert!(spares.release() && spares.release() && !spares.release());
        spares.restore();
        assert!(spares.release());
        assert!(lacks_descriptors(&Errno::MFILE.into()) && lacks_descriptors(&Errno::NFILE.into()));
        assert!(!lacks_descriptors(&Errno::CONNABORTED.into()));
    }
}
