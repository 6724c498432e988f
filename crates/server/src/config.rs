//! Configuration: flags, environment and file, as written, become one checked value here and nowhere else.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use serde::Deserialize;

/// What an operator may say, as written. Each member is a flag, an environment variable and a key of the TOML file;
/// a flag wins over the environment, which wins over the file, which wins over the default.
#[derive(Clone, Debug, Default, Deserialize, clap::Args)]
#[serde(default, deny_unknown_fields)]
pub struct ServeOptions {
    /// Read options from this TOML file; its keys are the names of the flags with _ for -
    #[arg(long, env = "PICKET_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
    /// Directory of everything the server keeps; made at the first start [default: ./picket-data]
    #[arg(long, env = "PICKET_DATA", value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Where the API listens; port 0 takes any [default: 127.0.0.1:8080]
    #[arg(long, env = "PICKET_API_LISTEN", value_name = "ADDR")]
    pub api_listen: Option<SocketAddr>,
    /// Speak HTTPS with a certificate of the fleet CA; elsewhere than on this machine nothing else is spoken
    /// [default: false on 127.0.0.1 and ::1, else true]
    #[arg(long, env = "PICKET_API_TLS", num_args = 0..=1, default_missing_value = "true")]
    pub api_tls: Option<bool>,
    /// Speak HTTPS with this certificate, PEM, followed by those that it goes back to
    #[arg(long, env = "PICKET_API_CERTIFICATE", value_name = "FILE")]
    pub api_certificate: Option<PathBuf>,
    /// The key of that certificate, PEM
    #[arg(long, env = "PICKET_API_KEY", value_name = "FILE")]
    pub api_key: Option<PathBuf>,
    /// Where others reach the API: http:// or https:// and a host; goes into messages to subscribers of topics
    /// [default: where the API listens, or the first endpoint name when that is everywhere]
    #[arg(long, env = "PICKET_API_URL", value_name = "URL")]
    pub api_url: Option<String>,
    /// Where devices arrive, MQTT over mutual TLS; port 0 takes any [default: 0.0.0.0:8883]
    #[arg(long, env = "PICKET_MQTT_LISTEN", value_name = "ADDR")]
    pub mqtt_listen: Option<SocketAddr>,
    /// Where devices arrive that ask for ALPN x-amzn-mqtt-ca, for example 0.0.0.0:443 [default: nowhere]
    #[arg(long, env = "PICKET_MQTT_ALPN_LISTEN", value_name = "ADDR")]
    pub mqtt_alpn_listen: Option<SocketAddr>,
    /// The account in every ARN: 12 digits [default: 123456789012]
    #[arg(long, env = "PICKET_ACCOUNT_ID", value_name = "DIGITS")]
    pub account_id: Option<String>,
    /// The region of ARNs where the caller names none [default: us-east-1]
    #[arg(long, env = "PICKET_REGION", value_name = "REGION")]
    pub region: Option<String>,
    /// A name or address by which devices reach the server; repeatable; goes into its certificate [default: the host's name]
    #[arg(
        long = "endpoint-name",
        env = "PICKET_ENDPOINT_NAME",
        value_name = "NAME",
        value_delimiter = ','
    )]
    pub endpoint_name: Vec<String>,
    /// Seconds that each thing must leave between reports on average; 100 may come at once [default: 1]
    #[arg(long, env = "PICKET_REPORT_INTERVAL_SECS_MIN", value_name = "SECS")]
    pub report_interval_secs_min: Option<u32>,
    /// Throttle reports as AWS does: one per 295 s and thing, without a burst
    #[arg(long, env = "PICKET_STRICT_AWS", num_args = 0..=1, default_missing_value = "true")]
    pub strict_aws: Option<bool>,
    /// Alarm at the ends of windows only, as AWS does, not as soon as a limit is broken
    #[arg(long, env = "PICKET_STRICT_AWS_TIMING", num_args = 0..=1, default_missing_value = "true")]
    pub strict_aws_timing: Option<bool>,
    /// How many partitions the report log has; fixed at the first start [default: 16]
    #[arg(long, env = "PICKET_PARTITIONS", value_name = "N")]
    pub partitions: Option<u16>,
    /// The most bytes the report log may take; a full log refuses, it never drops [default: 10737418240]
    #[arg(long, env = "PICKET_LOG_SIZE_BYTES_MAX", value_name = "BYTES")]
    pub log_size_bytes_max: Option<u64>,
    /// How long judged reports stay in the log, in hours [default: 48]
    #[arg(long, env = "PICKET_LOG_AGE_HOURS_MAX", value_name = "HOURS")]
    pub log_age_hours_max: Option<u32>,
    /// How long what devices reported stays in history, in days; a day goes whole [default: 14]
    #[arg(long, env = "PICKET_HISTORY_AGE_DAYS_MAX", value_name = "DAYS")]
    pub history_age_days_max: Option<u32>,
    /// How long it may be in memory and the log only before it is written to a file of history, in seconds; until then
    /// it is listed all the same [default: 3600]
    #[arg(long, env = "PICKET_HISTORY_WAIT_SECS_MAX", value_name = "SECS")]
    pub history_wait_secs_max: Option<u32>,
    /// Milliseconds from one write of the report log to the next; what comes meanwhile is written together, 0 to 100
    /// [default: 8]
    #[arg(long, env = "PICKET_LOG_LINGER_MS", value_name = "MS")]
    pub log_linger_ms: Option<u32>,
    /// Devices whose certificate says that its time is over: refused or allowed [default: refused]
    #[arg(long, env = "PICKET_EXPIRED_CERTIFICATES", value_name = "WHAT")]
    pub expired_certificates: Option<String>,
    /// Keys of devices that the server makes: p256 or rsa2048, as AWS makes them [default: rsa2048]
    #[arg(long, env = "PICKET_DEVICE_KEY", value_name = "KIND")]
    pub device_key: Option<String>,
}

