//! Ranges of addresses.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::Cidr;

/// Why a text is no range of addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is no address range, expected one such as 10.0.0.0/8, fd00::/8 or 192.0.2.7")]
pub struct BadCidr {
    /// The text as found, at most 80 characters of it.
    pub found: String,
}

impl Cidr {
    /// The most bytes a range has as text: the service model's bound.
    pub const LEN_BYTES_MAX: usize = 43;

    /// Whether the address is in the range. An IPv4-mapped IPv6 address counts as IPv4.
    pub fn contains(&self, address: &IpAddr) -> bool {
        match (self.network, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => leading_v4(address, self.prefix_bits) == network,
            (IpAddr::V6(network), IpAddr::V6(address)) => leading_v6(address, self.prefix_bits) == network,
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

impl FromStr for Cidr {
    type Err = BadCidr;

    fn from_str(text: &str) -> Result<Self, BadCidr> {
        let bad = || BadCidr {
            found: text.chars().take(80).collect(),
        };
        if Self::LEN_BYTES_MAX < text.len() {
            return Err(bad());
        }
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| bad())?;
        let n_bits: u8 = if address.is_ipv4() { 32 } else { 128 };
        let prefix_bits = match prefix {
            Some(digits) if digits.bytes().all(|digit| digit.is_ascii_digit()) => digits.parse().map_err(|_| bad())?,
            Some(_) => return Err(bad()),
            None => n_bits,
        };
        if n_bits < prefix_bits {
            return Err(bad());
        }
        // The 96 bits before a mapped address are fixed: a longer prefix is one of the IPv4 address.
        let (network, prefix_bits) = match (address, address.to_canonical()) {
            (IpAddr::V6(_), IpAddr::V4(mapped)) if 96 <= prefix_bits => {
                (leading_v4(mapped, prefix_bits - 96).into(), prefix_bits - 96)
            }
            (IpAddr::V4(address), _) => (leading_v4(address, prefix_bits).into(), prefix_bits),
            (IpAddr::V6(address), _) => (leading_v6(address, prefix_bits).into(), prefix_bits),
        };
        Ok(Self {
            text: text.to_owned(),
            network,
            prefix_bits,
        })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn leading_v4(address: Ipv4Addr, prefix_bits: u8) -> Ipv4Addr {
    let mask = u32::MAX.checked_shl(32 - u32::from(prefix_bits)).unwrap_or(0);
    Ipv4Addr::from_bits(address.to_bits() & mask)
}

fn leading_v6(address: Ipv6Addr, prefix_bits: u8) -> Ipv6Addr {
    let mask = u128::MAX.checked_shl(128 - u32::from(prefix_bits)).unwrap_or(0);
    Ipv6Addr::from_bits(address.to_bits() & mask)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_their_addresses() {
        for (range, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("10.1.2.3/8", "10.9.9.9", "9.1.2.3"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
            ("192.0.2.7/31", "192.0.2.6", "192.0.2.8"),
            ("0.0.0.0/0", "255.255.255.255", "::1"),
            ("::/0", "fd00::1", "10.0.0.1"),
            ("fd00::/8", "fdff::1", "fe00::1"),
            ("2001:db8::1", "2001:db8::1", "2001:db8::2"),
            ("::ffff:10.0.0.0/104", "10.1.2.3", "11.0.0.0"),
            ("::ffff:10.0.0.9", "10.0.0.9", "10.0.0.8"),
            ("10.0.0.0/8", "::ffff:10.1.1.1", "::ffff:11.1.1.1"),
            ("::ffff:10.0.0.0/95", "::fffe:1.2.3.4", "10.0.0.0"),
        ] {
            let cidr: Cidr = range.parse().unwrap();
            assert_eq!(cidr.to_string(), range);
            assert!(cidr.contains(&inside.parse().unwrap()), "{range} {inside}");
            assert!(!cidr.contains(&outside.parse().unwrap()), "{range} {outside}");
        }
    }

    #[test]
    fn other_texts_are_no_ranges() {
        for text in [
            "",
            "/8",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10.0.0/8",
            "::/129",
            "::1%eth0",
            "a.b",
            "10.0.0.0/8/8",
        ] {
            assert!(text.parse::<Cidr>().is_err(), "{text:?}");
        }
    }
}
