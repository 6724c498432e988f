//! What the kernel says about this device, at one point in time.
//!
//! Nothing here knows what was reported before: [`crate::meter`] makes differences of the cumulative counters, and
//! [`crate::reporter`] makes reports of samples.

mod counters;
mod cpu;
mod interfaces;
mod netlink;
mod proc_net;
mod shortened;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufReader};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use picket_model::report::{Connection, EstablishedConnections, ListeningPort, ListeningPorts};

pub(crate) use counters::{Counters, Interface};
pub(crate) use cpu::CpuTicks;
use interfaces::{Indices, Interfaces};
use proc_net::{BadTable, Socket, State, each_socket};
use shortened::Shortened;

/// What the kernel said. What could not be read whole is `None`: no datapoint is better than a wrong one, since an empty
/// list would end an alarm.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Sample {
    /// TCP ports that take connections.
    pub(crate) tcp: Option<ListeningPorts>,
    /// UDP ports that take datagrams from anyone.
    pub(crate) udp: Option<ListeningPorts>,
    /// TCP connections over which data flows.
    pub(crate) connections: Option<EstablishedConnections>,
    /// Every interface's counters.
    pub(crate) interfaces: Option<Vec<Interface>>,
    /// How busy the processors were since boot.
    pub(crate) cpu: Option<CpuTicks>,
    /// What could not be read, in words.
    pub(crate) troubles: Vec<String>,
}

/// Takes samples.
#[derive(Debug)]
pub(crate) struct Collector {
    proc_folder: PathBuf,
    indices: io::Result<Indices>,
}

/// The most ports of one protocol in a report. With [`CONNECTIONS_MAX`] this keeps a report within 128 KiB, whatever the
/// lengths of its names and addresses.
const PORTS_MAX: usize = 250;

/// The most connections in a report.
const CONNECTIONS_MAX: usize = 600;

/// How much of a table is read at once.
const READ_BYTES: usize = 16 * 1024;

impl Collector {
    /// A collector of what this process's kernel and network namespace have.
    pub(crate) fn new() -> Self {
        Self::with_proc("/proc")
    }

    fn with_proc(folder: impl Into<PathBuf>) -> Self {
        Self {
            proc_folder: folder.into(),
            indices: Indices::open(),
        }
    }

    /// Takes a sample.
    pub(crate) fn collect(&self) -> Sample {
        let mut troubles = Vec::new();
        let interfaces = match &self.indices {
            Ok(indices) => Interfaces::read(indices),
            Err(error) => Err(error.kind().into()),
        };
        let interfaces = interfaces.unwrap_or_else(|error| {
            troubles.push(format!("interfaces' addresses: {error}; ports are listed by address"));
            Interfaces::default()
        });
        let mut tcp = Sockets::default();
        let is_tcp_whole = self.read_sockets("tcp", |socket| tcp.take(&socket, &interfaces), &mut troubles);
        let mut udp = Sockets::default();
        let is_udp_whole = self.read_sockets("udp", |socket| udp.take(&socket, &interfaces), &mut troubles);
        let counters = self.table("net/dev").map_err(BadTable::from);
        let index_of = |name: &str| self.indices.as_ref().ok()?.index(name);
        Sample {
            connections: is_tcp_whole.then(|| connections(tcp.connected, &interfaces)),
            tcp: is_tcp_whole.then(|| ports(tcp.listening)),
            udp: is_udp_whole.then(|| ports(udp.unconnected)),
            interfaces: counters
                .and_then(|table| counters::read(table, index_of))
                .map_err(|error| troubles.push(trouble("net/dev", &error)))
                .ok(),
            cpu: std::fs::read_to_string(self.proc_folder.join("stat"))
                .ok()
                .and_then(|stat| CpuTicks::parse(&stat)),
            troubles,
        }
    }

