//! How much each interface has sent and received since it exists: `/proc/net/dev`.

use std::io::BufRead;

use super::proc_net::{BadTable, each_line};

/// One interface and its counters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Interface {
    /// Its name, which another may have had before.
    pub(crate) name: String,
    /// Its index, which no other has had since boot; `None` if the kernel does not tell.
    pub(crate) index: Option<u32>,
    /// What it counted.
    pub(crate) counters: Counters,
}

/// Cumulative counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    /// Bytes received.
    pub(crate) bytes_in: u64,
    /// Bytes sent.
    pub(crate) bytes_out: u64,
    /// Packets received.
    pub(crate) packets_in: u64,
    /// Packets sent.
    pub(crate) packets_out: u64,
}

impl Interface {
    /// Whether what it carries never leaves the device.
    pub(crate) fn is_loopback(&self) -> bool {
        self.name == "lo"
    }
}

/// Lines of the table's head.
const HEAD_LINES: usize = 2;

/// Reads the table. `index_of` translates a name.
///
/// # Errors
/// The table cannot be read to its end, or not be understood.
pub(super) fn read(table: impl BufRead, index_of: impl Fn(&str) -> Option<u32>) -> Result<Vec<Interface>, BadTable> {
    let mut interfaces = Vec::new();
    each_line(table, |n_line, line| {
        if HEAD_LINES < n_line {
            let (name, counters) = interface(line).ok_or(BadTable::Line { n_line })?;
            interfaces.push(Interface {
                name: name.to_owned(),
                index: index_of(name),
                counters,
            });
        }
        Ok(())
    })?;
    Ok(interfaces)
}

/// `  eth0: 990 11 0 0 0 0 0 0 1324 16 0 0 0 0 0 0`; old kernels write no blank behind the colon.
fn interface(line: &str) -> Option<(&str, Counters)> {
    let (name, numbers) = line.rsplit_once(':')?;
    let mut numbers = numbers
        .split_ascii_whitespace()
        .map(|number| number.parse::<u64>().ok());
    let counters = Counters {
        bytes_in: numbers.next()??,
        packets_in: numbers.next()??,
        bytes_out: numbers.nth(6)??,
        packets_out: numbers.next()??,
    };
    Some((name.trim_ascii(), counters))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DEV: &[u8] = include_bytes!("../../tests/data/gateway/net/dev");

    #[test]
    fn a_recorded_table_is_understood() {
        let found: Vec<_> = read(DEV, |name| (name == "br-lan").then_some(4))
            .unwrap()
            .into_iter()
            .map(
                |Interface {
                     name,
                     index,
                     counters: c,
                 }| {
                    format!(
                        "{name} {index:?} {} {} {} {}",
                        c.bytes_in, c.packets_in, c.bytes_out, c.packets_out
                    )
                },
            )
            .collect();
        assert_eq!(
            found,
            [
                "lo None 1276 5 1276 5",
                "eth0 None 990 11 1324 16",
                "br-lan Some(4) 0 0 704 8"
            ]
        );
    }

    #[test]
    fn lines_of_other_shapes_are_refused() {
        for (line, expected) in [
            ("  eth0:1 2 0 0 0 0 0 0 3 4 0 0 0 0 0 0", Some(("eth0", 3))),
            (
                "eth0.100: 1 2 0 0 0 0 0 0 18446744073709551615 4",
                Some(("eth0.100", u64::MAX)),
            ),
            ("  eth0: 1 2 0 0 0 0 0 0 18446744073709551616 4", None),
            ("  eth0: 1 2 0 0 0 0 0 0 -3 4", None),
            ("  eth0: 1 2 0 0 0 0 0 0 3", None),
            ("  eth0 1 2 0 0 0 0 0 0 3 4", None),
            ("", None),
        ] {
            let found = interface(line).map(|(name, counters)| (name, counters.bytes_out));
            assert_eq!(found, expected, "{line:?}");
        }
    }

    proptest! {
        #[test]
        fn a_damaged_table_is_read_without_panic(at in 0..DEV.len(), byte: u8, end in 0..=DEV.len()) {
            let mut table = DEV.to_vec();
            table[at] = byte;
            table.truncate(end);
            let _ = read(&table[..], |_| None);
        }
    }
}
