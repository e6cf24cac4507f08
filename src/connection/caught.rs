//! A mistake of ours within one request ends that request alone: it is answered, counted, and the worker goes on.
//!
//! What a panic may leave half changed is the request's own, gone with its future; what outlives it (tables, pools, limits)
//! is given back by `Drop`, and changed as a whole between two calls that could panic.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

use http::request::Parts;
use hyper::body::Incoming;

use super::{Handler, Info, Outcome, Shared};

impl<H: Handler> Shared<H> {
    /// The handler's answer, or the one for a mistake of ours.
    pub(super) async fn answer(
        &self,
        parts: &mut Parts,
        body: Incoming,
        info: &Rc<Info>,
    ) -> Outcome<H::Body> {
        match caught(pin!(self.handler.handle(parts, body, info))).await {
            Some(outcome) => outcome,
            None => {
                self.counters.panics.inc();
                Outcome::Reply(self.handler.failed(info))
            }
        }
    }
}

/// What a future comes to; none if it panics. What the panic said has gone to the process's hook. It is borrowed, since
/// what is moved into a future takes its room twice.
fn caught<F: Future>(mut future: Pin<&mut F>) -> impl Future<Output = Option<F::Output>> {
    poll_fn(move |cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(polled) => polled.map(Some),
        // Never polled again.
        Err(_) => Poll::Ready(None),
    })
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::Duration;

    use bytes::Bytes;
    use http::Response;
    use http_body_util::Full;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::UnixStream;
    use tokio::task::{LocalSet, spawn_local};
    use tokio::time::timeout;

    use super::super::{Handshakes, PeerAddress, Refused, Settings, serve};
    use super::*;
    use crate::access_log::WorkerLog;
    use crate::config::{Deadlines, Networks};
    use crate::event::Epoch;
    use crate::hub::Hub;
    use crate::proxy::{ReadAhead, ReadsAhead};
    use crate::store::{Limits, Memory};
    use crate::stream::Streams;

    const PATIENCE: Duration = Duration::from_secs(60);

    /// Fails in the middle of every request for `/fails`.
    struct Fails {
        /// Requests it is at.
        held: Rc<Cell<u32>>,
    }

    /// Given back however a request ends.
    struct Held(Rc<Cell<u32>>);

    impl Drop for Held {
        fn drop(&mut self) {
            self.0.set(self.0.get() - 1);
        }
    }

    impl ReadsAhead for Full<Bytes> {
        fn read_ahead(&self) -> Option<ReadAhead> {
            None
        }
    }

    impl Handler for Fails {
        type Body = Full<Bytes>;

        async fn handle(&self, parts: &mut Parts, _: Incoming, _info: &Rc<Info>) -> Outcome<Full<Bytes>> {
            self.held.set(self.held.get() + 1);
            let _held = Held(self.held.clone());
            tokio::task::yield_now().await;
            assert_ne!(parts.uri.path(), "/fails", "on purpose");
            Outcome::Reply(Response::new("fine".into()))
        }

        fn failed(&self, _info: &Info) -> Response<Full<Bytes>> {
            let mut response = Response::new("failed".into());
            *response.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
            response
        }
    }

    #[tokio::test]
    async fn a_panic_ends_its_request_and_nothing_else() {
        let limits = Limits { age: PATIENCE, events: 1, bytes: 1024, max_bytes: 1024, max_channels: 1 };
        let hub = Hub::new(1, Memory::new(limits), Epoch::from_bits(1));
        let counters = std::sync::Arc::default();
        let held = Rc::default();
        let shared = Rc::new(Shared {
            handler: Fails { held: Rc::clone(&held) },
            streams: Streams::new(hub, 0, std::sync::Arc::clone(&counters), Rc::new(WorkerLog::off())),
            counters,
            challenges: crate::acme::Challenges::default(),
            handshakes: Handshakes::default(),
            refused: Refused::default(),
            log: Rc::new(WorkerLog::off()),
        });
        let settings = Rc::new(Settings {
            listener: 0,
            drain: Rc::default(),
            addresses: None,
            deadlines: Deadlines::default(),
            max_headers: 64 * 1024,
            server_names: Vec::new(),
            tls: None,
            proxy_protocol: false,
            trusted: Networks::default(),
        });
        let begin = || {
            let (client, server) = UnixStream::pair().unwrap();
            spawn_local(serve(shared.clone(), settings.clone(), server.into(), PeerAddress::Unix, ()));
            client
        };
        let run = async {
            let (mut one, mut other) = (begin(), begin());
            for (target, said) in [("/fails", "failed"), ("/", "fine"), ("/fails", "failed")] {
                let request = format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n");
                one.write_all(request.as_bytes()).await.unwrap();
                let mut answer = Vec::new();
                while !answer.ends_with(said.as_bytes()) {
                    assert!(one.read_buf(&mut answer).await.unwrap() > 0, "closed after {answer:?}");
                }
                let status = if said == "fine" { "200" } else { "500" };
                assert!(answer.starts_with(format!("HTTP/1.1 {status}").as_bytes()));
            }
            other.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
            let mut answer = String::new();
            other.read_to_string(&mut answer).await.unwrap();
            assert!(answer.ends_with("fine"));
        };
        timeout(PATIENCE, LocalSet::new().run_until(run)).await.unwrap();
        assert_eq!((shared.counters.panics.get(), held.get()), (2, 0));
    }
}
