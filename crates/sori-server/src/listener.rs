//! Connections, so many at once: one more is closed again, and nobody's connection takes another's place for nothing.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum_server::accept::Accept;
use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;

/// What a client of HTTP/2 says first (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Accepts as the inner acceptor does, while there are places.
#[derive(Clone, Debug)]
pub struct Places<A> {
    inner: A,
    // A semaphore: one permit a connection, given back when it ends; when all are out, a new connection is closed.
    free: Arc<Semaphore>,
    opening: Duration,
}

impl<A> Places<A> {
    /// So many places; a connection that has not shown its protocol after `opening` loses its own.
    pub fn new(inner: A, places: usize, opening: Duration) -> Self {
        Self {
            inner,
            free: Arc::new(Semaphore::new(places)),
            opening,
        }
    }
}

impl<I, S, A> Accept<I, S> for Places<A>
where
    A: Accept<I, S> + Send + 'static,
    A::Stream: Send + Unpin,
    A::Service: Send,
    A::Future: Send + 'static,
{
    type Stream = Held<A::Stream>;
    type Service = A::Service;
    type Future = BoxFuture<'static, io::Result<(Self::Stream, Self::Service)>>;

    fn accept(&self, stream: I, service: S) -> Self::Future {
        let place = Arc::clone(&self.free).try_acquire_owned();
        let opening = self.opening;
        let accepted = place.is_ok().then(|| self.inner.accept(stream, service));
        Box::pin(async move {
            let (Ok(place), Some(accepted)) = (place, accepted) else {
                return Err(io::Error::other("all connections are taken"));
            };
            let (stream, service) = accepted.await?;
            Ok((
                Held {
                    _place: place,
                    stream,
                    opening: Some(Opening {
                        seen: 0,
                        over: Box::pin(tokio::time::sleep(opening)),
                    }),
                },
                service,
            ))
        })
    }
}

/// A connection with its place, which is given back before the connection closes.
#[derive(Debug)]
pub struct Held<S> {
    _place: OwnedSemaphorePermit,
    stream: S,
    /// Until it is known which protocol the client speaks: hyper keeps the time from there on only.
    opening: Option<Opening>,
}

/// The time in which a client shows its protocol.
#[derive(Debug)]
struct Opening {
    /// Bytes so far, all of them as in [`PREFACE`].
    seen: usize,
    over: Pin<Box<Sleep>>,
}

impl Opening {
    /// Whether these bytes, the next ones, tell which protocol it is.
    fn ends(&mut self, bytes: &[u8]) -> bool {
        let rest = &PREFACE[self.seen..];
        self.seen += bytes.len();
        !rest.starts_with(bytes) || bytes.len() == rest.len()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Held<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buf);
        let Some(opening) = &mut this.opening else {
            return read;
        };
        if read.is_pending() {
            ready!(opening.over.as_mut().poll(cx));
            let late = "the client does not say what it wants";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, late)));
        }
        if opening.ends(&buf.filled()[before..]) {
            this.opening = None;
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Held<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_bytes_tell_the_protocol() {
        let h2: Vec<_> = PREFACE.chunks(5).collect();
        for (pieces, ends) in [
            (vec![&b"G"[..]], true),
            (vec![b"P", b"O"], true),
            (vec![b"P", b"RI * "], false),
            (h2[..4].to_vec(), false),
            (h2, true),
            (vec![&[PREFACE, b"\0\0\0\x04"].concat()], true),
        ] {
            let over = Box::pin(tokio::time::sleep(Duration::ZERO));
            let mut opening = Opening { seen: 0, over };
            let (last, first) = pieces.split_last().expect("pieces");
            assert!(!first.iter().any(|piece| opening.ends(piece)), "{pieces:?}");
            assert_eq!(opening.ends(last), ends, "{pieces:?}");
        }
    }
}