/// The checked configuration: nothing left to check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Directory of everything the server keeps.
    pub data: PathBuf,
    /// Where the API listens.
    pub api_listen: SocketAddr,
    /// How the API is spoken to; elsewhere than on this machine never in plain text.
    pub api_tls: ApiTls,
    /// Where others reach the API, without a slash at the end.
    pub api_url: Option<String>,
    /// Where devices arrive.
    pub mqtt_listen: SocketAddr,
    /// Where devices arrive that ask for ALPN `x-amzn-mqtt-ca`.
    pub mqtt_alpn_listen: Option<SocketAddr>,
    /// 12 digits.
    pub account_id: String,
    /// For example `us-east-1`.
    pub region: String,
    /// Names by which devices reach the server, at least one; the first is what `DescribeEndpoint` answers.
    pub endpoint_names: Vec<String>,
    /// How fast one thing may report.
    pub report_rate: ReportRate,
    /// Whether alarms wait for the ends of windows, as AWS's do.
    pub strict_aws_timing: bool,
    /// Partitions of the report log, 1 to 1024.
    pub n_partitions: u16,
    /// Bound of the report log in bytes.
    pub log_size_bytes_max: u64,
    /// Bound of the report log in time.
    pub log_age_max: Duration,
    /// How long history is kept.
    pub history_age_max: Duration,
    /// How long rows of history wait for others before they are written.
    pub history_wait_max: Duration,
    /// The least time between the beginnings of two writes of the log.
    pub log_linger: Duration,
    /// What becomes of devices whose certificate says that its time is over.
    pub expired_certificates: Expired,
    /// Keys of devices that the server makes.
    pub device_key: DeviceKey,
}

/// How the API is spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApiTls {
    /// Plain HTTP.
    Off,
    /// HTTPS, with a certificate of the fleet CA.
    FleetCa,
    /// HTTPS, with a certificate of the operator's.
    Given {
        /// A PEM file: the certificate, then those that it goes back to.
        certificate: PathBuf,
        /// A PEM file.
        key: PathBuf,
    },
}

/// What becomes of devices whose certificate says that its time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expired {
    /// They are refused: at the next connect, and whenever their rights are looked at again.
    Refused,
    /// The registry decides alone.
    Allowed,
}

/// How fast one thing may report: a token bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportRate {
    /// A token comes back after this time.
    pub interval: Duration,
    /// How many tokens there are at most.
    pub burst: u32,
}

