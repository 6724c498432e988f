//! Questions to the kernel over netlink: the frame around questions and answers.
//!
//! Source: RFC 3549 and the kernel's `Documentation/userspace-api/netlink`.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{self, AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType};

/// One message of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Message<'a> {
    /// What the body is, in the numbering of the protocol that was asked.
    pub(super) kind: u16,
    /// What follows the frame.
    pub(super) body: &'a [u8],
}

const ERROR: u16 = 2;
const DONE: u16 = 3;

/// Flags of a question for all there is: request, root, match.
const DUMP: u16 = 0x301;

const HEAD_BYTES: usize = 16;

/// The most bytes of an answer: ten thousand addresses.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// How long the kernel, which answers at once, may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks for all that `kind` stands for, and gives the answer's bytes, to be read by [`messages`].
///
/// # Errors
/// The kernel, or what confines this process, does not let it ask.
pub(super) fn ask(protocol: Option<Protocol>, kind: u16, body: &[u8]) -> io::Result<Vec<u8>> {
    let socket = net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
    set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
    let kernel = SocketAddrNetlink::new(0, 0);
    net::bind(&socket, &kernel)?;
    net::sendto(&socket, &question(kind, body), SendFlags::empty(), &kernel)?;
    answer(&socket)
}

fn question(kind: u16, body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(HEAD_BYTES + body.len()).unwrap_or(u32::MAX);
    let mut question = Vec::with_capacity(HEAD_BYTES + body.len());
    question.extend(len.to_ne_bytes());
    question.extend(kind.to_ne_bytes());
    question.extend(DUMP.to_ne_bytes());
    question.extend([0; 8]); // sequence number and sender: one question per socket needs neither
    question.extend(body);
    question
}

fn answer(socket: &OwnedFd) -> io::Result<Vec<u8>> {
    let mut answer = Vec::new();
    let mut part = vec![0; 32 * 1024];
    while answer.len() < ANSWER_BYTES_MAX {
        let (n, _) = net::recv(socket, part.as_mut_slice(), RecvFlags::empty())?;
        let part = part.get(..n).unwrap_or_default();
        let is_last = messages(part).any(|message| message.kind == DONE);
        if let Some(refusal) = messages(part).find(|message| message.kind == ERROR) {
            let code = refusal.body.first_chunk().map_or(0, |code| i32::from_ne_bytes(*code));
            return Err(io::Error::from_raw_os_error(code.saturating_neg()));
        }
        answer.extend(part);
        if is_last || n == 0 {
            return Ok(answer);
        }
    }
    Err(io::ErrorKind::FileTooLarge.into())
}

/// The messages of an answer; ends where a length lies.
pub(super) fn messages(answer: &[u8]) -> impl Iterator<Item = Message<'_>> {
    let mut rest = answer;
    std::iter::from_fn(move || {
        let len = usize::try_from(u32::from_ne_bytes(*rest.first_chunk()?)).ok()?;
        let kind = u16::from_ne_bytes(*rest.get(4..)?.first_chunk()?);
        let body = rest.get(HEAD_BYTES..len)?;
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some(Message { kind, body })
    })
}

/// The attributes that follow a body's fixed part, by kind; ends where a length lies.
pub(super) fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let len = usize::from(u16::from_ne_bytes(*rest.first_chunk()?));
        let kind = u16::from_ne_bytes(*rest.get(2..)?.first_chunk()?);
        let value = rest.get(4..len)?;
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_question_reads_back() {
        let question = question(22, &[1, 2, 3]);
        assert_eq!(
            messages(&question).collect::<Vec<_>>(),
            [Message {
                kind: 22,
                body: &[1, 2, 3]
            }]
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            for message in messages(&bytes) {
                let _ = attributes(message.body).count();
            }
            let _ = attributes(&bytes).count();
        }

        #[test]
        fn lengths_may_lie(lens in prop::collection::vec(0_u32..64, 0..16)) {
            let bytes: Vec<u8> = lens.iter().flat_map(|len| len.to_ne_bytes()).collect();
            let _ = messages(&bytes).count();
            let _ = attributes(&bytes).count();
        }
    }
}
