//! What devices reported is listed, and other programs read its files.

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::fleet::{Device, Fleet, eventually, python, root};
use crate::link::{Link, report};

/// The same values by boto3, by the AWS CLI and by DuckDB.
const SCRIPT: &str = r##"
import json, subprocess, sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
import boto3, duckdb
history, n = Path(sys.argv[1]), int(sys.argv[2])
now = datetime.now(timezone.utc)
span = dict(startTime=now - timedelta(days=365), endTime=now + timedelta(hours=1))
iot = boto3.client("iot")

def listed(metric, **more):
    pages = iot.get_paginator("list_metric_values").paginate(thingName="pump-7", metricName=metric, **span, **more)
    return [datum for page in pages for datum in page["metricDatumList"]]

by_boto3 = listed("aws:all-bytes-out", PaginationConfig=dict(PageSize=3))
assert [datum["value"] for datum in by_boto3] == [dict(count=100 + id) for id in range(n, 0, -1)], by_boto3
assert by_boto3 == listed("aws:all-bytes-out")
ports = [datum["value"]["ports"] for datum in listed("aws:listening-tcp-ports")]
assert ports == [[22, 8000 + id] for id in range(n, 0, -1)], ports
assert [datum["value"] for datum in listed("batt")] == [dict(number=id / 2) for id in range(n, 0, -1)]

aws = Path(sys.executable).parent / "aws"
words = ["iot", "list-metric-values", "--thing-name", "pump-7", "--metric-name", "aws:all-bytes-out", "--output", "json",
    "--start-time", span["startTime"].isoformat(), "--end-time", span["endTime"].isoformat()]
by_cli = json.loads(subprocess.run([aws, *words], check=True, capture_output=True).stdout)["metricDatumList"]
assert [datum["value"] for datum in by_cli] == [datum["value"] for datum in by_boto3], by_cli

rows = duckdb.sql(f"""
    SELECT epoch_ms(time), bytes_out, listening_tcp_ports, list_filter(custom_metrics, lambda m: m.name = 'batt')[1].number
    FROM '{history}/reports/*/*.parquet' WHERE thing_name = 'pump-7' AND NOT is_duplicate ORDER BY time DESC, log_seq DESC
""").fetchall()
millis = [round(datum["timestamp"].timestamp() * 1000) for datum in by_boto3]
expected = [(at, 100 + id, [22, 8000 + id], id / 2) for at, id in zip(millis, range(n, 0, -1), strict=True)]
assert rows == expected, (rows, expected)
every_column = duckdb.sql(f"SELECT * FROM '{history}/reports/*/*.parquet'").fetchall()
assert len(every_column) == n and all(len(row[4]) == 6 for row in every_column), every_column
print("the same everywhere")
"##;

const CUSTOM_METRIC: &str = "
import boto3
boto3.client('iot').create_custom_metric(metricName='batt', metricType='number', clientRequestToken='1')
";

#[test]
fn values_are_listed_at_once_survive_kills_and_are_read_by_other_programs() {
    let mut fleet = Fleet::start("");
    let device = fleet.device("pump-7");
    let mut custom = fleet.program(&python());
    assert!(custom.args(["-c", CUSTOM_METRIC]).status().unwrap().success());
    send(&fleet, &device, 1..=3);
    eventually("what no file has is listed", || {
        (n_listed(&fleet, "aws:all-bytes-out") == 3).then_some(())
    });
    assert_eq!(parquet_files(&fleet), Vec::<PathBuf>::new());
    fleet.kill();
    fleet.serve();
    eventually("it is there after a kill", || {
        (n_listed(&fleet, "batt") == 3).then_some(())
    });
    // From now on files are written within seconds.
    fleet.configure("history_wait_secs_max = 1");
    for (from, to) in [(4, 5), (6, 6), (7, 9)] {
        fleet.kill();
        fleet.serve();
        let n = parquet_files(&fleet).len();
        send(&fleet, &device, from..=to);
        eventually("a file is written", || (n < parquet_files(&fleet).len()).then_some(()));
    }
    send(&fleet, &device, 10..=10);
    eventually("all is in files", || (n_in_files(&fleet) == 10).then_some(()));
    script(&fleet, 10);
    let told = fleet.cli(&["metric", "values", "pump-7", "aws:listening-tcp-ports"]);
    assert!(told.contains("22, 8010"), "{told}");
    fleet.stop();
    fleet.serve();
    script(&fleet, 10);
}

