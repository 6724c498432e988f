//! What the agent was told: as given, by flags and a file, and as checked.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use picket_model::name::{BadName, DeviceName};
use picket_model::report::KeyStyle;
use picket_model::topic::{BadFormat, DefenderTopic, Format, TopicKind};
use rustls::pki_types::{InvalidDnsNameError, ServerName};
use serde::Deserialize;

/// Settings as written, in a file or by flags; nothing is checked yet, and what is absent has a default or is missed.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Given {
    /// Host, or host and port.
    pub(crate) endpoint: Option<String>,
    /// The server's MQTT port.
    pub(crate) port: Option<u16>,
    /// PEM file of the certificates that the server's is checked against.
    pub(crate) root_ca: Option<PathBuf>,
    /// PEM file of the device's certificate.
    pub(crate) certificate: Option<PathBuf>,
    /// PEM file of the device's private key.
    pub(crate) private_key: Option<PathBuf>,
    /// MQTT client id.
    pub(crate) client_id: Option<String>,
    /// The thing that reports are for.
    pub(crate) thing_name: Option<String>,
    /// `json` or `cbor`.
    pub(crate) format: Option<String>,
    /// Seconds between reports.
    pub(crate) interval_secs: Option<u64>,
    /// Whether members of a report have short names.
    pub(crate) short_names: Option<bool>,
    /// Whether `cpu_usage` is reported.
    pub(crate) include_custom_metrics: Option<bool>,
    /// Whether traffic of the loopback interface counts.
    pub(crate) count_loopback: Option<bool>,
}

/// What a report looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Encoding.
    pub(crate) format: Format,
    /// Long or short names.
    pub(crate) keys: KeyStyle,
    /// Whether `cpu_usage` is reported.
    pub(crate) has_custom_metrics: bool,
    /// Whether traffic of the loopback interface counts.
    pub(crate) counts_loopback: bool,
}

/// Settings with nothing left to check but the files' contents.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// What a report looks like.
    pub(crate) shape: Shape,
    /// Where reports are published; its thing is the one that they are for.
    pub(crate) topic: DefenderTopic,
    /// Time from one report to the next, at least [`INTERVAL_SECS_MIN`] and at most [`INTERVAL_SECS_MAX`].
    pub(crate) interval: Duration,
    /// The server.
    pub(crate) server: Server,
    /// MQTT client id.
    pub(crate) client_id: DeviceName,
    /// PEM file of the certificates that the server's is checked against.
    pub(crate) root_ca: PathBuf,
    /// PEM file of the device's certificate.
    pub(crate) certificate: PathBuf,
    /// PEM file of the device's private key.
    pub(crate) private_key: PathBuf,
}

/// Where to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    /// Name or address, which the server's certificate must carry.
    pub(crate) name: ServerName<'static>,
    /// Port, 1 to 65535.
    pub(crate) port: u16,
}

/// The least seconds between reports. (AWS's own agents take no less than 300.)
pub(crate) const INTERVAL_SECS_MIN: u64 = 1;

/// The most seconds between reports: a day. Violations of a device that is silent for two days are dropped.
pub(crate) const INTERVAL_SECS_MAX: u64 = 86_400;

const INTERVAL_SECS_DEFAULT: u64 = 300;

const PORT_DEFAULT: u16 = 8883;

