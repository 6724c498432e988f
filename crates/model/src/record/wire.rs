//! The bytes of a record in the log: one byte of version, then positional CBOR.
//!
//! A log outlives the program that wrote it. Whoever changes the layout here or in the report's own `wire` module adds a
//! version and keeps reading the old one.

use std::convert::Infallible;

use minicbor::decode::{Decoder, Error as BadItem};
use minicbor::encode::{Encoder, Error as Unwritten};

use super::metering::{
    read_departure, read_meter, read_presence, read_threshold, write_departure, write_meter, write_presence,
    write_threshold,
};
use super::{Member, Record, ReportRecord, Sender, Stamped};
use crate::name::CertificateId;
use crate::report::wire::{self as report_wire, open, read_list, read_name, write_list};
use crate::time::Timestamp;

/// The version that is written.
const VERSION: u8 = 1;

/// Room made for a record before it is written: that of a report with some thirty ports and connections.
const RESERVED_BYTES: usize = 512;

/// What kind of record follows; numbers are never used again for something else.
mod kind {
    pub(super) const REPORT: u8 = 0;
    pub(super) const CONFIG: u8 = 1;
    pub(super) const MEMBER: u8 = 2;
    pub(super) const TICK: u8 = 3;
    pub(super) const CLOCK: u8 = 4;
    pub(super) const METER: u8 = 5;
    pub(super) const CONNECTED: u8 = 6;
    pub(super) const DISCONNECTED: u8 = 7;
    pub(super) const SESSIONS_ENDED: u8 = 8;
    pub(super) const THRESHOLD: u8 = 9;
}

/// Why bytes are no record: the log is damaged, or was written by a newer program.
#[derive(Debug, thiserror::Error)]
pub enum BadRecord {
    /// No bytes at all.
    #[error("record is empty, expected a version and a body")]
    Empty,
    /// A version that this program does not read.
    #[error("record has version {found}, expected {VERSION}")]
    Version {
        /// The first byte.
        found: u8,
    },
    /// The body is not what its version promises.
    #[error("record of version {VERSION} cannot be read")]
    Body(#[source] BadItem),
    /// More bytes than the record needs.
    #[error("record ends {n_bytes} bytes before its bytes do")]
    Trailing {
        /// How many are left.
        n_bytes: usize,
    },
}

impl Stamped {
    /// The record as the log holds it.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(RESERVED_BYTES);
        bytes.push(VERSION);
        let mut pen = Encoder::new(bytes);
        let written = write(self, &mut pen);
        debug_assert!(written.is_ok(), "writing into memory cannot fail");
        pen.into_writer()
    }

    /// Reads a record of the log.
    ///
    /// # Errors
    /// The bytes are damaged or of an unknown version: nothing after them in the partition can be judged.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadRecord> {
        match bytes.split_first() {
            None => Err(BadRecord::Empty),
            Some((&VERSION, body)) => {
                let mut items = Decoder::new(body);
                let stamped = read(&mut items).map_err(BadRecord::Body)?;
                match body.len().saturating_sub(items.position()) {
                    0 => Ok(stamped),
                    n_bytes => Err(BadRecord::Trailing { n_bytes }),
                }
            }
            Some((&found, _)) => Err(BadRecord::Version { found }),
        }
    }
}

/// `[at, kind]`, and for most kinds the body as a third item.
fn write(stamped: &Stamped, pen: &mut Encoder<Vec<u8>>) -> Result<(), Unwritten<Infallible>> {
    let n_items = match stamped.record {
        Record::Tick | Record::SessionsEnded => 2,
        _ => 3,
    };
    pen.array(n_items)?.i64(stamped.at.millis())?;
    match &stamped.record {
        Record::Report(record) => write_report(pen.u8(kind::REPORT)?, record),
        Record::Config { revision } => pen.u8(kind::CONFIG)?.u64(*revision).map(drop),
        Record::Member(member) => write_member(pen.u8(kind::MEMBER)?, member),
        Record::Tick => pen.u8(kind::TICK).map(drop),
        Record::Clock { old, new } => {
            pen.u8(kind::CLOCK)?.array(2)?.i64(old.millis())?.i64(new.millis())?;
            Ok(())
        }
        Record::Meter(meter) => write_meter(pen.u8(kind::METER)?, meter),
        Record::Connected(presence) => write_presence(pen.u8(kind::CONNECTED)?, presence),
        Record::Disconnected(presence, reason) => write_departure(pen.u8(kind::DISCONNECTED)?, presence, *reason),
        Record::SessionsEnded => pen.u8(kind::SESSIONS_ENDED).map(drop),
        Record::Threshold(threshold) => write_threshold(pen.u8(kind::THRESHOLD)?, threshold),
    }
}

