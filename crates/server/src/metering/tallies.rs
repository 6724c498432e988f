//! What clients did since it was written last, added up.

use std::collections::{BTreeMap, HashMap};

use picket_model::meter::{ClientMeter, Meter};
use picket_model::name::DeviceName;
use picket_store::log::PartitionId;

/// Clients in one record, so that it has a bound whatever they did.
const N_CLIENTS_PER_RECORD_MAX: usize = 1024;

/// Clients that are counted while the log takes nothing; of further ones nothing is known.
const N_CLIENTS_MAX: usize = 1 << 17;

/// What clients did, added up; in the order of a record: by name, genuine ones first.
#[derive(Debug, Default)]
pub(super) struct Tallies {
    by_client: BTreeMap<(DeviceName, bool), ClientMeter>,
    n_lost: u64,
}

impl Tallies {
    /// Adds what a client did after all that is here.
    pub(super) fn add(&mut self, meter: ClientMeter) {
        let key = (meter.client_id.clone(), !meter.is_genuine);
        if let Some(known) = self.by_client.get_mut(&key) {
            known.add(&meter);
        } else if self.by_client.len() < N_CLIENTS_MAX {
            self.by_client.insert(key, meter);
        } else {
            self.n_lost += 1;
        }
    }

    /// Takes everything, as records.
    pub(super) fn take(&mut self, partition: impl Fn(&DeviceName) -> PartitionId) -> Vec<(PartitionId, Meter)> {
        let mut clients: HashMap<PartitionId, Vec<ClientMeter>> = HashMap::new();
        let mut full = Vec::new();
        for meter in std::mem::take(&mut self.by_client).into_values() {
            let partition = partition(&meter.client_id);
            let clients = clients.entry(partition).or_default();
            clients.push(meter);
            if clients.len() == N_CLIENTS_PER_RECORD_MAX {
                let clients = std::mem::take(clients);
                full.push((partition, Meter { clients }));
            }
        }
        let rest = clients.into_iter().filter(|(_, clients)| !clients.is_empty());
        full.extend(rest.map(|(partition, clients)| (partition, Meter { clients })));
        full
    }

    /// Puts back what the log refused: what is here came after it.
    pub(super) fn put_back(&mut self, meter: Meter) {
        for mut meter in meter.clients {
            let key = (meter.client_id.clone(), !meter.is_genuine);
            if let Some(later) = self.by_client.get(&key) {
                meter.add(later);
            } else if N_CLIENTS_MAX <= self.by_client.len() {
                self.n_lost += 1;
                continue;
            }
            self.by_client.insert(key, meter);
        }
    }

    /// How often something was not counted since this was asked last.
    pub(super) fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.n_lost)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use picket_model::meter::{DimensionMeter, Tally};
    use picket_model::name::CertificateId;

    use super::*;

    const HERE: PartitionId = PartitionId(0);

    fn meter(name: &str, is_genuine: bool, certificate: u8, n_received: u32) -> ClientMeter {
        ClientMeter {
            client_id: name.parse().unwrap(),
            is_genuine,
            certificate: CertificateId::from_bytes([certificate; 32]),
            n_refused_attempts: 1,
            n_authorization_failures: 2,
            total: Tally {
                n_received,
                ..Tally::default()
            },
            dimensions: vec![],
        }
    }

    #[test]
    fn what_the_log_refuses_is_added_to_what_comes_after_it() {
        let mut tallies = Tallies::default();
        for (name, is_genuine, certificate) in [("b", true, 1), ("a", false, 2), ("a", true, 3), ("b", true, 4)] {
            tallies.add(meter(name, is_genuine, certificate, 10));
        }
        let refused = tallies.take(|_| HERE);
        tallies.add(meter("b", true, 5, 1));
        tallies.add(meter("c", true, 6, 1));
        for (partition, meter) in refused {
            assert_eq!(partition, HERE);
            tallies.put_back(meter);
        }
        let records = tallies.take(|_| HERE);
        assert_eq!(records.len(), 1, "nothing is in two records");
        let clients = records[0].1.clients.iter().map(|client| {
            let counts = (
                client.total.n_received,
                client.n_refused_attempts,
                client.n_authorization_failures,
            );
            (
                client.client_id.as_str(),
                client.is_genuine,
                client.certificate.as_bytes()[0],
                counts,
            )
        });
        let found: Vec<_> = clients.collect();
        let expected = [
            ("a", true, 3, (10, 1, 2)),
            ("a", false, 2, (10, 1, 2)),
            ("b", true, 5, (21, 3, 6)), // the newest certificate, also when the older part comes back
            ("c", true, 6, (1, 1, 2)),
        ];
        assert_eq!(found, expected);
        assert!(tallies.take(|_| HERE).is_empty());
    }

    #[test]
    fn a_record_has_a_bound() {
        let mut tallies = Tallies::default();
        let dimension = |n: u32| DimensionMeter {
            dimension: format!("dimension-{n}-{}", "x".repeat(100)).parse().unwrap(),
            inside: addresses(),
            outside: addresses(),
        };
        for n in 0..2 * N_CLIENTS_PER_RECORD_MAX + 1 {
            let mut one = meter(&format!("{n:0>128}"), true, 1, u32::MAX);
            one.total = addresses();
            one.dimensions = (0..16).map(dimension).collect();
            tallies.add(one);
        }
        let records = tallies.take(|_| HERE);
        let n_clients: Vec<usize> = records.iter().map(|(_, meter)| meter.clients.len()).collect();
        assert_eq!(n_clients, [N_CLIENTS_PER_RECORD_MAX, N_CLIENTS_PER_RECORD_MAX, 1]);
        let stamped = picket_model::record::Stamped {
            at: picket_model::time::Timestamp::default(),
            record: picket_model::record::Record::Meter(records[0].1.clone()),
        };
        let size_bytes = stamped.encode().len();
        assert!(
            size_bytes <= picket_store::log::Append::SIZE_BYTES_MAX,
            "{size_bytes} bytes"
        );
    }

    /// As many as a tally holds, each as long as it gets.
    fn addresses() -> Tally {
        let addresses = (0..).map(|n: u16| [0x2001, 0xdb8, 1, 1, 1, 1, 1, n].into());
        Tally {
            n_received: u32::MAX,
            n_refused: u32::MAX,
            addresses: addresses
                .take(Tally::ADDRESSES_MAX)
                .collect::<BTreeSet<std::net::IpAddr>>(),
            ..Tally::default()
        }
    }
}
