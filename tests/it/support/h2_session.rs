//! An HTTP/2 connection with streams on it. What is not waited for does not move: nothing runs between the calls.

use std::future::Future;
use std::rc::Rc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::tls::client_config;
use super::{PATIENCE, Said, token};

/// What a client takes on one stream before it reads it, in bytes.
pub(crate) const WINDOW: u32 = 16 * 1024;

/// A connection over TLS.
pub(crate) struct H2Session {
    runtime: Rc<Runtime>,
    sender: SendRequest<Full<Bytes>>,
    /// Whether the server has ended the connection, and how.
    ended: tokio::task::JoinHandle<hyper::Result<()>>,
}

/// A stream on it.
pub(crate) struct H2Subscriber {
    runtime: Rc<Runtime>,
    body: Incoming,
    text: String,
    pub(crate) opening: String,
    pub(crate) last_id: String,
}

impl H2Session {
    /// Connects to a host called `test`.
    pub(crate) fn connect(address: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (sender, connection) = runtime.block_on(async {
            let tcp = TcpStream::connect(address).await.unwrap();
            tcp.set_nodelay(true).unwrap();
            let name = ServerName::try_from("test").unwrap();
            let tls = TlsConnector::from(client_config(&["h2"])).connect(name, tcp).await.unwrap();
            assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder.initial_stream_window_size(WINDOW).adaptive_window(false);
            builder.handshake(TokioIo::new(tls)).await.unwrap()
        });
        let ended = runtime.spawn(connection);
        Self { runtime: Rc::new(runtime), sender, ended }
    }

    /// Sends a request and waits for the head of its answer.
    pub(crate) fn send(&mut self, method: &str, target: &str, fields: &[(&str, &str)]) -> Response<Incoming> {
        let mut request = Request::builder().method(method).uri(format!("https://test{target}"));
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let answer = self.sender.send_request(request.body(Full::default()).unwrap());
        self.runtime.block_on(within(answer)).unwrap()
    }

    /// Sends a POST and reads the whole answer.
    pub(crate) fn post(&mut self, target: &str, fields: &[(&str, &str)], body: &str) -> Response<String> {
        let mut request = Request::post(format!("https://test{target}"));
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let answer = self.sender.send_request(request.body(Full::from(body.to_owned())).unwrap());
        let (parts, body) = self.runtime.block_on(within(answer)).unwrap().into_parts();
        let body = self.runtime.block_on(within(body.collect())).unwrap().to_bytes();
        Response::from_parts(parts, String::from_utf8(body.to_vec()).unwrap())
    }

    /// Sends a GET and reads the whole answer.
    pub(crate) fn get(&mut self, target: &str, fields: &[(&str, &str)]) -> Response<String> {
        let (parts, body) = self.send("GET", target, fields).into_parts();
        let body = self.runtime.block_on(within(body.collect())).unwrap().to_bytes();
        Response::from_parts(parts, String::from_utf8(body.to_vec()).unwrap())
    }

    /// Opens the stream of a user at `/events`.
    pub(crate) fn subscribe(&mut self, user: &str) -> H2Subscriber {
        self.open(&format!("/events?token={}", token(user)), &[])
    }

    /// The same, for one that comes back.
    pub(crate) fn resume(&mut self, user: &str, last_id: &str) -> H2Subscriber {
        self.open(&format!("/events?token={}", token(user)), &[("last-event-id", last_id)])
    }

    /// Opens a stream.
    pub(crate) fn open(&mut self, target: &str, fields: &[(&str, &str)]) -> H2Subscriber {
        let response = self.send("GET", target, fields);
        assert_eq!(response.status(), 200);
        let mut opened = H2Subscriber {
            runtime: self.runtime.clone(),
            body: response.into_body(),
            text: String::new(),
            opening: String::new(),
            last_id: String::new(),
        };
        opened.opening = opened.block().unwrap();
        opened.last_id = Said::parse(&opened.opening).id.unwrap_or_default();
        opened
    }

    /// Waits until the server has ended the connection, cleanly or not.
    pub(crate) fn end(self) -> hyper::Result<()> {
        // The client's own end would do as well.
        let Self { runtime, sender, ended } = self;
        let ended = runtime.block_on(within(ended)).unwrap();
        drop(sender);
        ended
    }

    /// Drives the connection for as long as something else takes.
    pub(crate) fn while_driven<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, when_done) = tokio::sync::oneshot::channel();
        let worker = std::thread::spawn(move || {
            let result = work();
            // Nobody listens only if the test has failed.
            let _ = done.send(());
            result
        });
        let _ = self.runtime.block_on(within(when_done));
        worker.join().unwrap()
    }
}

impl H2Subscriber {
    /// The next event.
    pub(crate) fn event(&mut self) -> Said {
        self.try_event().unwrap_or_else(|| panic!("the stream ended after {:?}", self.text))
    }

    /// The next event, if one comes before the stream is reset.
    pub(crate) fn try_event(&mut self) -> Option<Said> {
        let said = Said::parse(&self.block()?);
        if let Some(id) = &said.id {
            self.last_id.clone_from(id);
        }
        Some(said)
    }

    /// The data of the next event.
    pub(crate) fn data(&mut self) -> String {
        self.event().data.unwrap_or_default()
    }

    fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let block = block.to_owned();
                self.text = rest.to_owned();
                return Some(block);
            }
            match self.runtime.block_on(within(self.body.frame())) {
                Some(Ok(frame)) => {
                    let data = frame.into_data().unwrap_or_else(|_| panic!("trailers on a stream"));
                    self.text.push_str(std::str::from_utf8(&data).unwrap());
                }
                // Reset, or the connection broken.
                Some(Err(_)) => return None,
                None => panic!("the stream ended as if whole, after {:?}", self.text),
            }
        }
    }
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    timeout(PATIENCE, work).await.unwrap_or_else(|_| panic!("nothing happens"))
}