/// Keys of devices that the server makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceKey {
    /// ECDSA on P-256: small and fast.
    P256,
    /// RSA with 2048 bits, as on AWS.
    Rsa2048,
}

impl ServeOptions {
    /// These options, completed from the file they name and the defaults, checked.
    ///
    /// # Errors
    /// The file cannot be read, has an unknown key, or an option is out of its range: the text names it.
    pub fn checked(self) -> anyhow::Result<Config> {
        let file = match &self.config {
            Some(path) => read(path)?,
            None => Self::default(),
        };
        let said = self.or(file);
        let is_strict = said.strict_aws.unwrap_or(false);
        let api_listen = said
            .api_listen
            .unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8080)));
        let interval_secs = said.report_interval_secs_min.unwrap_or(if is_strict { 295 } else { 1 });
        Ok(Config {
            data: said.data.unwrap_or_else(|| "picket-data".into()),
            api_listen,
            api_tls: api_tls(api_listen, said.api_tls, said.api_certificate, said.api_key)?,
            api_url: said.api_url.map(api_url).transpose()?,
            mqtt_listen: said
                .mqtt_listen
                .unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 8883))),
            mqtt_alpn_listen: said.mqtt_alpn_listen,
            account_id: account_id(said.account_id.unwrap_or_else(|| "123456789012".to_owned()))?,
            region: region(said.region.unwrap_or_else(|| "us-east-1".to_owned()))?,
            endpoint_names: endpoint_names(said.endpoint_name)?,
            report_rate: ReportRate {
                interval: Duration::from_secs(in_range("report_interval_secs_min", interval_secs, 1, 86_400)?.into()),
                burst: if is_strict { 1 } else { 100 },
            },
            strict_aws_timing: said.strict_aws_timing.unwrap_or(false),
            n_partitions: in_range("partitions", said.partitions.unwrap_or(16), 1, 1024)?,
            log_size_bytes_max: in_range(
                "log_size_bytes_max",
                said.log_size_bytes_max.unwrap_or(10 << 30),
                1 << 20,
                u64::MAX,
            )?,
            log_age_max: Duration::from_secs(
                3600 * u64::from(in_range(
                    "log_age_hours_max",
                    said.log_age_hours_max.unwrap_or(48),
                    1,
                    24 * 366,
                )?),
            ),
            history_age_max: Duration::from_secs(
                86_400
                    * u64::from(in_range(
                        "history_age_days_max",
                        said.history_age_days_max.unwrap_or(14),
                        1,
                        3660,
                    )?),
            ),
            history_wait_max: Duration::from_secs(
                in_range(
                    "history_wait_secs_max",
                    said.history_wait_secs_max.unwrap_or(3600),
                    1,
                    3600,
                )?
                .into(),
            ),
            log_linger: Duration::from_millis(
                in_range("log_linger_ms", said.log_linger_ms.unwrap_or(8), 0, 100)?.into(),
            ),
            expired_certificates: expired(said.expired_certificates.as_deref().unwrap_or("refused"))?,
            device_key: device_key(said.device_key.as_deref().unwrap_or("rsa2048"))?,
        })
    }

    fn or(self, file: Self) -> Self {
        Self {
            config: self.config,
            data: self.data.or(file.data),
            api_listen: self.api_listen.or(file.api_listen),
            api_tls: self.api_tls.or(file.api_tls),
            api_certificate: self.api_certificate.or(file.api_certificate),
            api_key: self.api_key.or(file.api_key),
            api_url: self.api_url.or(file.api_url),
            mqtt_listen: self.mqtt_listen.or(file.mqtt_listen),
            mqtt_alpn_listen: self.mqtt_alpn_listen.or(file.mqtt_alpn_listen),
            account_id: self.account_id.or(file.account_id),
            region: self.region.or(file.region),
            endpoint_name: if self.endpoint_name.is_empty() {
                file.endpoint_name
            } else {
                self.endpoint_name
            },
            report_interval_secs_min: self.report_interval_secs_min.or(file.report_interval_secs_min),
            strict_aws: self.strict_aws.or(file.strict_aws),
            strict_aws_timing: self.strict_aws_timing.or(file.strict_aws_timing),
            partitions: self.partitions.or(file.partitions),
            log_size_bytes_max: self.log_size_bytes_max.or(file.log_size_bytes_max),
            log_age_hours_max: self.log_age_hours_max.or(file.log_age_hours_max),
            history_age_days_max: self.history_age_days_max.or(file.history_age_days_max),
            history_wait_secs_max: self.history_wait_secs_max.or(file.history_wait_secs_max),
            log_linger_ms: self.log_linger_ms.or(file.log_linger_ms),
            expired_certificates: self.expired_certificates.or(file.expired_certificates),
            device_key: self.device_key.or(file.device_key),
        }
    }
}