    /// Reads the tables of both address families. A kernel without IPv6 has no second one.
    fn read_sockets(&self, protocol: &str, mut take: impl FnMut(Socket), troubles: &mut Vec<String>) -> bool {
        let mut is_whole = true;
        for (name, is_needed) in [(format!("net/{protocol}"), true), (format!("net/{protocol}6"), false)] {
            let read = match self.table(&name) {
                Err(error) if !is_needed && error.kind() == io::ErrorKind::NotFound => Ok(()),
                Err(error) => Err(error.into()),
                Ok(table) => each_socket(table, &mut take),
            };
            if let Err(error) = read {
                troubles.push(trouble(&name, &error));
                is_whole = false;
            }
        }
        is_whole
    }

    fn table(&self, name: &str) -> io::Result<BufReader<File>> {
        File::open(self.proc_folder.join(Path::new(name))).map(|file| BufReader::with_capacity(READ_BYTES, file))
    }
}

fn trouble(name: &str, error: &BadTable) -> String {
    let cause = std::error::Error::source(error).map_or(String::new(), |source| format!(": {source}"));
    format!("/proc/{name}: {error}{cause}; not reported")
}

/// The sockets of one protocol that a report speaks of.
struct Sockets {
    listening: BTreeSet<ListeningPort>,
    unconnected: BTreeSet<ListeningPort>,
    connected: Shortened<IpAddr, Socket>,
}

impl Default for Sockets {
    fn default() -> Self {
        Self {
            listening: BTreeSet::new(),
            unconnected: BTreeSet::new(),
            connected: Shortened::new(CONNECTIONS_MAX),
        }
    }
}

impl Sockets {
    fn take(&mut self, socket: &Socket, interfaces: &Interfaces) {
        let ports = match socket.state {
            State::Connected => return self.connected.push(socket.remote.ip(), *socket),
            State::Listening => &mut self.listening,
            State::Unconnected => &mut self.unconnected,
            State::Passing => return,
        };
        // A set, because several sockets may share a port: SO_REUSEPORT, or an address of each family.
        ports.insert(ListeningPort {
            port: socket.local.port(),
            interface: Some(interfaces.name(socket.local.ip())),
        });
    }
}

fn ports(set: BTreeSet<ListeningPort>) -> ListeningPorts {
    let mut list = Shortened::new(PORTS_MAX);
    for item in set {
        list.push(item.port, item);
    }
    let (mut ports, total) = list.finish();
    ports.sort_unstable();
    ListeningPorts {
        ports: Some(ports),
        total: Some(total),
    }
}

