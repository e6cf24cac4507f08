//! The bodies of answers, and the line that the access log gets when one ends.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{REFERER, USER_AGENT};
use http::request::Parts;
use http::{HeaderValue, Method, Response, Version};
use http_body::{Body, Frame, SizeHint};

use super::account::Account;
use super::traced::Traced;
use crate::access_log::{WorkerLog, without_userinfo};
use crate::compress::Compressed;
use crate::files::FileBody;
use crate::http::RequestId;
use crate::proxy::{ReadAhead, ReadsAhead, UpstreamBody};
use crate::stream::{LimitedBody, StreamBody};

/// How the log says that a file could not be sent whole.
const FILE_BROKE: &str = "file broke off";

/// The body of an answer. The request's account is closed when it is dropped.
#[derive(Debug)]
pub struct ReplyBody {
    kind: Kind,
    account: Option<Account>,
}

#[derive(Debug)]
enum Kind {
    /// An answer of our own; taken when it has been sent.
    Small(Option<Bytes>),
    Proxied(UpstreamBody),
    /// Boxed: rare beside those that are not compressed, and larger.
    Compressed(Box<Compressed<UpstreamBody>>),
    File(FileBody),
    Stream(StreamBody),
    Limited(LimitedBody),
}

impl ReplyBody {
    pub(super) fn small(bytes: Bytes) -> Self {
        Self { kind: Kind::Small(Some(bytes).filter(|bytes| !bytes.is_empty())), account: None }
    }

    pub(super) fn proxied(body: UpstreamBody) -> Self {
        Self { kind: Kind::Proxied(body), account: None }
    }

    pub(super) fn compressed(body: Compressed<UpstreamBody>) -> Self {
        Self { kind: Kind::Compressed(Box::new(body)), account: None }
    }

    pub(super) fn file(body: FileBody) -> Self {
        Self { kind: Kind::File(body), account: None }
    }

    pub(super) fn stream(body: StreamBody) -> Self {
        Self { kind: Kind::Stream(body), account: None }
    }

    pub(super) fn limited(body: LimitedBody) -> Self {
        Self { kind: Kind::Limited(body), account: None }
    }
}

/// Gives an answer the account of its request, to be closed with it.
pub(super) fn finish(mut response: Response<ReplyBody>, mut account: Account) -> Response<ReplyBody> {
    account.answered(response.status().as_u16());
    response.body_mut().account = Some(account);
    response
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        let frame = match &mut this.kind {
            Kind::Small(bytes) => bytes.take().map(|bytes| Ok(Frame::data(bytes))),
            Kind::Proxied(body) => {
                ready!(Pin::new(body).poll_frame(cx)).map(|frame| frame.map_err(Into::into))
            }
            Kind::Compressed(body) => {
                ready!(Pin::new(&mut **body).poll_frame(cx)).map(|frame| frame.map_err(Into::into))
            }
            Kind::File(body) => ready!(Pin::new(body).poll_frame(cx)).map(|frame| frame.map_err(Into::into)),
            Kind::Limited(body) => {
                ready!(Pin::new(body).poll_frame(cx)).map(|frame| frame.map_err(Into::into))
            }
            Kind::Stream(body) => {
                ready!(Pin::new(body).poll_frame(cx)).map(|frame| frame.map_err(Into::into))
            }
        };
        let Some(account) = &mut this.account else { return Poll::Ready(frame) };
        if let Some(Ok(data)) = frame.as_ref().map(|frame| frame.as_ref().map(Frame::data_ref)) {
            account.took(data.map_or(0, |data| data.len() as u64));
        }
        if matches!(frame, Some(Err(_))) {
            account.breaks();
        }
        if let Some(log) = &mut account.log {
            match &frame {
                Some(Ok(frame)) => {
                    // Nothing comes after trailers, and nobody asks for more.
                    log.whole |= frame.is_trailers();
                }
                Some(Err(_)) if matches!(this.kind, Kind::File(_)) => log.broken = Some(FILE_BROKE),
                Some(Err(_)) => log.broken = Some("upstream broke off"),
                None => log.whole = true,
            }
            log.whole |= this.kind.is_end_stream();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.kind.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Small(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Kind::Proxied(body) => body.size_hint(),
            Kind::Compressed(body) => body.size_hint(),
            Kind::File(body) => body.size_hint(),
            Kind::Stream(body) => body.size_hint(),
            Kind::Limited(body) => body.size_hint(),
        }
    }
}

impl ReadsAhead for ReplyBody {
    fn read_ahead(&self) -> Option<ReadAhead> {
        match &self.kind {
            Kind::Proxied(body) => body.read_ahead(),
            // What is kept is what the app has sent: it is compressed when the client takes it.
            Kind::Compressed(body) => body.body().read_ahead(),
            _ => None,
        }
    }
}