fn read(items: &mut Decoder<'_>) -> Result<Stamped, BadItem> {
    let n_items = items.array()?;
    let at = read_time(items)?;
    let position = items.position();
    let record = match (items.u8()?, n_items) {
        (kind::REPORT, Some(3)) => Record::Report(Box::new(read_report(items)?)),
        (kind::CONFIG, Some(3)) => Record::Config { revision: items.u64()? },
        (kind::MEMBER, Some(3)) => Record::Member(read_member(items)?),
        (kind::TICK, Some(2)) => Record::Tick,
        (kind::CLOCK, Some(3)) => {
            open(items, 2)?;
            let (old, new) = (read_time(items)?, read_time(items)?);
            Record::Clock { old, new }
        }
        (kind::METER, Some(3)) => Record::Meter(read_meter(items)?),
        (kind::CONNECTED, Some(3)) => Record::Connected(read_presence(items)?),
        (kind::DISCONNECTED, Some(3)) => {
            let (presence, reason) = read_departure(items)?;
            Record::Disconnected(presence, reason)
        }
        (kind::SESSIONS_ENDED, Some(2)) => Record::SessionsEnded,
        (kind::THRESHOLD, Some(3)) => Record::Threshold(read_threshold(items)?),
        (found, n_items) => {
            return Err(BadItem::message(format!(
                "record is of kind {found} with {n_items:?} items, expected 0 to 9 with 3 items (3 and 8: with 2)"
            ))
            .at(position));
        }
    };
    Ok(Stamped { at, record })
}

/// `[thing, payload hash, certificate, client id, is attached, report]`
fn write_report(pen: &mut Encoder<Vec<u8>>, record: &ReportRecord) -> Result<(), Unwritten<Infallible>> {
    let ReportRecord {
        thing,
        payload_hash,
        sender,
        report,
    } = record;
    pen.array(6)?.str(thing.as_str())?.bytes(payload_hash)?;
    pen.bytes(sender.certificate.as_bytes())?
        .str(sender.client_id.as_str())?;
    pen.bool(sender.is_attached)?;
    report_wire::write(report, pen)
}

fn read_report(items: &mut Decoder<'_>) -> Result<ReportRecord, BadItem> {
    open(items, 6)?;
    Ok(ReportRecord {
        thing: read_name(items)?,
        payload_hash: read_bytes(items)?,
        sender: Sender {
            certificate: CertificateId::from_bytes(read_bytes(items)?),
            client_id: read_name(items)?,
            is_attached: items.bool()?,
        },
        report: report_wire::read(items)?,
    })
}

/// `[thing, is registered, groups]`
fn write_member(pen: &mut Encoder<Vec<u8>>, member: &Member) -> Result<(), Unwritten<Infallible>> {
    let Member {
        thing,
        is_registered,
        groups,
    } = member;
    pen.array(3)?.str(thing.as_str())?.bool(*is_registered)?;
    write_list(pen, groups, |pen, group| pen.str(group.as_str()).map(drop))
}

fn read_member(items: &mut Decoder<'_>) -> Result<Member, BadItem> {
    open(items, 3)?;
    Ok(Member {
        thing: read_name(items)?,
        is_registered: items.bool()?,
        groups: read_list(items, read_name)?,
    })
}

pub(super) fn read_time(items: &mut Decoder<'_>) -> Result<Timestamp, BadItem> {
    items.i64().map(Timestamp::from_millis)
}

