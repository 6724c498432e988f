//! What is normal for the devices of the story: measured first, then written down as a profile.

use std::collections::BTreeSet;

use anyhow::Context as _;
use serde_json::{Value, json};

/// The window of the behavior about bytes.
pub(super) const WINDOW_SECS: u64 = 300;

/// Bytes that may always go out in a window, whatever was measured.
const N_BYTES_FREE: u64 = 10_000_000;

/// The highest limit at first: half as much again has to be sent soon.
const N_BYTES_MAX: u64 = 100_000_000;

/// How often the limit may be doubled.
const N_DOUBLED_MAX: u32 = 2;

/// How long `picket-agent --dryrun` counts traffic.
const DRY_RUN_MILLIS: u64 = 250;

/// What was seen while all was well.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Baseline {
    /// TCP ports that programs on this machine listen on.
    pub(super) ports: BTreeSet<u16>,
    /// Whether other programs open ports faster than anybody can get used to them.
    pub(super) is_crowded: bool,
    /// How often the limit was doubled, because other programs had sent more.
    n_doubled: u32,
    n_bytes_out: u64,
    n_millis: u64,
}

impl Baseline {
    /// Takes what `picket-agent --dryrun` has printed.
    pub(super) fn take(&mut self, report: &Value) -> anyhow::Result<()> {
        let metrics = &report["metrics"];
        let ports = metrics["listening_tcp_ports"]["ports"]
            .as_array()
            .context("the dry run lists no TCP ports")?;
        self.ports
            .extend(ports.iter().filter_map(|port| port_of(&port["port"])));
        self.n_bytes_out += metrics["network_stats"]["bytes_out"].as_u64().unwrap_or_default();
        self.n_millis += DRY_RUN_MILLIS;
        Ok(())
    }

    /// Bytes that went out in a second.
    pub(super) fn n_bytes_per_sec(&self) -> u64 {
        self.n_bytes_out.saturating_mul(1000) / self.n_millis.max(1)
    }

    /// Bytes that may go out in a window: twice what was measured, and some more; a round number.
    pub(super) fn n_bytes_max(&self) -> u64 {
        let expected = self.n_bytes_per_sec().saturating_mul(WINDOW_SECS);
        rounded_up(expected.saturating_mul(2).saturating_add(N_BYTES_FREE)).min(N_BYTES_MAX) << self.n_doubled
    }

    /// Twice as many bytes are normal from now on; says whether that is still less than a burst can be.
    pub(super) fn double_bytes(&mut self) -> bool {
        self.n_doubled += 1;
        self.n_doubled <= N_DOUBLED_MAX
    }

    /// Bytes of an exfiltration that is above the limit, whatever else goes out.
    pub(super) fn n_bytes_of_burst(&self) -> u64 {
        let limit = self.n_bytes_max();
        limit + limit / 2
    }

    /// A port that nobody listens on.
    pub(super) fn free_port(&self) -> u16 {
        (4444..u16::MAX).find(|port| !self.ports.contains(port)).unwrap_or(4444)
    }

    /// Those of a list of ports that are new.
    pub(super) fn new_ports(&self, ports: &Value) -> BTreeSet<u16> {
        let ports = ports.as_array().into_iter().flatten().filter_map(port_of);
        ports.filter(|port| !self.ports.contains(port)).collect()
    }

    /// Which listening ports are normal: those that were seen, or at least none that only an intruder would open.
    fn normal_ports(&self) -> Value {
        let suspicious = self.free_port();
        match self.is_crowded {
            false => json!({ "comparisonOperator": "in-port-set", "value": { "ports": self.ports } }),
            true => json!({ "comparisonOperator": "not-in-port-set", "value": { "ports": [suspicious] } }),
        }
    }

    /// What `CreateSecurityProfile` takes.
    pub(super) fn profile(&self, ports: &str, bytes: &str) -> Value {
        json!({
            "securityProfileDescription": "What is normal for a temperature sensor",
            "behaviors": [
                {
                    "name": ports,
                    "metric": "aws:listening-tcp-ports",
                    "criteria": self.normal_ports(),
                },
                {
                    "name": bytes,
                    "metric": "aws:all-bytes-out",
                    "criteria": {
                        "comparisonOperator": "less-than-equals",
                        "value": { "count": self.n_bytes_max() },
                        "durationSeconds": WINDOW_SECS,
                    },
                },
            ],
        })
    }
}

/// A port as JSON has it.
pub(super) fn port_of(value: &Value) -> Option<u16> {
    value.as_u64().and_then(|port| port.try_into().ok())
}

/// Bytes for people.
pub(super) fn in_words(n_bytes: u64) -> String {
    match n_bytes {
        0..10_000 => format!("{n_bytes} bytes"),
        10_000..10_000_000 => format!("{} kB", n_bytes / 1000),
        _ => format!("{} MB", n_bytes / 1_000_000),
    }
}

/// Up to the next number with two digits before its zeros.
fn rounded_up(n: u64) -> u64 {
    let mut unit = 1_u64;
    while 100 <= n / unit {
        unit = unit.saturating_mul(10);
    }
    n.div_ceil(unit).saturating_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn baseline(n_bytes_out: u64) -> Baseline {
        let mut baseline = Baseline::default();
        for port in [22, 4444] {
            let ports = json!({ "ports": [{ "interface": "lo", "port": port }], "total": 1 });
            let report = json!({
                "metrics": { "listening_tcp_ports": ports, "network_stats": { "bytes_out": n_bytes_out } }
            });
            baseline.take(&report).unwrap();
        }
        baseline
    }

    #[test]
    fn the_limit_leaves_room_for_what_is_normal() {
        for (n_bytes_out, n_bytes_max) in [
            (0, 10_000_000),
            (1, 11_000_000),
            (10_000, 34_000_000),
            (30_000, 82_000_000),
            (u64::MAX / 8, 100_000_000),
        ] {
            let baseline = baseline(n_bytes_out);
            assert_eq!(baseline.n_bytes_max(), n_bytes_max, "{n_bytes_out}");
            assert!(n_bytes_max < baseline.n_bytes_of_burst());
            let mut busy = baseline.clone();
            assert_eq!([busy.double_bytes(), busy.double_bytes()], [true, true]);
            assert_eq!(busy.n_bytes_max(), 4 * n_bytes_max);
            assert!(!busy.double_bytes());
        }
    }

    #[test]
    fn all_ports_that_were_seen_are_normal_and_the_backdoor_is_none() {
        let mut baseline = baseline(0);
        assert_eq!(baseline.free_port(), 4445);
        let profile = baseline.profile("Ports", "Bytes");
        assert_eq!(
            profile["behaviors"][0]["criteria"]["value"],
            json!({ "ports": [22, 4444] })
        );
        assert_eq!(profile["behaviors"][1]["criteria"]["durationSeconds"], 300);
        assert_eq!(baseline.new_ports(&json!([22, 23, 4444, 70_000])), BTreeSet::from([23]));
        baseline.is_crowded = true;
        let profile = baseline.profile("Ports", "Bytes");
        assert_eq!(
            profile["behaviors"][0]["criteria"],
            json!({ "comparisonOperator": "not-in-port-set", "value": { "ports": [4445] } })
        );
    }

    #[test]
    fn a_dry_run_without_ports_is_refused() {
        assert!(
            Baseline::default()
                .take(&json!({ "metrics": { "network_stats": { "bytes_out": 1 } } }))
                .is_err()
        );
    }
}