fn connections(sockets: Shortened<IpAddr, Socket>, interfaces: &Interfaces) -> EstablishedConnections {
    let (sockets, total) = sockets.finish();
    let connection = |socket: Socket| Connection {
        remote_addr: socket.remote.ip(),
        remote_port: Some(socket.remote.port()),
        local_port: Some(socket.local.port()),
        local_interface: Some(interfaces.name(socket.local.ip())),
    };
    EstablishedConnections {
        connections: Some(sockets.into_iter().map(connection).collect()),
        total: Some(total),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fmt::Write as _;

    use picket_model::report::{KeyStyle, Report};

    use super::*;

    fn gateway() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/gateway")
    }

    fn in_words(ports: Option<ListeningPorts>) -> String {
        let ListeningPorts { ports, total } = ports.unwrap();
        let words = ports.unwrap().into_iter().map(|ListeningPort { port, interface }| {
            let interface = interface.unwrap();
            format!("{port}@{interface} ")
        });
        format!("{}of {}", words.collect::<String>(), total.unwrap())
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn a_recorded_gateway_is_seen_whole() {
        // The recorded host's addresses are not this one's, so they stand for themselves.
        let sample = Collector::with_proc(gateway()).collect();
        assert_eq!(
            in_words(sample.tcp),
            "22@0.0.0.0 22@:: 53@lo 80@192.0.2.65 443@192.0.2.10 443@2001:db8::10 6379@lo 8080@:: 9000@0.0.0.0 of 9"
        );
        assert_eq!(in_words(sample.udp), "323@lo 546@:: 5353@0.0.0.0 5353@:: of 4");
        let connections = sample.connections.unwrap();
        let mut remotes: Vec<String> = connections
            .connections
            .unwrap()
            .into_iter()
            .map(|connection| format!("{}:{}", connection.remote_addr, connection.remote_port.unwrap()))
            .collect();
        remotes.sort();
        assert_eq!(
            remotes,
            [
                "127.0.0.1:50005",
                "127.0.0.1:8080",
                "198.51.100.7:8883",
                "2001:db8:1::7:8883",
                "203.0.113.9:443",
                "203.0.113.9:443",
            ]
        );
        assert_eq!(connections.total, Some(6));
        assert_eq!(sample.interfaces.unwrap().len(), 3);
        assert!(sample.cpu.is_some());
    }

    #[test]
    fn what_cannot_be_read_whole_is_absent() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("net")).unwrap();
        for name in ["net/tcp", "net/udp", "net/udp6", "net/dev"] {
            std::fs::copy(gateway().join(name), folder.path().join(name)).unwrap();
        }
        let collector = Collector::with_proc(folder.path());
        let sample = collector.collect();
        assert!(
            sample.tcp.is_some() && sample.connections.is_some(),
            "a kernel without IPv6"
        );
        assert!(sample.udp.is_some() && sample.cpu.is_none());
        assert_eq!(sample.troubles, [] as [&str; 0]);

        std::fs::write(folder.path().join("net/udp6"), "head\nnonsense\n").unwrap();
        std::fs::remove_file(folder.path().join("net/tcp")).unwrap();
        std::fs::remove_file(folder.path().join("net/dev")).unwrap();
        let sample = collector.collect();
        assert_eq!((sample.tcp, sample.connections, sample.udp), (None, None, None));
        assert_eq!(sample.interfaces, None);
        assert_eq!(sample.troubles.len(), 3);
        assert_eq!(
            sample.troubles[1],
            "/proc/net/udp6: line 2 is not as expected; not reported"
        );
    }

    #[test]
    fn a_report_of_a_crowded_host_stays_within_its_bound() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("net")).unwrap();
        std::fs::copy(gateway().join("net/dev"), folder.path().join("net/dev")).unwrap();
        let line = |n: u32, state: &str| {
            let address = format!("FF0DB8FF{:08X}FFFFFFFF0{:07X}", 0xFFFF_0000 + n / 2, n);
            let remote = format!("FF0DB8FF{:08X}FFFFFFFF0{:07X}", 0xFFFF_0000 + n / 3, n / 3);
            format!("{n}: {address}:{:04X} {remote}:FFFF {state}\n", 30_000 + n % 20_000)
        };
        for name in ["tcp", "tcp6", "udp", "udp6"] {
            let mut table = "head\n".to_owned();
            for n in 0..4000 {
                let state = if name.starts_with("udp") {
                    "07"
                } else {
                    ["0A", "01"][usize::from(n % 2 == 0)]
                };
                write!(table, "{}", line(n, state)).unwrap();
            }
            std::fs::write(folder.path().join("net").join(name), table).unwrap();
        }
        let sample = Collector::with_proc(folder.path()).collect();
        let connections = sample.connections.clone().unwrap();
        assert_eq!(
            (connections.connections.unwrap().len(), connections.total),
            (600, Some(4000))
        );
        let report = Report {
            report_id: u64::MAX >> 1,
            metrics: picket_model::report::DeviceMetrics {
                listening_tcp_ports: sample.tcp,
                listening_udp_ports: sample.udp,
                network_stats: None,
                established_connections: sample.connections,
            },
            custom_metrics: BTreeMap::new(),
            voided: Vec::new(),
        };
        let size_bytes = report.to_json(KeyStyle::Long).len();
        assert!(
            (100_000..Report::SIZE_BYTES_MAX - 1000).contains(&size_bytes),
            "{size_bytes} bytes"
        );
    }

    #[test]
    fn this_host_is_seen() {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let socket = std::net::UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        let sample = Collector::new().collect();
        let has = |ports: Option<ListeningPorts>, port| {
            let wanted = ListeningPort {
                port,
                interface: Some("lo".to_owned()),
            };
            ports.unwrap().ports.unwrap().contains(&wanted)
        };
        assert!(has(sample.tcp, listener.local_addr().unwrap().port()));
        assert!(has(sample.udp, socket.local_addr().unwrap().port()));
        assert!(sample.interfaces.unwrap().iter().any(Interface::is_loopback));
        assert_eq!(sample.troubles, [] as [&str; 0]);
    }
}