impl Kind {
    fn is_end_stream(&self) -> bool {
        match self {
            Self::Small(bytes) => bytes.is_none(),
            Self::Proxied(body) => body.is_end_stream(),
            Self::Compressed(body) => body.is_end_stream(),
            Self::File(body) => body.is_end_stream(),
            Self::Stream(body) => body.is_end_stream(),
            Self::Limited(body) => body.is_end_stream(),
        }
    }
}

impl Drop for ReplyBody {
    fn drop(&mut self) {
        let whole = self.kind.is_end_stream();
        if let Some(log) = self.account.as_mut().and_then(|account| account.log.as_mut()) {
            log.whole |= whole;
            if matches!(&self.kind, Kind::File(file) if file.broke()) {
                log.broken = Some(FILE_BROKE);
            }
        }
    }
}

/// A request's line in the access log.
#[derive(Debug)]
pub(super) struct RequestLog {
    /// None if the line is not written.
    log: Option<Rc<WorkerLog>>,
    client: String,
    id: RequestId,
    method: Method,
    target: String,
    host: String,
    version: Version,
    /// The page that it comes from and the program, if the line says so.
    asker: Option<Box<[String; 2]>>,
    whole: bool,
    /// Why it was refused, in a word.
    pub(super) refused: Option<&'static str>,
    /// Why it ended early, if that was not the client's doing.
    broken: Option<&'static str>,
    /// Its spans, if it is recorded.
    pub(super) traced: Option<Box<Traced>>,
}

impl RequestLog {
    pub(super) fn new(
        log: Option<Rc<WorkerLog>>,
        parts: &Parts,
        client: String,
        id: &RequestId,
        traced: Option<Box<Traced>>,
    ) -> Self {
        let host = parts.headers.get(http::header::HOST).and_then(|host| host.to_str().ok());
        let host = host.or_else(|| parts.uri.authority().map(http::uri::Authority::as_str));
        let told = |name| {
            let value = parts.headers.get(name).map(HeaderValue::as_bytes).unwrap_or_default();
            let shown = value.get(..value.len().min(MAX_ASKER)).unwrap_or_default();
            String::from_utf8_lossy(shown).into_owned()
        };
        let names_asker = log.as_ref().is_some_and(|log| log.names_asker());
        let asker = names_asker.then(|| Box::new([REFERER, USER_AGENT].map(told)));
        Self {
            log,
            asker,
            client,
            id: id.clone(),
            method: parts.method.clone(),
            target: parts.uri.path_and_query().map_or("", |target| target.as_str()).to_owned(),
            host: without_userinfo(host.unwrap_or_default()).into_owned(),
            version: parts.version,
            whole: false,
            refused: None,
            broken: None,
            traced,
        }
    }
}

impl RequestLog {
    /// A mistake of ours ended it.
    pub(super) fn panicked(&mut self) {
        (self.refused, self.whole) = (Some("panic"), true);
    }

    /// Writes the line, and ends what is recorded: with the answer, or of a client that went away before there was one.
    pub(super) fn write(mut self, route: &str, status: u16, bytes: u64, time: Duration) {
        let trace = self.traced.as_ref().map(|traced| traced.trace());
        if let Some(traced) = self.traced.take() {
            traced.end(route, status, (status > 0).then_some(bytes));
        }
        let Some(log) = &self.log else { return };
        log.write("request", |line| {
            let line = line
                .text("client", &self.client)
                .text("id", self.id.as_str())
                .text("method", start(self.method.as_str(), MAX_METHOD))
                .text("host", start(&self.host, MAX_HOST))
                .target(&self.target)
                .text("protocol", protocol(self.version))
                // As nginx has it: the client went away before there was an answer.
                .number("status", if status == 0 { 499 } else { status.into() })
                .number("bytes", bytes)
                .duration("duration", time);
            let line = match self.asker.as_deref() {
                Some([referer, agent]) => line.asker(referer, agent),
                None => line,
            };
            let line = match &trace {
                Some(trace) => line.text("trace", trace),
                None => line,
            };
            let line = match self.refused {
                Some(word) => line.text("refused", word),
                None => line,
            };
            match (self.broken, self.whole, status) {
                (Some(end), ..) => line.text("end", end),
                (None, false, 1..) if self.method != Method::HEAD => line.text("end", "client went away"),
                _ => line,
            }
        });
    }
}

/// The longest method and host that are written, in bytes; what is longer is none. Bounds a line.
const MAX_METHOD: usize = 32;
const MAX_HOST: usize = 255;

/// The longest name of a page or program that is kept for the line, in bytes.
const MAX_ASKER: usize = 1024;

/// The start of a text that is ASCII if anything is to come of it.
fn start(text: &str, most: usize) -> &str {
    text.get(..text.len().min(most)).unwrap_or_default()
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        _ => "HTTP/1.1",
    }
}