fn read(path: &Path) -> anyhow::Result<ServeOptions> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read the configuration {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("the configuration {} is not right", path.display()))
}

fn in_range<T: PartialOrd + std::fmt::Display>(name: &str, found: T, min: T, max: T) -> anyhow::Result<T> {
    if found < min || max < found {
        bail!("{name} is {found}, expected {min} to {max}");
    }
    Ok(found)
}

fn api_tls(
    listen: SocketAddr,
    asked: Option<bool>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
) -> anyhow::Result<ApiTls> {
    let is_elsewhere = !listen.ip().is_loopback();
    match (certificate, key, asked) {
        (Some(_), Some(_), Some(false)) => {
            bail!(
                "api_tls is false and api_certificate is set, expected one of them: with a certificate HTTPS is spoken"
            )
        }
        (Some(certificate), Some(key), _) => Ok(ApiTls::Given { certificate, key }),
        (None, None, Some(false)) if is_elsewhere => bail!(
            "api_listen is {listen} and api_tls is false, expected an address of this machine only (127.0.0.1 or ::1): \
             elsewhere the API speaks HTTPS"
        ),
        (None, None, Some(true)) => Ok(ApiTls::FleetCa),
        (None, None, None) if is_elsewhere => Ok(ApiTls::FleetCa),
        (None, None, _) => Ok(ApiTls::Off),
        _ => bail!("one of api_certificate and api_key is set, expected both or none"),
    }
}

fn api_url(text: String) -> anyhow::Result<String> {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let is_host_char = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#');
    match host {
        Some(host) if !host.is_empty() && text.len() <= 256 && host.bytes().all(is_host_char) => {
            Ok(text.trim_end_matches('/').to_owned())
        }
        _ => bail!("api_url is {text:?}, expected http:// or https:// and a host"),
    }
}

fn account_id(text: String) -> anyhow::Result<String> {
    if text.len() != 12 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        bail!("account_id is {text:?}, expected 12 digits");
    }
    Ok(text)
}

fn region(text: String) -> anyhow::Result<String> {
    let is_region_char = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if text.is_empty() || 32 < text.len() || !text.bytes().all(is_region_char) {
        bail!("region is {text:?}, expected 1 to 32 of [a-z0-9-], for example us-east-1");
    }
    Ok(text)
}

fn endpoint_names(names: Vec<String>) -> anyhow::Result<Vec<String>> {
    if names.is_empty() {
        return Ok(vec![host_name()]);
    }
    let is_name_char = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':');
    match names
        .iter()
        .find(|name| name.is_empty() || 253 < name.len() || !name.chars().all(is_name_char))
    {
        Some(bad) => bail!("endpoint_name is {bad:?}, expected a host name or an address, without a port"),
        None => Ok(names),
    }
}

/// The host's name as the kernel tells it; `localhost` where it cannot be read or is no name for a certificate.
fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    let is_name =
        !name.is_empty() && name.len() < 254 && name.chars().all(|c| c.is_ascii_alphanumeric() || "-.".contains(c));
    if is_name {
        name.to_owned()
    } else {
        "localhost".to_owned()
    }
}

fn expired(text: &str) -> anyhow::Result<Expired> {
    match text {
        "refused" => Ok(Expired::Refused),
        "allowed" => Ok(Expired::Allowed),
        other => bail!("expired_certificates is {other:?}, expected refused or allowed"),
    }
}

