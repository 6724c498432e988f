//! The kernel's socket tables: `/proc/net/tcp`, `tcp6`, `udp` and `udp6`.
//!
//! Source: the kernel's `Documentation/networking/proc_net_tcp.rst`. A table is read line by line, so what it costs does
//! not grow with the number of sockets.

use std::io::{self, BufRead, Read as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// One socket of a table. IPv4-mapped addresses are IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Socket {
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    pub(super) state: State,
}

/// What a socket is doing. The kernel gives TCP and UDP sockets states of one numbering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// TCP: data flows. UDP: bound to one remote.
    Connected,
    /// TCP only: takes connections.
    Listening,
    /// TCP: closed. UDP: takes datagrams from anyone.
    Unconnected,
    /// On the way from one to another.
    Passing,
}

/// Why a table cannot be believed.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadTable {
    /// The kernel does not hand it out.
    #[error("cannot be read")]
    Read(#[from] io::Error),
    /// A line is not as documented. Skipping it could hide a socket, and an empty list would end an alarm.
    #[error("line {n_line} is not as expected")]
    Line {
        /// Counted from 1.
        n_line: usize,
    },
}

/// The most bytes of a line; the kernel's have at most some 180.
pub(super) const LINE_BYTES_MAX: u64 = 1024;

/// Hands each socket of a table to `take`.
///
/// # Errors
/// The table cannot be read to its end, or not be understood.
pub(super) fn each_socket(table: impl BufRead, mut take: impl FnMut(Socket)) -> Result<(), BadTable> {
    each_line(table, |n_line, line| {
        // The first line is the table's head.
        if 1 < n_line {
            take(socket(line).ok_or(BadTable::Line { n_line })?);
        }
        Ok(())
    })
}

/// Hands each line of a kernel table, with its number from 1, to `take`.
pub(super) fn each_line(
    mut table: impl BufRead,
    mut take: impl FnMut(usize, &str) -> Result<(), BadTable>,
) -> Result<(), BadTable> {
    let mut line = Vec::new();
    for n_line in 1.. {
        line.clear();
        if table.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        let text = line.strip_suffix(b"\n").and_then(|line| str::from_utf8(line).ok());
        take(n_line, text.ok_or(BadTable::Line { n_line })?)?;
    }
    Ok(())
}

/// `  0: 0100007F:1F90 00000000:0000 0A ...`
fn socket(line: &str) -> Option<Socket> {
    let mut words = line.split_ascii_whitespace().skip(1);
    Some(Socket {
        local: address(words.next()?)?,
        remote: address(words.next()?)?,
        state: match number(words.next()?, 2)? {
            1 => State::Connected,
            7 => State::Unconnected,
            10 => State::Listening,
            _ => State::Passing,
        },
    })
}

/// `0100007F:1F90`: the address as words of 32 bits, each printed as a number of the host; the port as a number.
fn address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::try_from(number(port, 4)?).ok()?;
    let word = |n: usize| Some(number(address.get(8 * n..8 * n + 8)?, 8)?.to_ne_bytes());
    let ip: IpAddr = match address.len() {
        8 => Ipv4Addr::from(word(0)?).into(),
        32 => {
            let mut bytes = [0; 16];
            for (n, four) in bytes.chunks_exact_mut(4).enumerate() {
                four.copy_from_slice(&word(n)?);
            }
            Ipv6Addr::from(bytes).into()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip.to_canonical(), port))
}

/// A number of exactly `n_digits` hexadecimal digits.
fn number(digits: &str, n_digits: usize) -> Option<u32> {
    // `from_str_radix` would take a sign.
    let is_number = digits.len() == n_digits && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    is_number.then(|| u32::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sockets(table: &[u8]) -> Result<Vec<Socket>, BadTable> {
        let mut sockets = Vec::new();
        each_socket(table, |socket| sockets.push(socket)).map(|()| sockets)
    }

    fn in_words(table: &[u8]) -> Vec<String> {
        let in_words = |Socket { local, remote, state }: Socket| format!("{local} {remote} {state:?}");
        sockets(table).unwrap().into_iter().map(in_words).collect()
    }

    // Recorded in a network namespace with a bridge, a VETH pair and addresses of the documentation ranges; what stood
    // behind them is in tests/data/gateway/README.md.
    const TCP: &[u8] = include_bytes!("../../tests/data/gateway/net/tcp");
    const TCP6: &[u8] = include_bytes!("../../tests/data/gateway/net/tcp6");
    const UDP: &[u8] = include_bytes!("../../tests/data/gateway/net/udp");

    #[test]
    #[cfg(target_endian = "little")]
    fn recorded_tables_are_understood() {
        assert_eq!(
            in_words(TCP6),
            [
                "[2001:db8::10]:443 [::]:0 Listening",
                "[::]:22 [::]:0 Listening",
                "[::]:8080 [::]:0 Listening",
                "[2001:db8::10]:50004 [2001:db8:1::7]:8883 Connected",
                "127.0.0.1:8080 127.0.0.1:50005 Connected",
            ]
        );
        assert_eq!(
            in_words(UDP),
            [
                "127.0.0.1:323 0.0.0.0:0 Unconnected",
                "0.0.0.0:5353 0.0.0.0:0 Unconnected",
                "192.0.2.10:40001 203.0.113.9:53 Connected",
            ]
        );
        assert_eq!(sockets(TCP).unwrap().len(), 12);
    }

    #[test]
    fn a_line_that_is_not_understood_spoils_the_table() {
        let head = "  sl  local_address rem_address   st\n";
        for (line, is_good) in [
            ("   0: 0100007F:1F90 00000000:0000 0A\n", true),
            ("   0: 0100007F:1F90 00000000:0000 ZZ\n", false),
            ("   0: 0100007F:1F90 00000000:0000 +A\n", false),
            ("   0: 0100007F:1F90 00000000:0000\n", false),
            ("   0: 0100007F:1F900 00000000:0000 0A\n", false),
            ("   0: 0100007F 00000000:0000 0A\n", false),
            ("   0: 0100007:1F90 00000000:0000 0A\n", false),
            ("   0: é100007:1F90 00000000:0000 0A\n", false),
            ("   0: 0100007F:1F90 00000000:0000 0A", false),
            ("\n", false),
            ("", true),
        ] {
            assert_eq!(sockets(format!("{head}{line}").as_bytes()).is_ok(), is_good, "{line:?}");
        }
        assert!(sockets(b"").unwrap().is_empty());
        assert!(matches!(
            sockets(format!("{head}{}", "x".repeat(2000)).as_bytes()),
            Err(BadTable::Line { n_line: 2 })
        ));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            let _ = sockets(&bytes);
        }

        #[test]
        fn a_damaged_table_is_read_without_panic(at in 0..TCP6.len(), byte: u8, end in 0..=TCP6.len()) {
            let mut table = TCP6.to_vec();
            table[at] = byte;
            table.truncate(end);
            let _ = sockets(&table);
        }
    }
}
