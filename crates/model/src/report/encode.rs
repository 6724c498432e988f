//! Reports to bytes, as an agent sends them.

use super::pen::Pen;
use super::{
    Connection, CustomValue, DeviceMetrics, EstablishedConnections, ListeningPort, ListeningPorts, NetworkStats, Report,
};
use crate::topic::Format;

/// Which of the two spellings of its members a report is written with. Custom metrics have only one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyStyle {
    /// `header`, `report_id`, ...
    #[default]
    Long,
    /// `hed`, `rid`, ...
    Short,
}

impl Report {
    /// The report as a device sends it. What was voided is not written, and blocks that are `None` are left out.
    pub fn encode(&self, format: Format, style: KeyStyle) -> Vec<u8> {
        let mut writer = Writer {
            pen: Pen::new(format),
            style,
        };
        writer.report(self);
        writer.pen.into_bytes()
    }

    /// The report as JSON without white space.
    pub fn to_json(&self, style: KeyStyle) -> Vec<u8> {
        self.encode(Format::Json, style)
    }

    /// The report as CBOR of definite lengths.
    pub fn to_cbor(&self, style: KeyStyle) -> Vec<u8> {
        self.encode(Format::Cbor, style)
    }
}

/// A member's long and short name.
struct Key(&'static str, &'static str);

struct Writer {
    pen: Pen,
    style: KeyStyle,
}

impl Writer {
    fn report(&mut self, report: &Report) {
        let custom = (!report.custom_metrics.is_empty()).then_some(&report.custom_metrics);
        self.pen.begin_object(2 + usize::from(custom.is_some()));
        self.key(Key("header", "hed"));
        self.pen.begin_object(2);
        self.key(Key("report_id", "rid"));
        self.pen.whole(report.report_id);
        self.key(Key("version", "v"));
        self.pen.text("1.0");
        self.pen.end_object();
        self.key(Key("metrics", "met"));
        self.metrics(&report.metrics);
        if let Some(metrics) = custom {
            self.key(Key("custom_metrics", "cmet"));
            self.pen.begin_object(metrics.len());
            for (name, value) in metrics {
                self.pen.key(name.as_str());
                self.custom(value);
            }
            self.pen.end_object();
        }
        self.pen.end_object();
    }

    fn metrics(&mut self, metrics: &DeviceMetrics) {
        let DeviceMetrics {
            listening_tcp_ports: tcp,
            listening_udp_ports: udp,
            network_stats: stats,
            established_connections: connections,
        } = metrics;
        let is_there = [tcp.is_some(), udp.is_some(), stats.is_some(), connections.is_some()];
        self.pen.begin_object(n_true(&is_there));
        self.member(Key("listening_tcp_ports", "tp"), tcp.as_ref(), Self::ports);
        self.member(Key("listening_udp_ports", "up"), udp.as_ref(), Self::ports);
        self.member(Key("network_stats", "ns"), stats.as_ref(), Self::stats);
        self.member(Key("tcp_connections", "tc"), connections.as_ref(), |writer, block| {
            writer.pen.begin_object(1);
            writer.member(Key("established_connections", "ec"), Some(block), Self::connections);
            writer.pen.end_object();
        });
        self.pen.end_object();
    }

    fn ports(&mut self, block: &ListeningPorts) {
        let ListeningPorts { ports, total } = block;
        self.pen.begin_object(n_true(&[ports.is_some(), total.is_some()]));
        self.member(Key("ports", "pts"), ports.as_deref(), |writer, ports| {
            writer.list(ports, Self::port);
        });
        self.member(Key("total", "t"), *total, Self::whole);
        self.pen.end_object();
    }

    fn port(&mut self, item: &ListeningPort) {
        let ListeningPort { port, interface } = item;
        self.pen.begin_object(n_true(&[true, interface.is_some()]));
        self.member(Key("interface", "if"), interface.as_deref(), Self::text);
        self.member(Key("port", "pt"), Some(u64::from(*port)), Self::whole);
        self.pen.end_object();
    }

    fn stats(&mut self, stats: &NetworkStats) {
        let counters = [
            (Key("bytes_in", "bi"), stats.bytes_in),
            (Key("bytes_out", "bo"), stats.bytes_out),
            (Key("packets_in", "pi"), stats.packets_in),
            (Key("packets_out", "po"), stats.packets_out),
        ];
        self.pen
            .begin_object(counters.iter().filter(|(_, counter)| counter.is_some()).count());
        for (key, counter) in counters {
            self.member(key, counter, Self::whole);
        }
        self.pen.end_object();
    }

    fn connections(&mut self, block: &EstablishedConnections) {
        let EstablishedConnections { connections, total } = block;
        self.pen.begin_object(n_true(&[connections.is_some(), total.is_some()]));
        self.member(
            Key("connections", "cs"),
            connections.as_deref(),
            |writer, connections| {
                writer.list(connections, Self::connection);
            },
        );
        self.member(Key("total", "t"), *total, Self::whole);
        self.pen.end_object();
    }

    fn connection(&mut self, connection: &Connection) {
        let Connection {
            local_interface,
            local_port,
            ..
        } = connection;
        let is_there = [local_interface.is_some(), local_port.is_some(), true];
        self.pen.begin_object(n_true(&is_there));
        self.member(Key("local_interface", "li"), local_interface.as_deref(), Self::text);
        self.member(Key("local_port", "lp"), local_port.map(u64::from), Self::whole);
        self.member(
            Key("remote_addr", "rad"),
            Some(remote_addr(connection).as_str()),
            Self::text,
        );
        self.pen.end_object();
    }

