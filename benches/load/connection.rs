//! A connection: a socket, what it speaks, and what waits to be written.

use std::io;

use crate::codec::{Codec, Request, Signal};
use crate::poller::{Interest, Poller};
use crate::wire::{Dial, Target, Wire};

/// One connection, watched by a poller under its key.
pub(crate) struct Connection {
    wire: Wire,
    codec: Codec,
    out: Vec<u8>,
    key: usize,
    interest: Interest,
    deaf: bool,
}

impl Connection {
    /// Begins a connection.
    ///
    /// # Errors
    /// As [`Wire::connect`].
    pub(crate) fn connect(
        target: &Target,
        dial: &Dial,
        codec: Codec,
        poller: &Poller,
        key: usize,
    ) -> io::Result<Self> {
        let wire = Wire::connect(target, dial)?;
        poller.add(&wire, key, Interest::Both)?;
        Ok(Self { wire, codec, out: Vec::new(), key, interest: Interest::Both, deaf: false })
    }

    /// Puts a request behind what waits to be written; [`flush`](Self::flush) sends it. Returns its number.
    pub(crate) fn request(&mut self, request: &Request<'_>) -> u32 {
        self.codec.request(request, &mut self.out)
    }

    /// Writes what can be written.
    ///
    /// # Errors
    /// If the connection failed.
    pub(crate) fn flush(&mut self, poller: &Poller) -> io::Result<()> {
        self.wire.send(&mut self.out)?;
        let waits = !self.out.is_empty() || self.wire.wants_write();
        let interest = match (self.deaf, waits) {
            (true, _) => Interest::Nothing,
            (false, true) => Interest::Both,
            (false, false) => Interest::Read,
        };
        if interest != self.interest {
            poller.change(&self.wire, self.key, interest)?;
            self.interest = interest;
        }
        if self.out.is_empty() && self.out.capacity() > 16 * 1024 {
            self.out = Vec::new();
        }
        Ok(())
    }

    /// Reads what has come, tells it, and writes what can be written. Returns whether the connection is still open.
    ///
    /// # Errors
    /// If the connection failed, or if the server does not speak its protocol.
    pub(crate) fn serve(
        &mut self,
        scratch: &mut [u8],
        poller: &Poller,
        mut sink: impl FnMut(u32, Signal<'_>),
    ) -> io::Result<bool> {
        if self.interest == Interest::Both {
            self.flush(poller)?;
        }
        let Self { wire, codec, out, .. } = self;
        let open = wire.receive(scratch, |bytes| codec.feed(bytes, out, &mut sink))?;
        if open && (!self.out.is_empty() || self.wire.wants_write()) {
            self.flush(poller)?;
        }
        Ok(open)
    }

    /// Never reads again.
    ///
    /// # Errors
    /// If the connection failed.
    pub(crate) fn go_deaf(&mut self, poller: &Poller) -> io::Result<()> {
        self.deaf = true;
        self.flush(poller)
    }
}
