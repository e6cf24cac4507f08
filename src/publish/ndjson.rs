//! NDJSON: a line in, a line back, in order; over a connection of its own or as an HTTP body.
//!
//! Invariants: every line that is not blank gets exactly one reply, in its place. Lines are taken in turns, so that
//! one publisher's flood neither keeps the others waiting nor fills the memory: a turn's replies are written before
//! the next turn begins, and a peer that does not read them is not read from.

use std::future::Future;
use std::io;
use std::os::fd::AsFd as _;
use std::pin::pin;
use std::task::Poll;

use bytes::{Buf as _, Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt as _;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::task::yield_now;
use tokio::time::{Instant, timeout_at};

use crate::event::Timestamp;
use crate::hub::Receipt;
use crate::publish::body::{broken_off, too_large, too_slow};
use crate::publish::produced::Produced;
use crate::publish::publisher::not_kept;
use crate::publish::refusal::{Refusal, RefusalKind};
use crate::publish::way::Leads;
use crate::publish::{Publisher, reply};

/// How much is read at once, in bytes.
const CHUNK: usize = 64 * 1024;

/// The most lines in one turn.
const TURN: usize = 1024;

/// After a turn of this many lines the thread's other tasks come first; after a smaller one they come anyway, while
/// this one waits for its peer.
const BUSY: usize = 64;

/// Serves a connection until the peer has sent its last line. `begun` was read from it before. The peer may take any
/// time between lines, but not within one.
///
/// # Errors
/// If the connection breaks. A peer that only stops listening to replies is still read to its end.
pub(super) async fn converse(
    publisher: &Publisher,
    mut stream: UnixStream,
    begun: BytesMut,
) -> io::Result<()> {
    let bounds = publisher.bounds();
    let mut lines = Lines::new(begun);
    let mut deaf = false;
    let mut line_end = None;
    let last = loop {
        let turn = match publisher.way().turn().await {
            Leads::Here(hand) => (lines.publish(publisher, TURN, Timestamp::now()), hand),
            Leads::There(_) => return hand_over(publisher, &stream, &lines.buffer).await,
        };
        let (turn, hand) = turn;
        if deaf {
            lines.answers.clear();
        } else {
            deaf = lines.reply(publisher, &mut stream).await.is_err();
        }
        drop(hand);
        if turn.taken >= BUSY {
            yield_now().await;
        }
        match turn.left {
            Left::Lines => continue,
            Left::TooLong => break None,
            Left::Nothing => {
                // An idle connection keeps no buffer.
                lines.buffer = BytesMut::new();
                line_end = None;
            }
            Left::Part { new: true } => line_end = Some(Instant::now() + bounds.line_time),
            Left::Part { new: false } => {
                line_end.get_or_insert_with(|| Instant::now() + bounds.line_time);
            }
        }
        let read = tokio::select! {
            read = more(&stream, &mut lines.buffer, line_end) => Some(read?),
            _ = publisher.way().left() => None,
        };
        let Some(read) = read else { return hand_over(publisher, &stream, &lines.buffer).await };
        match read {
            Read::Some => {}
            Read::End if lines.buffer.is_empty() => return Ok(()),
            Read::End => break Some("the connection ended within this line".into()),
            Read::TooSlow => break Some(format!("the line did not end within {:?}", bounds.line_time)),
        }
    };
    if let Some(message) = last {
        let refusal = Refusal::new(RefusalKind::InvalidJson, message);
        lines.answers.push((Err(refusal), Produced::default()));
        lines.reply(publisher, &mut stream).await?;
    }
    stream.shutdown().await
}

/// Has the process that has taken over go on with a connection.
async fn hand_over(publisher: &Publisher, stream: &UnixStream, begun: &[u8]) -> io::Result<()> {
    publisher.way().left().await.hand_lines(begun, stream.as_fd()).await
}

/// What reading came to.
enum Read {
    Some,
    End,
    TooSlow,
}

async fn more(stream: &UnixStream, buffer: &mut BytesMut, until: Option<Instant>) -> io::Result<Read> {
    loop {
        match until {
            None => stream.readable().await?,
            // Asked first, since a peer that always has another byte would never let a timer be looked at.
            Some(until) if until <= Instant::now() => return Ok(Read::TooSlow),
            Some(until) => match timeout_at(until, stream.readable()).await {
                Ok(readable) => readable?,
                Err(_) => return Ok(Read::TooSlow),
            },
        }
        buffer.reserve(CHUNK);
        match stream.try_read_buf(buffer) {
            Ok(0) => return Ok(Read::End),
            Ok(_) => return Ok(Read::Some),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// Publishes the lines of a request's body as they come and gives their replies, all that there were when it ended,
/// broke off or ran into a bound. The last line need not end.
pub(super) async fn answer<B>(publisher: &Publisher, body: B) -> Vec<u8>
where
    B: Body<Data = Bytes>,
{
    let bounds = publisher.bounds();
    let until = Instant::now() + bounds.body_time;
    let mut body = pin!(body);
    let mut lines = Lines::new(BytesMut::new());
    let mut replies = Vec::new();
    let (mut taken, mut size) = (0, 0);
    let mut ended = false;
    let refusal = loop {
        let hand = match publisher.here().await {
            Ok(hand) => hand,
            Err(refusal) => break Some(refusal),
        };
        let turn = lines.publish(publisher, TURN.min(bounds.max_lines - taken), Timestamp::now());
        taken += turn.taken;
        // Into memory, where writing does not fail.
        let _ = lines.reply(publisher, &mut replies).await;
        drop(hand);
        if turn.taken >= BUSY {
            yield_now().await;
        }
        match turn.left {
            Left::TooLong => break None,
            Left::Lines if taken == bounds.max_lines => {
                break Some(Refusal::new(
                    RefusalKind::TooLarge,
                    format!("a body holds at most {} lines; send the rest in another", bounds.max_lines),
                ));
            }
            Left::Lines => continue,
            Left::Nothing | Left::Part { .. } if ended => break None,
            Left::Nothing | Left::Part { .. } => {}
        }
        match timeout_at(until, body.frame()).await {
            Err(_) => break Some(too_slow(&bounds)),
            Ok(Some(Err(_))) => break Some(broken_off()),
            Ok(Some(Ok(frame))) => {
                let data = frame.into_data().unwrap_or_default();
                size += data.len();
                if size > bounds.max_body {
                    break Some(too_large(bounds.max_body));
                }
                lines.buffer.extend_from_slice(&data);
            }
            Ok(None) => {
                ended = true;
                lines.buffer.extend_from_slice(b"\n");
            }
        }
    };
    if let Some(refusal) = refusal {
        put_refusal(publisher, &mut replies, &refusal);
    }
    replies
}

/// Lines as they come in, and their answers as they go out.
struct Lines {
    buffer: BytesMut,
    /// So much of the buffer is known to hold no line end.
    scanned: usize,
    answers: Vec<(Result<Receipt, Refusal>, Produced)>,
}

/// What a turn came to.
struct Turn {
    /// How many lines it took and will answer.
    taken: usize,
    left: Left,
}

/// What is in the buffer after a turn.
enum Left {
    Nothing,
    /// The beginning of a line, which may have begun in this turn.
    Part {
        new: bool,
    },
    /// More than the turn may take.
    Lines,
    /// A line that is too long. It has been answered; nothing after it can be read.
    TooLong,
}

impl Lines {
    fn new(buffer: BytesMut) -> Self {
        Self { buffer, scanned: 0, answers: Vec::new() }
    }

    /// Publishes the lines that are whole, but not more than `quota`.
    fn publish(&mut self, publisher: &Publisher, quota: usize, now: Timestamp) -> Turn {
        let (max, tracer) = (publisher.bounds().max_object(), publisher.tracer());
        let mut start = 0;
        let left = loop {
            let end = memchr::memchr(b'\n', &self.buffer[self.scanned..]).map(|at| self.scanned + at);
            let line = &self.buffer[start..end.unwrap_or(self.buffer.len())];
            if line.len() > max {
                let message = format!("the line is longer than {max} bytes; nothing after it was read");
                let refusal = Refusal::new(RefusalKind::TooLarge, message);
                self.answers.push((Err(refusal), Produced::default()));
                break Left::TooLong;
            }
            // What has no end yet is not looked at again and again: it may come byte by byte.
            let Some(end) = end else {
                self.scanned = self.buffer.len();
                break if line.is_empty() { Left::Nothing } else { Left::Part { new: start > 0 } };
            };
            if !line.trim_ascii().is_empty() {
                if self.answers.len() == quota {
                    break Left::Lines;
                }
                let produced = Produced::begin_alone(tracer.as_ref());
                self.answers.push((publisher.publish_one(line, now), produced));
            }
            start = end + 1;
            self.scanned = start;
        };
        self.buffer.advance(start);
        self.scanned -= start;
        Turn { taken: self.answers.len(), left }
    }

    /// Writes the answers of the last turn. Where one is not known yet, what comes before it is written first.
    async fn reply<W: AsyncWrite + Unpin>(
        &mut self,
        publisher: &Publisher,
        output: &mut W,
    ) -> io::Result<()> {
        let mut text = Vec::with_capacity(48 * self.answers.len());
        for (answer, mut produced) in self.answers.drain(..) {
            let receipt = match answer {
                Ok(receipt) => receipt,
                Err(refusal) => {
                    produced.end(Some(&refusal));
                    put_refusal(publisher, &mut text, &refusal);
                    continue;
                }
            };
            let mut told = pin!(receipt.acknowledged());
            let known = std::future::poll_fn(|cx| Poll::Ready(told.as_mut().poll(cx))).await;
            let told = match known {
                Poll::Ready(told) => told,
                Poll::Pending => {
                    output.write_all(&text).await?;
                    text.clear();
                    told.await
                }
            };
            match told {
                Ok((id, streams)) => {
                    produced.put([(id, streams)].into_iter());
                    produced.end(None);
                    reply::put_receipt(&mut text, id, streams);
                    text.push(b'\n');
                }
                Err(error) => {
                    let refusal = not_kept(error, false);
                    produced.end(Some(&refusal));
                    put_refusal(publisher, &mut text, &refusal);
                }
            }
        }
        output.write_all(&text).await
    }
}

fn put_refusal(publisher: &Publisher, text: &mut Vec<u8>, refusal: &Refusal) {
    publisher.tell(refusal);
    text.extend_from_slice(&refusal.to_json());
    text.push(b'\n');
}
