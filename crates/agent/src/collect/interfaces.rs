//! Which interface a local address belongs to.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType, netdevice, socket_with};

use super::netlink;

/// The interfaces' addresses, as they are now.
#[derive(Debug, Default)]
pub(super) struct Interfaces {
    by_address: HashMap<IpAddr, String>,
}

/// Translates between an interface's name and its index, which no other interface has had since boot.
#[derive(Debug)]
pub(super) struct Indices {
    socket: OwnedFd,
}

/// Asks for addresses: `RTM_GETADDR`.
const GET_ADDRESSES: u16 = 22;

/// An address: `RTM_NEWADDR`.
const ADDRESS: u16 = 20;

/// Bytes before the attributes of an address: family, length of prefix, flags, scope, index of the interface.
const ADDRESS_HEAD_BYTES: usize = 8;

const LOOPBACK: &str = "lo";

impl Interfaces {
    /// Asks the kernel.
    ///
    /// # Errors
    /// It does not answer; then [`Interfaces::default`] names addresses by themselves.
    pub(super) fn read(indices: &Indices) -> io::Result<Self> {
        let answer = netlink::ask(None, GET_ADDRESSES, &[0; ADDRESS_HEAD_BYTES])?;
        Ok(Self::from_answer(&answer, |index| indices.name(index)))
    }

    fn from_answer(answer: &[u8], name_of: impl Fn(u32) -> Option<String>) -> Self {
        let by_address = netlink::messages(answer)
            .filter(|message| message.kind == ADDRESS)
            .filter_map(|message| address(message.body))
            .filter_map(|(address, index)| Some((address, name_of(index)?)))
            .collect();
        Self { by_address }
    }

    /// The interface of a socket that is bound to `local`, or what says it as well: the address itself where it is no
    /// interface's own, so `0.0.0.0` or `::` for all of them.
    pub(super) fn name(&self, local: IpAddr) -> String {
        match self.by_address.get(&local) {
            Some(name) => name.clone(),
            // All of 127.0.0.0/8 is the loopback's, though it has only one address of it.
            None if local.is_loopback() => LOOPBACK.to_owned(),
            None => local.to_string(),
        }
    }
}

impl Indices {
    /// Opens the socket through which the kernel is asked. It is never bound or connected.
    ///
    /// # Errors
    /// This process may have no sockets.
    pub(super) fn open() -> io::Result<Self> {
        let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
        Ok(Self { socket })
    }

    /// The index of the interface that has this name now.
    pub(super) fn index(&self, name: &str) -> Option<u32> {
        netdevice::name_to_index(&self.socket, name).ok()
    }

    fn name(&self, index: u32) -> Option<String> {
        netdevice::index_to_name(&self.socket, index).ok()
    }
}

/// The address, and the index of the interface that has it.
fn address(body: &[u8]) -> Option<(IpAddr, u32)> {
    const PEER_OR_OWN: u16 = 1;
    const OWN: u16 = 2;
    let index = u32::from_ne_bytes(*body.get(4..)?.first_chunk()?);
    // On a point-to-point link the first kind is the other end's address, and only the second is this one's.
    let of_kind = |wanted| netlink::attributes(body.get(ADDRESS_HEAD_BYTES..)?).find(|&(kind, _)| kind == wanted);
    let (_, bytes) = of_kind(OWN).or_else(|| of_kind(PEER_OR_OWN))?;
    let ip = match bytes.len() {
        4 => Ipv4Addr::from(*bytes.first_chunk()?).into(),
        16 => Ipv6Addr::from(*bytes.first_chunk()?).into(),
        _ => return None,
    };
    Some((ip, index))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    // The kernel's answer, recorded where the tables beside it were: see tests/data/gateway/README.md.
    const ANSWER: &[u8] = include_bytes!("../../tests/data/gateway/addresses.netlink");

    fn name_of(index: u32) -> Option<String> {
        Some(
            ["", "lo", "", "eth0", "br-lan"]
                .get(usize::try_from(index).ok()?)?
                .to_string(),
        )
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn addresses_belong_to_interfaces() {
        let interfaces = Interfaces::from_answer(ANSWER, name_of);
        for (address, expected) in [
            ("127.0.0.1", "lo"),
            ("127.0.0.53", "lo"),
            ("::1", "lo"),
            ("192.0.2.10", "eth0"),
            ("2001:db8::10", "eth0"),
            ("192.0.2.65", "br-lan"),
            ("0.0.0.0", "0.0.0.0"),
            ("::", "::"),
            ("192.0.2.11", "192.0.2.11"),
        ] {
            assert_eq!(interfaces.name(address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn this_host_has_a_loopback() {
        let indices = Indices::open().unwrap();
        let interfaces = Interfaces::read(&indices).unwrap();
        assert_eq!(interfaces.name(Ipv4Addr::LOCALHOST.into()), "lo");
        assert!(indices.index("lo").is_some());
        assert_eq!(indices.index("no-such-device"), None);
    }

    proptest! {
        #[test]
        fn a_damaged_answer_is_read_without_panic(at in 0..ANSWER.len(), byte: u8, end in 0..=ANSWER.len()) {
            let mut answer = ANSWER.to_vec();
            answer[at] = byte;
            answer.truncate(end);
            let _ = Interfaces::from_answer(&answer, name_of);
        }
    }
}