pub(super) fn read_bytes<const N: usize>(items: &mut Decoder<'_>) -> Result<[u8; N], BadItem> {
    let at = items.position();
    let bytes = items.bytes()?;
    <[u8; N]>::try_from(bytes).map_err(|_| BadItem::message(format!("{} bytes, expected {N}", bytes.len())).at(at))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::connection::DisconnectReason;
    use crate::fleet::{Quantity, Threshold, WindowKey};
    use crate::meter::{ClientMeter, DimensionMeter, Meter, Presence, Sizes, Tally};
    use crate::report::{
        Connection, CustomValue, DeviceMetrics, EstablishedConnections, ListeningPort, ListeningPorts, NetworkStats,
        Report, Voided, arbitrary,
    };

    fn stamped(record: Record) -> Stamped {
        Stamped {
            at: Timestamp::from_millis(1_600_000_000_123),
            record,
        }
    }

    /// A report with each kind of value once.
    fn full_report() -> Record {
        let custom = [
            ("batt", CustomValue::Number(71.5)),
            ("fw", CustomValue::StringList(vec!["v_1".to_owned()])),
            ("peers", CustomValue::IpList(vec![[172, 0, 0, 10].into()])),
            ("temps", CustomValue::NumberList(vec![-1.0])),
        ];
        let metrics = DeviceMetrics {
            listening_tcp_ports: Some(ListeningPorts {
                ports: Some(vec![ListeningPort {
                    port: 22,
                    interface: Some("eth0".to_owned()),
                }]),
                total: Some(2),
            }),
            listening_udp_ports: None,
            network_stats: Some(NetworkStats {
                bytes_in: Some(1),
                bytes_out: None,
                packets_in: Some(300),
                packets_out: Some(0),
            }),
            established_connections: Some(EstablishedConnections {
                connections: Some(vec![Connection {
                    remote_addr: "2001:db8::1".parse().unwrap(),
                    remote_port: Some(443),
                    local_port: None,
                    local_interface: None,
                }]),
                total: None,
            }),
        };
        Record::Report(Box::new(ReportRecord {
            thing: "Thing03".parse().unwrap(),
            payload_hash: [0xaa; 16],
            sender: Sender {
                certificate: CertificateId::from_bytes([0xbb; 32]),
                client_id: "SensorDevice03".parse().unwrap(),
                is_attached: true,
            },
            report: Report {
                report_id: 1_530_304_554,
                metrics,
                custom_metrics: custom.map(|(name, value)| (name.parse().unwrap(), value)).into(),
                voided: vec![Voided {
                    path: "network_stats.bytes_out".to_owned(),
                    reason: "-1 is below zero".to_owned(),
                }],
            },
        }))
    }

    fn full_meter() -> Record {
        let mut total = Tally {
            n_received: 3,
            n_refused: 5,
            ..Tally::default()
        };
        total.note_sent(26, [192, 0, 2, 1].into());
        total.note_sent(3_000, [192, 0, 2, 1].into());
        Record::Meter(Meter {
            clients: vec![ClientMeter {
                client_id: "Thing03".parse().unwrap(),
                is_genuine: true,
                certificate: CertificateId::from_bytes([0xbb; 32]),
                n_refused_attempts: 1,
                n_authorization_failures: 2,
                total,
                dimensions: vec![DimensionMeter {
                    dimension: "Door".parse().unwrap(),
                    inside: Tally::default(),
                    outside: Tally::default(),
                }],
            }],
        })
    }

    fn presence() -> Presence {
        Presence {
            client_id: "Thing03".parse().unwrap(),
            is_genuine: false,
            connection: 7,
            certificate: CertificateId::from_bytes([0xbb; 32]),
            address: [192, 0, 2, 1].into(),
        }
    }

    fn threshold(value: Option<Quantity>) -> Record {
        Record::Threshold(Threshold {
            window: WindowKey {
                profile: "p".parse().unwrap(),
                behavior: "b".parse().unwrap(),
                fingerprint: 9,
                end: Timestamp::from_millis(300_000),
            },
            value,
            n_devices: 3,
        })
    }

    /// These bytes are on people's disks. A change here is a new version, never an edit of the expected text.
    #[test]
    fn version_1_has_these_bytes() {
        let member = Member {
            thing: "Thing03".parse().unwrap(),
            is_registered: true,
            groups: vec!["Fleet".parse().unwrap()],
        };
        let clock = Record::Clock {
            old: Timestamp::from_millis(5),
            new: Timestamp::from_millis(-1),
        };
        for (record, expected) in [
            (Record::Tick, "01821b00000174876e807b03"),
            (Record::Config { revision: 7 }, "01831b00000174876e807b0107"),
            (clock, "01831b00000174876e807b04820520"),
            (
                Record::Member(member),
                "01831b00000174876e807b0283675468696e673033f58165466c656574",
            ),
            (Record::SessionsEnded, "01821b00000174876e807b08"),
            (
                full_meter(),
                "01831b00000174876e807b058187675468696e673033f55820bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\
                 bbbbbbbbbbbbbbbbbbbbbbbb0102848402190bd2181a190bb803058144c0000201818364446f6f72f6f6",
            ),
            (
                Record::Connected(presence()),
                "01831b00000174876e807b0685675468696e673033f4075820bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\
                 bbbbbbbbbbbbbbbbbbbbbbbb44c0000201",
            ),
            (
                Record::Disconnected(presence(), DisconnectReason::ApiInitiated),
                "01831b00000174876e807b078285675468696e673033f4075820bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\
                 bbbbbbbbbbbbbbbbbbbbbbbbbb44c00002010a",
            ),
            (
                threshold(Some(Quantity::Count(7))),
                "01831b00000174876e807b098661706162091a000493e00703",
            ),
            (threshold(None), "01831b00000174876e807b098661706162091a000493e0f603"),
            (
                threshold(Some(Quantity::Number(1.5))),
                "01831b00000174876e807b098661706162091a000493e0fb3ff800000000000003",
            ),
            (
                full_report(),
                "01831b00000174876e807b0086675468696e67303350aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa5820bbbbbbbbbb\
                 bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb6e53656e736f724465766963653033f5871a\
                 5b36982a82818216646574683002f68401f619012c008281845020010db80000000000000000000000011901bb\
                 f6f6f6a464626174748200fb4051e0000000000062667782028163765f3165706565727382038144ac00000a65\
                 74656d7073820181fbbff00000000000008182776e6574776f726b5f73746174732e62797465735f6f7574702d\
                 312069732062656c6f77207a65726f",
            ),
        ] {
            let stamped = stamped(record);
            let bytes = stamped.encode();
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex, expected, "{:?}", stamped.record);
            assert_eq!(Stamped::decode(&bytes).unwrap(), stamped);
        }
    }

    #[test]
    fn damage_is_told_from_a_newer_version() {
        let whole = stamped(full_report()).encode();
        let with = |at: usize, byte: u8| {
            let mut bytes = whole.clone();
            bytes[at] = byte;
            bytes
        };
        for (bytes, expected) in [
            (vec![], "record is empty, expected a version and a body"),
            (with(0, 2), "record has version 2, expected 1"),
            (
                whole[..40].to_vec(),
                "record of version 1 cannot be read: end of input bytes",
            ),
            (
                [whole.as_slice(), &[0, 0]].concat(),
                "record ends 2 bytes before its bytes do",
            ),
            (
                with(11, 10),
                "record of version 1 cannot be read: decode error at position 10: record is of kind 10 with Some(3) \
                 items, expected 0 to 9 with 3 items (3 and 8: with 2)",
            ),
            (
                with(12, 0x85),
                "record of version 1 cannot be read: decode error at position 11: array has 5 items, expected 6",
            ),
        ] {
            let error = Stamped::decode(&bytes).unwrap_err();
            let source = std::error::Error::source(&error).map_or(String::new(), |source| format!(": {source}"));
            assert_eq!(format!("{error}{source}"), expected);
        }
    }

    #[test]
    fn a_promised_length_takes_no_memory() {
        // Member groups: an array of 2^64-1 items of which none is there.
        let bytes = [
            &[VERSION, 0x83, 0x00, kind::MEMBER, 0x83, 0x61, b'T', 0xf5, 0x9b][..],
            &[0xff; 8],
        ]
        .concat();
        assert!(matches!(Stamped::decode(&bytes), Err(BadRecord::Body(_))));
    }

    prop_compose! {
        fn report_record()(
            thing in "\\PC{1,30}",
            client_id in "\\PC{1,30}",
            payload_hash: [u8; 16],
            certificate: [u8; 32],
            is_attached: bool,
            report in arbitrary::report(),
            voided in arbitrary::voided(),
        ) -> Record {
            Record::Report(Box::new(ReportRecord {
                thing: thing.parse().unwrap(),
                payload_hash,
                sender: Sender {
                    certificate: CertificateId::from_bytes(certificate),
                    client_id: client_id.parse().unwrap(),
                    is_attached,
                },
                report: Report { voided, ..report },
            }))
        }
    }

    prop_compose! {
        fn tally()(
            sizes in proptest::option::of((1u32.., any::<u64>(), any::<u32>(), any::<u32>())),
            (n_received, n_refused) in any::<(u32, u32)>(),
            addresses in proptest::collection::btree_set(any::<std::net::IpAddr>(), 0..3),
        ) -> Tally {
            let sent = sizes.map(|(n_messages, sum_bytes, min_bytes, max_bytes)| Sizes {
                n_messages, sum_bytes, min_bytes, max_bytes,
            });
            Tally { sent, n_received, n_refused, addresses }
        }
    }

    prop_compose! {
        fn dimension()(dimension in "[a-z]{1,9}", inside in tally(), outside in tally()) -> DimensionMeter {
            DimensionMeter { dimension: dimension.parse().unwrap(), inside, outside }
        }
    }

    prop_compose! {
        fn client()(
            client_id in "\\PC{1,30}",
            is_genuine: bool,
            certificate: [u8; 32],
            (n_refused_attempts, n_authorization_failures) in any::<(u32, u32)>(),
            total in tally(),
            dimensions in proptest::collection::vec(dimension(), 0..3),
        ) -> ClientMeter {
            ClientMeter {
                client_id: client_id.parse().unwrap(),
                is_genuine,
                certificate: CertificateId::from_bytes(certificate),
                n_refused_attempts,
                n_authorization_failures,
                total,
                dimensions,
            }
        }
    }

    fn record() -> impl Strategy<Value = Record> {
        let member = (
            "[a-zA-Z0-9:_-]{1,20}",
            any::<bool>(),
            proptest::collection::vec("[a-z]{1,9}", 0..4),
        );
        prop_oneof![
            report_record(),
            any::<u64>().prop_map(|revision| Record::Config { revision }),
            Just(Record::Tick),
            Just(Record::SessionsEnded),
            proptest::collection::vec(client(), 0..4).prop_map(|clients| Record::Meter(Meter { clients })),
            Just(Record::Connected(presence())),
            Just(Record::Disconnected(presence(), DisconnectReason::KeepAliveTimeout)),
            proptest::option::of(prop_oneof![
                any::<u64>().prop_map(Quantity::Count),
                (-1e9..1e9).prop_map(Quantity::Number),
            ])
            .prop_map(threshold),
            any::<(i64, i64)>().prop_map(|(old, new)| Record::Clock {
                old: Timestamp::from_millis(old),
                new: Timestamp::from_millis(new),
            }),
            member.prop_map(|(thing, is_registered, groups)| Record::Member(Member {
                thing: thing.parse().unwrap(),
                is_registered,
                groups: groups.iter().map(|group| group.parse().unwrap()).collect(),
            })),
        ]
    }

    proptest! {
        #[test]
        fn records_read_back(record in record(), at: i64) {
            let stamped = Stamped { at: Timestamp::from_millis(at), record };
            prop_assert_eq!(Stamped::decode(&stamped.encode()).unwrap(), stamped);
        }

        #[test]
        fn no_bytes_make_the_reader_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Stamped::decode(&[&[VERSION], body.as_slice()].concat());
        }

        #[test]
        fn no_damage_makes_the_reader_panic(record in record(), damage: (usize, u8), cut: usize) {
            let mut bytes = stamped(record).encode();
            let len = bytes.len();
            bytes[damage.0 % len] = damage.1;
            let _ = Stamped::decode(&bytes);
            let _ = Stamped::decode(&bytes[..cut % len]);
        }
    }
}