/// Why settings cannot be followed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadSettings {
    /// The file cannot be read.
    #[error("cannot read the settings in {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is not TOML, or has a key that is not known, or a value of another type.
    #[error("cannot follow the settings in {path}")]
    Toml {
        /// The file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: toml::de::Error,
    },
    /// Something without a default was not given.
    #[error("{what} is not given: use {flag}, or {key} in the file of --config")]
    Missing {
        /// In words.
        what: &'static str,
        /// The flag.
        flag: &'static str,
        /// The file's key.
        key: &'static str,
    },
    /// No encoding of that name.
    #[error(transparent)]
    Format(#[from] BadFormat),
    /// No time that reports can have between them.
    #[error("interval is {found} seconds, expected {INTERVAL_SECS_MIN} to {INTERVAL_SECS_MAX}")]
    Interval {
        /// As given.
        found: u64,
    },
    /// A client id or a thing's name that cannot be one.
    #[error(transparent)]
    Name(#[from] BadName),
    /// A thing that cannot stand in a topic.
    #[error("thing is {found:?}, expected a name without / + #")]
    Thing {
        /// As given.
        found: DeviceName,
    },
    /// No host, or none with a port.
    #[error("endpoint is {found:?}, expected a host name or an address, alone or followed by : and a port")]
    Endpoint {
        /// As given.
        found: String,
    },
    /// Cannot be a host's name.
    #[error("endpoint is {found:?}, expected a host name or an address")]
    Host {
        /// As given.
        found: String,
        /// Why.
        #[source]
        source: InvalidDnsNameError,
    },
    /// The port was given twice, differently.
    #[error("port is {port}, but the endpoint says {in_endpoint}")]
    Ports {
        /// Given by itself.
        port: u16,
        /// Given with the endpoint.
        in_endpoint: u16,
    },
}

impl Given {
    /// Reads a TOML file. Relative paths in it are relative to its folder.
    ///
    /// # Errors
    /// It cannot be read, or says what no setting is.
    pub(crate) fn read(path: &Path) -> Result<Self, BadSettings> {
        let text = std::fs::read_to_string(path).map_err(|source| BadSettings::File {
            path: path.to_owned(),
            source,
        })?;
        let mut given: Self = toml::from_str(&text).map_err(|source| BadSettings::Toml {
            path: path.to_owned(),
            source,
        })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        for file in [&mut given.root_ca, &mut given.certificate, &mut given.private_key] {
            *file = file.take().map(|file| folder.join(file));
        }
        Ok(given)
    }

    /// These settings, and where they are silent those of `base`.
    #[must_use]
    pub(crate) fn over(self, base: Self) -> Self {
        Self {
            endpoint: self.endpoint.or(base.endpoint),
            port: self.port.or(base.port),
            root_ca: self.root_ca.or(base.root_ca),
            certificate: self.certificate.or(base.certificate),
            private_key: self.private_key.or(base.private_key),
            client_id: self.client_id.or(base.client_id),
            thing_name: self.thing_name.or(base.thing_name),
            format: self.format.or(base.format),
            interval_secs: self.interval_secs.or(base.interval_secs),
            short_names: self.short_names.or(base.short_names),
            include_custom_metrics: self.include_custom_metrics.or(base.include_custom_metrics),
            count_loopback: self.count_loopback.or(base.count_loopback),
        }
    }

    /// What is needed to make a report: everything has a default.
    ///
    /// # Errors
    /// The format is none.
    pub(crate) fn shape(&self) -> Result<Shape, BadSettings> {
        let is_short = self.short_names.unwrap_or(false);
        Ok(Shape {
            format: self.format.as_deref().map_or(Ok(Format::Json), str::parse)?,
            keys: if is_short { KeyStyle::Short } else { KeyStyle::Long },
            has_custom_metrics: self.include_custom_metrics.unwrap_or(false),
            counts_loopback: self.count_loopback.unwrap_or(false),
        })
    }

    /// What is needed to report to a server.
    ///
    /// # Errors
    /// Something is missing or cannot be.
    pub(crate) fn checked(self) -> Result<Settings, BadSettings> {
        let shape = self.shape()?;
        let interval_secs = self.interval_secs.unwrap_or(INTERVAL_SECS_DEFAULT);
        if !(INTERVAL_SECS_MIN..=INTERVAL_SECS_MAX).contains(&interval_secs) {
            return Err(BadSettings::Interval { found: interval_secs });
        }
        let endpoint = needed(self.endpoint, "the server", "--endpoint", "endpoint")?;
        let thing_name = self.thing_name.as_ref().or(self.client_id.as_ref());
        let thing = needed(thing_name, "the thing", "--thing_name", "thing_name")?.parse()?;
        let client_id = match &self.client_id {
            Some(client_id) => client_id.parse()?,
            None => DeviceName::clone(&thing),
        };
        Ok(Settings {
            shape,
            topic: topic(thing, shape.format)?,
            interval: Duration::from_secs(interval_secs),
            server: server(&endpoint, self.port)?,
            client_id,
            root_ca: needed(self.root_ca, "the root certificate", "--rootCA", "root_ca")?,
            certificate: needed(self.certificate, "the device's certificate", "--cert", "certificate")?,
            private_key: needed(self.private_key, "the device's key", "--key", "private_key")?,
        })
    }
}

fn needed<T>(given: Option<T>, what: &'static str, flag: &'static str, key: &'static str) -> Result<T, BadSettings> {
    given.ok_or(BadSettings::Missing { what, flag, key })
}

/// The topic of a thing's reports. A device may call itself what a level of a topic cannot hold.
fn topic(thing: DeviceName, format: Format) -> Result<DefenderTopic, BadSettings> {
    let topic = DefenderTopic {
        thing,
        format,
        kind: TopicKind::Report,
    };
    match DefenderTopic::parse(&topic.to_string()) {
        Ok(Some(read_back)) if read_back == topic => Ok(topic),
        _ => Err(BadSettings::Thing { found: topic.thing }),
    }
}

fn server(endpoint: &str, port: Option<u16>) -> Result<Server, BadSettings> {
    let (host, in_endpoint) = host_and_port(endpoint).ok_or_else(|| BadSettings::Endpoint {
        found: endpoint.to_owned(),
    })?;
    let port = match (port, in_endpoint) {
        (Some(port), Some(in_endpoint)) if port != in_endpoint => {
            return Err(BadSettings::Ports { port, in_endpoint });
        }
        (given, in_endpoint) => given.or(in_endpoint).unwrap_or(PORT_DEFAULT),
    };
    let name = ServerName::try_from(host.to_owned()).map_err(|source| BadSettings::Host {
        found: host.to_owned(),
        source,
    })?;
    Ok(Server { name, port })
}

/// Splits `host`, `host:port`, `[address]`, `[address]:port`; an IPv6 address without brackets is an address alone.
fn host_and_port(endpoint: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match endpoint.strip_prefix('[') {
        Some(bracketed) => {
            let (host, rest) = bracketed.split_once(']')?;
            (
                host,
                if rest.is_empty() {
                    None
                } else {
                    Some(rest.strip_prefix(':')?)
                },
            )
        }
        None => match endpoint.split_once(':') {
            Some((host, port)) if !port.contains(':') => (host, Some(port)),
            _ => (endpoint, None),
        },
    };
    match port {
        None => Some((host, None)),
        Some(port) => match port.parse() {
            Ok(0) | Err(_) => None,
            Ok(port) => Some((host, Some(port))),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete() -> Given {
        Given {
            endpoint: Some("iot.example.net".into()),
            root_ca: Some("ca.pem".into()),
            certificate: Some("cert.pem".into()),
            private_key: Some("key.pem".into()),
            client_id: Some("Thing03".into()),
            ..Given::default()
        }
    }

    #[test]
    fn silence_means_the_default() {
        let settings = complete().checked().unwrap();
        assert_eq!(settings.topic.to_string(), "$aws/things/Thing03/defender/metrics/json");
        assert_eq!((settings.server.port, settings.interval.as_secs()), (8883, 300));
        assert_eq!(settings.shape.keys, KeyStyle::Long);
        assert!(!settings.shape.has_custom_metrics && !settings.shape.counts_loopback);
        assert!(Given::default().shape().is_ok());
    }

    #[test]
    fn endpoints_may_carry_a_port() {
        for (endpoint, port, expected) in [
            ("iot.example.net", None, "iot.example.net 8883"),
            ("iot.example.net:443", None, "iot.example.net 443"),
            ("iot.example.net:443", Some(443), "iot.example.net 443"),
            ("iot.example.net", Some(8884), "iot.example.net 8884"),
            ("192.0.2.7:1", None, "192.0.2.7 1"),
            ("2001:db8::7", None, "2001:db8::7 8883"),
            ("[2001:db8::7]", None, "2001:db8::7 8883"),
            ("[2001:db8::7]:443", None, "2001:db8::7 443"),
            ("localhost:8883", Some(443), "port is 443, but the endpoint says 8883"),
            ("", None, "endpoint is \"\", expected a host name or an address"),
            (
                "mqtts://host",
                None,
                "endpoint is \"mqtts://host\", expected a host name or an address, alone or followed by : and a port",
            ),
            (
                "host:",
                None,
                "endpoint is \"host:\", expected a host name or an address, alone or followed by : and a port",
            ),
            (
                "host:0",
                None,
                "endpoint is \"host:0\", expected a host name or an address, alone or followed by : and a port",
            ),
            ("a b", None, "endpoint is \"a b\", expected a host name or an address"),
        ] {
            let found = match server(endpoint, port) {
                Ok(Server { name, port }) => format!("{} {port}", name.to_str()),
                Err(error) => error.to_string(),
            };
            assert_eq!(found, expected, "{endpoint}");
        }
    }

    #[test]
    fn what_cannot_be_followed_is_named() {
        let with = |change: fn(&mut Given)| {
            let mut given = complete();
            change(&mut given);
            given.checked().unwrap_err().to_string()
        };
        for (found, expected) in [
            (
                with(|g| g.endpoint = None),
                "the server is not given: use --endpoint, or endpoint in the file of --config",
            ),
            (
                with(|g| g.client_id = None),
                "the thing is not given: use --thing_name, or thing_name in the file of --config",
            ),
            (
                with(|g| g.private_key = None),
                "the device's key is not given: use --key, or private_key in the file of --config",
            ),
            (
                with(|g| g.interval_secs = Some(0)),
                "interval is 0 seconds, expected 1 to 86400",
            ),
            (
                with(|g| g.interval_secs = Some(86_401)),
                "interval is 86401 seconds, expected 1 to 86400",
            ),
            (
                with(|g| g.format = Some("xml".into())),
                "format is \"xml\", expected json or cbor",
            ),
            (
                with(|g| g.client_id = Some(String::new())),
                "device name has 0 bytes, expected 1 to 128",
            ),
        ] {
            assert_eq!(found, expected);
        }
        for thing in ["a/b", "a+b", "#"] {
            let mut given = complete();
            given.thing_name = Some(thing.into());
            assert!(matches!(given.checked(), Err(BadSettings::Thing { .. })), "{thing}");
        }
    }

    #[test]
    fn a_file_is_read_and_flags_win() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.toml");
        std::fs::write(
            &path,
            "endpoint = \"iot.example.net\"\ninterval_secs = 60\nroot_ca = \"ca.pem\"\nprivate_key = \"/etc/key.pem\"\n",
        )
        .unwrap();
        let flags = Given {
            interval_secs: Some(5),
            thing_name: Some("T".into()),
            ..Given::default()
        };
        let expected = Given {
            endpoint: Some("iot.example.net".into()),
            interval_secs: Some(5),
            thing_name: Some("T".into()),
            root_ca: Some(folder.path().join("ca.pem")),
            private_key: Some("/etc/key.pem".into()),
            ..Given::default()
        };
        assert_eq!(flags.over(Given::read(&path).unwrap()), expected);
    }

    #[test]
    fn unknown_keys_are_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.toml");
        std::fs::write(&path, "interval = 60\n").unwrap();
        let Err(BadSettings::Toml { source, .. }) = Given::read(&path) else {
            panic!("an unknown key was taken");
        };
        assert!(source.to_string().contains("unknown field `interval`"), "{source}");
        assert!(source.to_string().contains("interval_secs"), "{source}");
    }
}
