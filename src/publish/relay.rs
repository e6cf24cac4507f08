//! Publications that reach a process when another has taken its place: it hands them on to that one, and the answers back.
//!
//! They are those of requests that were under way, and of publishers who were connected. A line of JSON goes there and one
//! comes back, in order. Invariant: a publication is read there by the same rules as any other; only its key has been
//! judged, for the keys of public routes are of a form that publishers cannot have.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};

use crate::event::{ChannelName, EventName, Timestamp};
use crate::hub::Publication;
use crate::publish::Publisher;
use crate::publish::produced::Produced;
use crate::publish::publication::{self, Whom};
use crate::publish::publisher::Posted;
use crate::publish::refusal::{Refusal, RefusalKind};

/// How many may wait for their turn.
const WAITING: usize = 1024;

/// The way to the other process. Cloning it is cheap.
#[derive(Debug, Clone)]
pub struct Relay(mpsc::Sender<Errand>);

#[derive(Debug)]
struct Errand {
    line: Vec<u8>,
    reply: oneshot::Sender<String>,
}

/// What is handed on.
#[derive(Debug, Serialize, Deserialize)]
struct Handed {
    is_batch: bool,
    publications: Vec<Box<RawValue>>,
    keys: Vec<Option<Box<str>>>,
    /// Until when the keys are to be remembered, in milliseconds since 1970.
    until: u64,
}

/// A publication as publishers write it, but for its key.
#[derive(Serialize)]
struct Written<'p> {
    channels: Vec<&'p str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'p str>,
    data: &'p str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    collapse: Option<&'p str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry: Option<u32>,
}

/// What is said to it.
#[derive(Debug, Serialize, Deserialize)]
enum Answered {
    Done(Box<RawValue>),
    Refused { error: String, field: Option<String>, message: String, after: Option<u64> },
}

impl Relay {
    /// Hands on over this connection, while what is returned runs; within a runtime.
    ///
    /// # Errors
    /// If the system refuses the connection.
    pub fn over(stream: std::os::unix::net::UnixStream) -> io::Result<(Self, impl Future<Output = ()>)> {
        stream.set_nonblocking(true)?;
        let mut stream = BufReader::new(UnixStream::from_std(stream)?);
        let (errands, mut asked) = mpsc::channel::<Errand>(WAITING);
        let running = async move {
            while let Some(Errand { line, reply }) = asked.recv().await {
                let mut said = String::new();
                if stream.write_all(&line).await.is_err()
                    || !matches!(stream.read_line(&mut said).await, Ok(1..))
                {
                    // Whoever waits learns it from the end of this.
                    break;
                }
                // It may have gone.
                let _ = reply.send(said);
            }
        };
        Ok((Self(errands), running))
    }

    /// Hands publications on, and waits for the answer.
    ///
    /// # Errors
    /// What the other process refuses; or that it is gone.
    pub(super) async fn hand_on(&self, posted: Posted, until: Timestamp) -> Result<Bytes, Refusal> {
        let line = line(&posted, until).ok_or_else(gone)?;
        let (reply, said) = oneshot::channel();
        self.0.send(Errand { line, reply }).await.map_err(|_| gone())?;
        let said = said.await.map_err(|_| gone())?;
        match serde_json::from_str(&said) {
            Ok(Answered::Done(json)) => Ok(json.get().to_owned().into()),
            Ok(Answered::Refused { error, field, message, after }) => {
                let kind = RefusalKind::of_code(&error).unwrap_or(RefusalKind::Unavailable);
                let refusal = match field {
                    Some(field) => Refusal::of_field(kind, &field, message),
                    None => Refusal::new(kind, message),
                };
                Err(after
                    .into_iter()
                    .fold(refusal, |refusal, after| refusal.after(Duration::from_secs(after))))
            }
            Err(_) => Err(gone()),
        }
    }
}

/// Takes in what another process hands on, until it ends.
pub async fn take_in(publisher: Publisher, stream: UnixStream) {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while matches!(stream.read_line(&mut line).await, Ok(1..)) {
        let answered = match answer(&publisher, &line).await {
            Ok(json) => std::str::from_utf8(&json)
                .ok()
                .and_then(|json| RawValue::from_string(json.to_owned()).ok())
                .map_or_else(|| refused(&gone()), Answered::Done),
            Err(refusal) => refused(&refusal),
        };
        // There is nothing in it that JSON cannot say.
        let mut said = serde_json::to_vec(&answered).unwrap_or_default();
        said.push(b'\n');
        if stream.write_all(&said).await.is_err() {
            return;
        }
        line.clear();
    }
}

async fn answer(publisher: &Publisher, line: &str) -> Result<Bytes, Refusal> {
    let strange =
        |_| Refusal::new(RefusalKind::Unavailable, "the process that was replaced is not understood");
    let Handed { is_batch, publications, keys, until } = serde_json::from_str(line).map_err(strange)?;
    let limits = publisher.limits();
    let read = publications.iter().zip(keys).map(|(json, key)| {
        let read = publication::parse_for(json.get().as_bytes(), &limits, Whom::Anybody)?;
        Ok(Publication { key, ..read })
    });
    let mut batch = read.collect::<Result<Vec<_>, Refusal>>()?;
    let posted = match batch.pop() {
        Some(only) if !is_batch && batch.is_empty() => Posted::One(Box::new(only)),
        last => {
            batch.extend(last);
            Posted::Batch(batch)
        }
    };
    // The process that it came to has its span.
    let produced = &mut Produced::default();
    publisher.answer_remembered(posted, Timestamp::now(), Timestamp(until), produced).await
}

fn line(posted: &Posted, until: Timestamp) -> Option<Vec<u8>> {
    let (all, is_batch) = match posted {
        Posted::One(one) => (std::slice::from_ref(&**one), false),
        Posted::Batch(batch) => (&**batch, true),
    };
    let publications = all.iter().map(written).collect::<Option<_>>()?;
    let keys = all.iter().map(|publication| publication.key.clone()).collect();
    let mut line = serde_json::to_vec(&Handed { is_batch, publications, keys, until: until.0 }).ok()?;
    line.push(b'\n');
    Some(line)
}

fn written(publication: &Publication) -> Option<Box<RawValue>> {
    let Publication { channels, event, ttl, key: _, collapse } = publication;
    let written = Written {
        channels: channels.iter().map(ChannelName::as_str).collect(),
        event: event.name.as_ref().map(EventName::as_str),
        data: std::str::from_utf8(&event.data).ok()?,
        ttl: ttl.map(|ttl| format!("{}ms", ttl.as_millis())),
        collapse: collapse.as_deref(),
        retry: event.retry,
    };
    serde_json::value::to_raw_value(&written).ok()
}

fn refused(refusal: &Refusal) -> Answered {
    Answered::Refused {
        error: refusal.kind().code().to_owned(),
        field: refusal.field().map(str::to_owned),
        message: refusal.message().to_owned(),
        after: refusal.retry_after(),
    }
}

/// Whether it was published is not known where the other process ends within.
pub(super) fn gone() -> Refusal {
    let message = "another process has taken over and does not answer; send it again with the same key, which makes it once";
    Refusal::new(RefusalKind::Unavailable, message)
}