#[test]
fn a_history_that_cannot_be_written_stops_nothing() {
    let mut fleet = Fleet::start("history_wait_secs_max = 1");
    let device = fleet.device("pump-7");
    fleet.stop();
    let blocker = fleet.data().join("history/reports");
    std::fs::write(&blocker, "in the way").unwrap();
    fleet.serve();
    send(&fleet, &device, 1..=3);
    eventually("it is said", || {
        fleet.server_log().contains("history stands still").then_some(())
    });
    send(&fleet, &device, 4..=5);
    eventually("what waits is listed", || {
        (n_listed(&fleet, "aws:all-bytes-out") == 5).then_some(())
    });
    std::fs::remove_file(blocker).unwrap();
    eventually("it goes on by itself", || (n_in_files(&fleet) == 5).then_some(()));
}

#[test]
fn the_queries_of_the_page_work() {
    let fleet = Fleet::start("history_wait_secs_max = 1");
    let device = fleet.device("pump-7");
    send(&fleet, &device, 1..=3);
    eventually("files are written", || (n_in_files(&fleet) == 3).then_some(()));
    let page = std::fs::read_to_string(root().join("docs/history.md")).unwrap();
    let queries: Vec<&str> = page
        .split("```sql\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    assert!(2 <= queries.len());
    for query in queries {
        let mut program = Command::new(python());
        let code = format!("import duckdb; assert duckdb.sql('''{query}''').fetchall(), 'nothing found'");
        program.current_dir(fleet.data()).args(["-c", &code]);
        let output = program.output().unwrap();
        let talk = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{query}: {talk}");
    }
}

fn full_report(id: u64) -> Value {
    let mut full = report(id, 100 + id, &[22, u16::try_from(8000 + id).unwrap()]);
    full["custom_metrics"] = json!({ "batt": [{ "number": id as f64 / 2.0 }] });
    full
}

fn send(fleet: &Fleet, device: &Device, ids: std::ops::RangeInclusive<u64>) {
    let mut link = Link::of(fleet, device);
    for id in ids {
        link.report_taken("pump-7", &full_report(id));
    }
    link.disconnect();
}

fn script(fleet: &Fleet, n: u64) {
    let mut program = fleet.program(&python());
    program.args(["-c", SCRIPT]).arg(fleet.data().join("history"));
    let output = program.arg(n.to_string()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let talk = String::from_utf8_lossy(&output.stderr);
    let log = fleet.server_log();
    assert!(said.contains("the same everywhere"), "{said}{talk}\n{log}");
}

fn n_listed(fleet: &Fleet, metric: &str) -> usize {
    let listed = fleet.json(&["metric", "values", "pump-7", metric]);
    listed["metricDatumList"].as_array().unwrap().len()
}

fn parquet_files(fleet: &Fleet) -> Vec<PathBuf> {
    let Ok(days) = std::fs::read_dir(fleet.data().join("history/reports")) else {
        return Vec::new();
    };
    let files = days.flat_map(|day| std::fs::read_dir(day.unwrap().path()).unwrap());
    let files = files.map(|file| file.unwrap().path());
    files
        .filter(|path| path.extension().is_some_and(|extension| extension == "parquet"))
        .collect()
}

/// Rows of reports that are in files.
fn n_in_files(fleet: &Fleet) -> usize {
    let code =
        "import duckdb; print(duckdb.sql(\"SELECT count(*) FROM 'history/reports/*/*.parquet'\").fetchall()[0][0])";
    let mut program = Command::new(python());
    let output = program.current_dir(fleet.data()).args(["-c", code]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().parse().unwrap_or(0)
}
