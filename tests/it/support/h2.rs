//! A client that speaks HTTP/2 as a browser does, in a runtime of its own.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::PATIENCE;
use super::tls::client_config;

/// Connects, naming the host `test`, and gives the connection to a test.
pub(crate) fn with<T>(address: &str, test: impl AsyncFnOnce(H2) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let run = async {
        let tcp = TcpStream::connect(address).await.unwrap();
        let connector = TlsConnector::from(Arc::clone(&client_config(&["h2"])));
        let stream = connector.connect(ServerName::try_from("test").unwrap(), tcp).await.unwrap();
        let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        test(H2 { sender }).await
    };
    runtime.block_on(async { timeout(PATIENCE, run).await.expect("the test takes too long") })
}

/// A connection; a copy is the same connection.
#[derive(Clone)]
pub(crate) struct H2 {
    sender: SendRequest<Sent>,
}

impl H2 {
    /// Sends a request and waits for the head of its answer.
    pub(crate) async fn send(&mut self, request: Request<Sent>) -> hyper::Result<Response<Incoming>> {
        self.sender.ready().await?;
        self.sender.send_request(request).await
    }

    /// Asks for a path, and reads the whole answer.
    pub(crate) async fn get(&mut self, path: &str) -> Whole {
        let response = self.send(request("GET", path).body(Sent::nothing()).unwrap()).await;
        Whole::of(response.unwrap()).await.unwrap()
    }
}

/// Begins a request for the host `test`.
pub(crate) fn request(method: &str, path: &str) -> http::request::Builder {
    Request::builder().method(method).uri(format!("https://test{path}"))
}

/// The next piece of a body; none at its end.
pub(crate) async fn piece(body: &mut Incoming) -> Option<hyper::Result<Bytes>> {
    loop {
        match body.frame().await? {
            Err(error) => return Some(Err(error)),
            Ok(frame) => match frame.into_data() {
                Ok(data) => return Some(Ok(data)),
                Err(_) => continue,
            },
        }
    }
}

/// Reads pieces until `end` has come; returns the text.
pub(crate) async fn until(body: &mut Incoming, end: &str) -> String {
    let mut text = String::new();
    while !text.contains(end) {
        let piece = piece(body).await.unwrap_or_else(|| panic!("it ended as if whole after {text:?}"));
        text.push_str(std::str::from_utf8(&piece.unwrap()).unwrap());
    }
    text
}

/// An answer that has come whole.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) status: u16,
    pub(crate) fields: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
}

impl Whole {
    pub(crate) async fn of(response: Response<Incoming>) -> hyper::Result<Self> {
        let (parts, body) = response.into_parts();
        let body = body.collect().await?;
        let trailers = body.trailers().cloned();
        Ok(Self { status: parts.status.as_u16(), fields: parts.headers, body: body.to_bytes(), trailers })
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A request body: all at once with its length, or piece by piece without.
pub(crate) struct Sent {
    pieces: mpsc::UnboundedReceiver<Bytes>,
    left: Option<u64>,
}

impl Sent {
    pub(crate) fn nothing() -> Self {
        Self::whole("")
    }

    /// A body that says its length.
    pub(crate) fn whole(body: impl Into<Bytes>) -> Self {
        let body = body.into();
        let length = body.len() as u64;
        let (pieces, sent) = Self::in_pieces();
        pieces.send(body).unwrap();
        Self { left: Some(length), ..sent }
    }

    /// A body whose length nobody knows: it ends when the sender is dropped.
    pub(crate) fn in_pieces() -> (mpsc::UnboundedSender<Bytes>, Self) {
        let (sender, pieces) = mpsc::unbounded_channel();
        (sender, Self { pieces, left: None })
    }
}

impl http_body::Body for Sent {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let polled = self.pieces.poll_recv(cx);
        if let (Poll::Ready(Some(piece)), Some(left)) = (&polled, &mut self.left) {
            *left -= piece.len() as u64;
        }
        polled.map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
