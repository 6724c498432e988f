//! A byte stream with a buffer on each side: what was read and is not decoded yet, what was encoded and is not sent yet.
//!
//! One future moves both directions, so that neither can block the other, and nothing is lost when it is dropped. An idle
//! link holds no buffer: bytes are read into the stack first.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The most bytes taken from the stream at once: the payload of one TLS record.
const READ_SIZE_BYTES: usize = 16 * 1024;

/// A stream and its two buffers.
#[derive(Debug)]
pub struct Link<S> {
    stream: S,
    /// Read, not decoded yet.
    pub inbound: BytesMut,
    /// Encoded, not sent yet.
    pub outbound: BytesMut,
    n_sent_bytes: u64,
    is_flushed: bool,
}

/// What [`Link::progress`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There is more in [`Link::inbound`].
    Read,
    /// All of [`Link::outbound`] has been sent and flushed.
    Sent,
    /// The other side will send no more.
    Closed,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Link<S> {
    /// A link over this stream, with empty buffers.
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            inbound: BytesMut::new(),
            outbound: BytesMut::new(),
            n_sent_bytes: 0,
            is_flushed: true,
        }
    }

    /// The stream underneath.
    pub fn stream(&self) -> &S {
        &self.stream
    }

    /// How many bytes have left [`Link::outbound`] since the beginning.
    pub fn n_sent_bytes(&self) -> u64 {
        self.n_sent_bytes
    }

    /// Whether nothing waits to be sent.
    pub fn is_sent(&self) -> bool {
        self.outbound.is_empty() && self.is_flushed
    }

    /// Sends what waits, and reads if `may_read`: done as soon as one of them got somewhere. Loses nothing when dropped.
    ///
    /// # Errors
    /// The stream is broken.
    pub async fn progress(&mut self, may_read: bool) -> io::Result<Progress> {
        poll_fn(|cx| self.poll_progress(cx, may_read)).await
    }

    /// [`Link::progress`] as a poll.
    ///
    /// # Errors
    /// The stream is broken.
    pub fn poll_progress(&mut self, cx: &mut Context<'_>, may_read: bool) -> Poll<io::Result<Progress>> {
        if !self.is_sent() && self.poll_send(cx)?.is_ready() {
            return Poll::Ready(Ok(Progress::Sent));
        }
        if may_read { self.poll_read(cx) } else { Poll::Pending }
    }

    /// Sends what waits, then says to the other side that no more comes.
    ///
    /// # Errors
    /// The stream is broken.
    pub async fn close(&mut self) -> io::Result<()> {
        poll_fn(|cx| {
            ready!(self.poll_send(cx))?;
            Pin::new(&mut self.stream).poll_shutdown(cx)
        })
        .await
    }

    /// Gives the buffers back if they are empty.
    pub fn release_buffers(&mut self) {
        if self.inbound.is_empty() {
            self.inbound = BytesMut::new();
        }
        if self.outbound.is_empty() {
            self.outbound = BytesMut::new();
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outbound.is_empty() {
            self.is_flushed = false;
            let n_bytes = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.outbound))?;
            if n_bytes == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.outbound.advance(n_bytes);
            self.n_sent_bytes = self.n_sent_bytes.wrapping_add(u64::try_from(n_bytes).unwrap_or(0));
        }
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.is_flushed = true;
        Poll::Ready(Ok(()))
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Progress>> {
        let mut scratch = [MaybeUninit::uninit(); READ_SIZE_BYTES];
        let mut read = ReadBuf::uninit(&mut scratch);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read))?;
        if read.filled().is_empty() {
            return Poll::Ready(Ok(Progress::Closed));
        }
        self.inbound.extend_from_slice(read.filled());
        Poll::Ready(Ok(Progress::Read))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn both_directions_move_in_one_future() {
        let (near, mut far) = tokio::io::duplex(4);
        let mut link = Link::new(near);
        link.outbound.extend_from_slice(b"longer than the pipe");
        let mut received = [0; 20];
        let (sent, read) = tokio::join!(
            async {
                while link.progress(false).await.unwrap() != Progress::Sent {}
                link.n_sent_bytes()
            },
            far.read_exact(&mut received),
        );
        read.unwrap();
        assert_eq!((&received[..], sent), (&b"longer than the pipe"[..], 20));
        far.write_all(b"back").await.unwrap();
        assert_eq!(link.progress(true).await.unwrap(), Progress::Read);
        assert_eq!(&link.inbound[..], b"back");
        drop(far);
        assert_eq!(link.progress(true).await.unwrap(), Progress::Closed);
    }
}
