//! The page on detection names every metric that there is.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use picket_model::metric::{BrokerMetric, DeviceMetric, ReportingMetric};

#[test]
fn the_page_names_each_metric_and_no_other() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/detection.md");
    let page = fs::read_to_string(path).unwrap();
    let tables = page.lines().filter(|line| line.starts_with("| `"));
    let named: BTreeSet<&str> = tables
        .filter_map(|line| line.split('|').nth(1))
        .flat_map(|cell| cell.split('`'))
        .filter(|name| name.starts_with("aws:") || name.starts_with("picket:"))
        .collect();
    let device = DeviceMetric::ALL.into_iter().map(DeviceMetric::as_str);
    let broker = BrokerMetric::ALL.into_iter().map(BrokerMetric::as_str);
    let reporting = ReportingMetric::ALL.into_iter().map(ReportingMetric::as_str);
    let known: BTreeSet<&str> = device.chain(broker).chain(reporting).collect();
    assert_eq!(named, known);
}
