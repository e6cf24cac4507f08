//! How long an HTTP/2 client may leave an answer where it is.
//!
//! A client that opens no window takes nothing, and yet its socket is never full. hyper asks a body for its next piece
//! only when there was room for the last one, so a task that waits with a piece in hand waits for its client. Pieces
//! are small, so that a slow client is seen to move.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::proxy::{ReadAhead, Stall};

/// The most bytes of a piece: one DATA frame of the size that every client takes (RFC 9113, section 4.2).
const PIECE: usize = 16 * 1024;

tokio::task_local! {
    static ROOM: Rc<Room>;
}

/// What a body and the task that sends it know of each other.
#[derive(Debug, Default)]
struct Room {
    /// The body was asked for a piece since the task last looked.
    moved: Cell<bool>,
    /// It gave one, and has not been asked for another.
    awaited: Cell<bool>,
    /// What is to be read of the answer meanwhile.
    ahead: RefCell<Option<ReadAhead>>,
}

/// Runs the task of one HTTP/2 stream, and gives it up (which resets the stream) when the client has made no room
/// for its answer for too long.
pub(super) async fn while_it_moves(stream: impl Future<Output: 'static> + 'static, patience: Duration) {
    let room = Rc::new(Room::default());
    let mut stream = pin!(ROOM.scope(room.clone(), stream));
    let mut stall = Stall::new(patience);
    poll_fn(|cx| {
        if stream.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if room.moved.take() {
            stall.moved();
        }
        if !room.awaited.get() {
            return Poll::Pending;
        }
        room.read_ahead(cx);
        stall.poll(cx)
    })
    .await;
}

impl Room {
    fn read_ahead(&self, cx: &mut Context<'_>) {
        let mut ahead = self.ahead.borrow_mut();
        if ahead.as_ref().is_some_and(|rest| !rest.poll(cx)) {
            *ahead = None;
        }
    }
}

/// The body of an answer in pieces.
#[derive(Debug)]
pub(super) struct Pieces<B> {
    inner: B,
    /// What of a larger piece has not been asked for.
    rest: Bytes,
    room: Rc<Room>,
}

impl<B> Pieces<B> {
    /// To be called within the task that will send it.
    pub(super) fn new(inner: B, ahead: Option<ReadAhead>) -> Self {
        let room = ROOM.try_with(Rc::clone).unwrap_or_default();
        *room.ahead.borrow_mut() = ahead;
        Self { inner, rest: Bytes::new(), room }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Pieces<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        let polled = if this.rest.is_empty() {
            Pin::new(&mut this.inner).poll_frame(cx)
        } else {
            Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut this.rest)))))
        };
        this.room.moved.set(true);
        this.room.awaited.set(matches!(&polled, Poll::Ready(Some(Ok(_)))));
        polled.map_ok(|frame| match frame.into_data() {
            Ok(mut data) => {
                this.rest = data.split_off(data.len().min(PIECE));
                Frame::data(data)
            }
            Err(other) => other,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (inner, rest) = (self.inner.size_hint(), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(inner.lower() + rest);
        hint
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body_util::{BodyExt as _, Full};
    use tokio::time::{Instant, sleep};

    use super::*;

    #[tokio::test]
    async fn a_large_piece_is_cut_and_nothing_is_lost() {
        let bytes: Bytes = (0..100_000u32).map(|n| (n % 251) as u8).collect();
        let mut body = Pieces::new(Full::new(bytes.clone()), None);
        assert_eq!(body.size_hint().exact(), Some(100_000));
        let mut came = Vec::new();
        while let Some(frame) = body.frame().await {
            let data = frame.unwrap().into_data().unwrap();
            assert!(data.len() <= PIECE && !data.is_empty());
            came.extend(data);
            assert_eq!(body.size_hint().exact(), Some(100_000 - came.len() as u64));
            assert_eq!(body.is_end_stream(), came.len() == 100_000);
        }
        assert!(came == bytes);
    }

    #[tokio::test(start_paused = true)]
    async fn only_one_who_holds_a_piece_is_waited_for_in_vain() {
        let patience = Duration::from_secs(60);
        let begun = Instant::now();
        let pause = Duration::from_secs(50);
        let moving = async move {
            let mut body = Pieces::new(Full::new(Bytes::from(vec![0; 3 * PIECE])), None);
            // The app is slow to answer; then the client takes a piece now and then.
            sleep(3 * pause).await;
            while let Some(Ok::<_, Infallible>(_)) = body.frame().await {
                sleep(pause).await;
            }
        };
        while_it_moves(moving, patience).await;
        assert_eq!(begun.elapsed(), 6 * pause);

        let begun = Instant::now();
        let stuck = async move {
            let mut body = Pieces::new(Full::new(Bytes::from_static(b"x")), None);
            body.frame().await;
            std::future::pending::<()>().await;
        };
        while_it_moves(stuck, patience).await;
        assert_eq!(begun.elapsed(), patience);
    }
}