    /// An array of one object of one member: a bare object is malformed.
    fn custom(&mut self, value: &CustomValue) {
        self.pen.begin_list(1);
        self.pen.begin_object(1);
        match value {
            CustomValue::Number(number) => {
                self.pen.key("number");
                self.pen.float(*number);
            }
            CustomValue::NumberList(numbers) => {
                self.pen.key("number_list");
                self.list(numbers, |writer, &number| writer.pen.float(number));
            }
            CustomValue::StringList(texts) => {
                self.pen.key("string_list");
                self.list(texts, |writer, text| writer.pen.text(text));
            }
            CustomValue::IpList(addresses) => {
                self.pen.key("ip_list");
                self.list(addresses, |writer, address| writer.pen.text(&address.to_string()));
            }
        }
        self.pen.end_object();
        self.pen.end_list();
    }

    fn key(&mut self, Key(long, short): Key) {
        self.pen.key(match self.style {
            KeyStyle::Long => long,
            KeyStyle::Short => short,
        });
    }

    fn member<T>(&mut self, key: Key, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        if let Some(value) = value {
            self.key(key);
            write(self, value);
        }
    }

    fn list<T>(&mut self, items: &[T], write: impl Fn(&mut Self, &T)) {
        self.pen.begin_list(items.len());
        for item in items {
            write(self, item);
        }
        self.pen.end_list();
    }

    fn whole(&mut self, number: u64) {
        self.pen.whole(number);
    }

    fn text(&mut self, text: &str) {
        self.pen.text(text);
    }
}

/// `ip:port`. IPv6 always has brackets: without, its last group would be read as the port.
fn remote_addr(connection: &Connection) -> String {
    let address = match connection.remote_addr {
        std::net::IpAddr::V4(address) => address.to_string(),
        std::net::IpAddr::V6(address) => format!("[{address}]"),
    };
    match connection.remote_port {
        Some(port) => format!("{address}:{port}"),
        None => address,
    }
}

fn n_true(flags: &[bool]) -> usize {
    flags.iter().filter(|&&flag| flag).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::report::arbitrary;

    /// AWS's documented examples, without white space and with members in our order.
    #[test]
    fn reports_look_as_documented() {
        let long = concat!(
            r#"{"header":{"report_id":1530304554,"version":"1.0"},"metrics":{"#,
            r#""listening_tcp_ports":{"ports":[{"interface":"eth0","port":22},{"port":53}],"total":2},"#,
            r#""network_stats":{"bytes_in":29358,"bytes_out":26485,"packets_in":101,"packets_out":113},"#,
            r#""tcp_connections":{"established_connections":{"connections":["#,
            r#"{"local_interface":"eth0","local_port":80,"remote_addr":"192.168.0.1:8000"}],"total":1}}},"#,
            r#""custom_metrics":{"batt":[{"number":71.5}],"fw":[{"string_list":["v_1","v_2"]}],"#,
            r#""peers":[{"ip_list":["172.0.0.10"]}],"temps":[{"number_list":[1.0,2.5]}]}}"#,
        );
        let short = concat!(
            r#"{"hed":{"rid":1530304554,"v":"1.0"},"met":{"#,
            r#""tp":{"pts":[{"if":"eth0","pt":22},{"pt":53}],"t":2},"#,
            r#""ns":{"bi":29358,"bo":26485,"pi":101,"po":113},"#,
            r#""tc":{"ec":{"cs":[{"li":"eth0","lp":80,"rad":"192.168.0.1:8000"}],"t":1}}},"#,
            r#""cmet":{"batt":[{"number":71.5}],"fw":[{"string_list":["v_1","v_2"]}],"#,
            r#""peers":[{"ip_list":["172.0.0.10"]}],"temps":[{"number_list":[1.0,2.5]}]}}"#,
        );
        let report = Report::from_json(long.as_bytes()).unwrap();
        for (style, expected) in [(KeyStyle::Long, long), (KeyStyle::Short, short)] {
            assert_eq!(String::from_utf8(report.to_json(style)).unwrap(), expected);
        }
        let cbor = minicbor::display(&report.to_cbor(KeyStyle::Short)).to_string();
        assert!(
            cbor.starts_with(
                r#"{"hed": {"rid": 1530304554, "v": "1.0"}, "met": {"tp": {"pts": [{"if": "eth0", "pt": 22}"#
            ),
            "{cbor}"
        );
    }

    #[test]
    fn an_empty_report_still_has_its_metrics() {
        let json = r#"{"header":{"report_id":1,"version":"1.0"},"metrics":{}}"#;
        let report = Report::from_json(json.as_bytes()).unwrap();
        assert_eq!(report.to_json(KeyStyle::Long), json.as_bytes());
    }

    proptest! {
        #[test]
        fn reports_read_back(report in arbitrary::report()) {
            for style in [KeyStyle::Long, KeyStyle::Short] {
                prop_assert_eq!(Report::from_json(&report.to_json(style)), Ok(report.clone()));
                prop_assert_eq!(Report::from_cbor(&report.to_cbor(style)), Ok(report.clone()));
            }
        }
    }
}