fn device_key(text: &str) -> anyhow::Result<DeviceKey> {
    match text {
        "p256" => Ok(DeviceKey::P256),
        "rsa2048" => Ok(DeviceKey::Rsa2048),
        other => bail!("device_key is {other:?}, expected p256 or rsa2048"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> anyhow::Result<Config> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("picket.toml");
        fs::write(&path, text)?;
        ServeOptions {
            config: Some(path),
            ..ServeOptions::default()
        }
        .checked()
    }

    #[test]
    fn a_file_sets_what_no_flag_says() {
        let config =
            file("partitions = 4\nregion = 'eu-west-1'\nendpoint_name = ['picket.local', '10.0.0.7']").unwrap();
        assert_eq!((config.n_partitions, config.region.as_str()), (4, "eu-west-1"));
        assert_eq!(config.endpoint_names, ["picket.local", "10.0.0.7"]);
        assert_eq!(
            config.report_rate,
            ReportRate {
                interval: Duration::from_secs(1),
                burst: 100
            }
        );
    }

    #[test]
    fn strict_aws_takes_one_report_in_295_seconds() {
        let config = file("strict_aws = true").unwrap();
        assert_eq!(
            config.report_rate,
            ReportRate {
                interval: Duration::from_secs(295),
                burst: 1
            }
        );
    }

    #[test]
    fn alarms_wait_for_the_ends_of_windows_only_when_told_to() {
        for (text, expected) in [
            ("", false),
            // How fast devices may report is another matter.
            ("strict_aws = true", false),
            ("strict_aws_timing = false", false),
            ("strict_aws_timing = true", true),
        ] {
            assert_eq!(file(text).unwrap().strict_aws_timing, expected, "{text}");
        }
    }

    #[test]
    fn plain_http_is_spoken_on_this_machine_only() {
        let given = ApiTls::Given {
            certificate: "c".into(),
            key: "k".into(),
        };
        let both = "api_certificate = 'c'\napi_key = 'k'";
        for (listen, said, expected) in [
            ("127.0.0.1:8080", "", Ok(&ApiTls::Off)),
            ("[::1]:8080", "api_tls = false", Ok(&ApiTls::Off)),
            ("127.0.0.1:8080", "api_tls = true", Ok(&ApiTls::FleetCa)),
            ("127.0.0.1:8080", both, Ok(&given)),
            ("0.0.0.0:8080", "", Ok(&ApiTls::FleetCa)),
            ("[::]:8080", "api_tls = true", Ok(&ApiTls::FleetCa)),
            ("10.0.0.7:8080", both, Ok(&given)),
            ("0.0.0.0:8080", "api_tls = false", Err("api_listen is 0.0.0.0:8080")),
            (
                "[::ffff:10.0.0.7]:80",
                "api_tls = false",
                Err("elsewhere the API speaks HTTPS"),
            ),
            ("127.0.0.1:8080", "api_key = 'k'", Err("expected both or none")),
            ("0.0.0.0:8080", "api_certificate = 'c'", Err("expected both or none")),
            (
                "127.0.0.1:8080",
                &format!("{both}\napi_tls = false"),
                Err("expected one of them"),
            ),
        ] {
            let found = file(&format!("api_listen = '{listen}'\n{said}")).map(|config| config.api_tls);
            match expected {
                Ok(expected) => assert_eq!(&found.unwrap(), expected, "{listen} {said}"),
                Err(part) => {
                    let error = found.unwrap_err().to_string();
                    assert!(error.contains(part), "{listen} {said}: {error}");
                }
            }
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, expected) in [
            ("report_interval = 5", "unknown field `report_interval`"),
            ("account_id = '12'", "account_id is \"12\", expected 12 digits"),
            ("partitions = 0", "partitions is 0, expected 1 to 1024"),
            (
                "history_age_days_max = 0",
                "history_age_days_max is 0, expected 1 to 3660",
            ),
            ("log_linger_ms = 101", "log_linger_ms is 101, expected 0 to 100"),
            ("device_key = 'dsa'", "device_key is \"dsa\", expected p256 or rsa2048"),
            (
                "expired_certificates = 'maybe'",
                "expired_certificates is \"maybe\", expected refused or allowed",
            ),
            ("endpoint_name = ['a b']", "endpoint_name is \"a b\""),
            ("region = 'US'", "region is \"US\""),
        ] {
            let error = format!("{:#}", file(text).unwrap_err());
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
