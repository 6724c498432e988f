//! A set of address ranges that is quick to look up.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use picket_model::behavior::Cidr;

/// The addresses of a list of ranges. IPv4-mapped IPv6 addresses count as IPv4; otherwise the families are apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Addresses {
    /// First and last address of each range, sorted, disjoint.
    v4: Vec<(u32, u32)>,
    /// First and last address of each range, sorted, disjoint.
    v6: Vec<(u128, u128)>,
}

impl Addresses {
    /// All addresses that at least one of the ranges holds.
    pub(crate) fn of(cidrs: &[Cidr]) -> Self {
        let mut all = Self::default();
        for cidr in cidrs {
            match cidr.network {
                IpAddr::V4(network) => {
                    let host = u32::MAX.checked_shr(u32::from(cidr.prefix_bits)).unwrap_or(0);
                    all.v4.push((network.to_bits() & !host, network.to_bits() | host));
                }
                IpAddr::V6(network) => {
                    let host = u128::MAX.checked_shr(u32::from(cidr.prefix_bits)).unwrap_or(0);
                    all.v6.push((network.to_bits() & !host, network.to_bits() | host));
                }
            }
        }
        Self {
            v4: disjoint(all.v4),
            v6: disjoint(all.v6),
        }
    }

    /// Whether a range holds the address.
    pub(crate) fn holds(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(address) => holds(&self.v4, Ipv4Addr::to_bits(address)),
            IpAddr::V6(address) => holds(&self.v6, Ipv6Addr::to_bits(address)),
        }
    }
}

fn disjoint<T: Ord + Copy>(mut ranges: Vec<(T, T)>) -> Vec<(T, T)> {
    ranges.sort_unstable();
    let mut merged: Vec<(T, T)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match merged.last_mut() {
            Some(previous) if first <= previous.1 => previous.1 = previous.1.max(last),
            _ => merged.push((first, last)),
        }
    }
    merged
}

fn holds<T: Ord + Copy>(ranges: &[(T, T)], address: T) -> bool {
    let n_not_after = ranges.partition_point(|&(first, _)| first <= address);
    n_not_after
        .checked_sub(1)
        .and_then(|at| ranges.get(at))
        .is_some_and(|&(_, last)| address <= last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cidr(text: &str) -> Cidr {
        let (network, bits) = text.split_once('/').unwrap();
        Cidr {
            text: text.to_owned(),
            network: network.parse().unwrap(),
            prefix_bits: bits.parse().unwrap(),
        }
    }

    #[test]
    fn ranges_hold_their_addresses_and_no_others() {
        let set = Addresses::of(&[
            cidr("10.0.0.0/8"),
            cidr("10.1.0.0/16"),
            cidr("192.0.2.7/32"),
            cidr("fd00::/8"),
            cidr("2001:db8::1/128"),
        ]);
        for (address, is_held) in [
            ("10.0.0.0", true),
            ("10.255.255.255", true),
            ("11.0.0.0", false),
            ("9.255.255.255", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("::ffff:10.9.8.7", true),
            ("fd12::1", true),
            ("fe00::", false),
            ("2001:db8::1", true),
            ("2001:db8::2", false),
            ("::a00:1", false),
        ] {
            assert_eq!(set.holds(address.parse().unwrap()), is_held, "{address}");
        }
        let all = Addresses::of(&[cidr("0.0.0.0/0")]);
        assert!(all.holds("255.255.255.255".parse().unwrap()));
        assert!(!all.holds("::".parse().unwrap()), "families are apart");
        assert!(!Addresses::default().holds("10.0.0.1".parse().unwrap()));
    }

    proptest! {
        #[test]
        fn agrees_with_a_plain_search(
            ranges in prop::collection::vec((any::<u32>(), 0u8..=32), 0..12),
            address in any::<u32>(),
        ) {
            let cidrs: Vec<Cidr> = ranges
                .iter()
                .map(|&(network, prefix_bits)| Cidr {
                    text: String::new(),
                    network: IpAddr::V4(network.into()),
                    prefix_bits,
                })
                .collect();
            let expected = ranges.iter().any(|&(network, bits)| {
                bits == 0 || (network ^ address) >> (32 - u32::from(bits)) == 0
            });
            prop_assert_eq!(Addresses::of(&cidrs).holds(IpAddr::V4(address.into())), expected);
        }
    }
}
