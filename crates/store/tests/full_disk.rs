//! A disk without space: what does not fit is refused as such, nothing acknowledged is lost, reads go on, and what
//! is there again is used without a restart.
//!
//! Space runs out for real, in processes of their own: on a small file system where this user may mount one, and under
//! a limit on the size of files everywhere.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed step is a failed test")]

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use bytes::Bytes;
use picket_model::behavior::{Behavior, wire};
use picket_model::time::Timestamp;
use picket_model::value::MetricValue;
use picket_model::violation::{ChangeKind, ViolationChange, ViolationId};
use picket_store::decisions::{Cause, NewDecision};
use picket_store::effects::{Effects, Position};
use picket_store::log::{Append, LogError, LogLimits, PartitionId, ReportLog, Seq, SqliteLog};
use picket_store::violations::ViolationFilter;
use picket_store::{Db, DbUrl, StoreError};
use rustix::process::{Resource, Rlimit, setrlimit};

/// Names the folder for which space runs out, in a process that was started for that.
const FOLDER: &str = "PICKET_TEST_FULL_FOLDER";
/// Bytes that a file may have there; absent where the file system is small.
const FILE_BYTES: &str = "PICKET_TEST_FULL_FILE_BYTES";

/// A folder for which space has run out, or will.
struct Space {
    folder: PathBuf,
    file_bytes: Option<u64>,
}

impl Space {
    /// The one that this process was started for.
    fn of_this_process() -> Option<Self> {
        let space = Self {
            folder: std::env::var_os(FOLDER)?.into(),
            file_bytes: std::env::var(FILE_BYTES).ok().map(|bytes| bytes.parse().unwrap()),
        };
        match space.file_bytes {
            Some(bytes) => limit_files(Some(bytes)),
            None => std::fs::write(space.ballast(), vec![0; 1 << 20]).unwrap(),
        }
        Some(space)
    }

    fn ballast(&self) -> PathBuf {
        self.folder.join("ballast")
    }

    fn comes_back(&self) {
        match self.file_bytes {
            Some(_) => limit_files(None),
            None => std::fs::remove_file(self.ballast()).unwrap(),
        }
    }
}

fn limit_files(bytes: Option<u64>) {
    let limit = Rlimit {
        current: bytes,
        maximum: None,
    };
    setrlimit(Resource::Fsize, limit).unwrap();
}

/// Runs a test again where space runs out, in several ways.
fn where_space_runs_out(test: &str, body: impl AsyncFn(&Space)) {
    if let Some(space) = Space::of_this_process() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        return runtime.block_on(body(&space));
    }
    // In a mount namespace that ends with the process. Not every user and container may have one.
    let mount = "mount -t tmpfs -o size=4m tmpfs \"$1\" && shift && exec \"$@\"";
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["-rm", "sh", "-c", mount, "-"].map(OsString::from);
    if let Some(output) = again(
        Command::new("unshare").args(arguments).arg(folder.path()),
        test,
        folder.path(),
    ) {
        passed(&output);
    }
    // Odd sizes, so that it is another write each time that does not fit.
    for file_bytes in [1_600_000, 1_743_210, 1_900_001, 2_248_576] {
        let folder = tempfile::tempdir().unwrap();
        // The signal that comes with the error would end the process.
        let mut shell = Command::new("sh");
        shell
            .args(["-c", "trap '' XFSZ; exec \"$@\"", "-"])
            .env(FILE_BYTES, file_bytes.to_string());
        passed(&again(&mut shell, test, folder.path()).unwrap());
    }
}

/// What this test said when it was run by that command; `None` if it could not be run.
fn again(command: &mut Command, test: &str, folder: &Path) -> Option<Output> {
    command.arg(std::env::current_exe().unwrap());
    let output = command
        .args(["--exact", "--nocapture", test])
        .env(FOLDER, folder)
        .output()
        .ok()?;
    String::from_utf8_lossy(&output.stdout)
        .contains("running 1 test")
        .then_some(output)
}

fn passed(output: &Output) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
}

#[test]
fn the_log_refuses_and_goes_on() {
    where_space_runs_out("the_log_refuses_and_goes_on", async |space| {
        let limits = LogLimits {
            size_bytes_max: 1 << 30,
            tail_bytes_max: 0,
        };
        let log = SqliteLog::open(&space.folder.join("log.db"), 2, limits).await.unwrap();
        let mut acknowledged = Vec::new();
        fill_log(&log, &mut acknowledged).await;
        let n_before = acknowledged.len();
        for _ in 0..20 {
            let refused = log.append(batch(n_before)).await;
            assert!(matches!(refused, Err(LogError::Full(_))), "still full: {refused:?}");
            assert_eq!(log.bounds(PartitionId(1)).await.unwrap().next, Seq(n_before as u64 + 1));
        }
        assert_eq!(stored(&log).await, acknowledged, "reads go on");
        space.comes_back();
        while acknowledged.len() < n_before + 20 {
            let n = acknowledged.len();
            log.append(batch(n)).await.unwrap();
            acknowledged.push(text(n));
        }
        assert_eq!(stored(&log).await, acknowledged, "all there, in order");
    });
}

fn text(n: usize) -> String {
    format!("{n:>4000}")
}

fn batch(n: usize) -> Vec<Append> {
    [0, 1]
        .map(|partition| Append {
            partition: PartitionId(partition),
            bytes: Bytes::from(text(n)),
        })
        .into()
}

async fn fill_log(log: &SqliteLog, acknowledged: &mut Vec<String>) {
    loop {
        let n = acknowledged.len();
        match log.append(batch(n)).await {
            Ok(_) => acknowledged.push(text(n)),
            Err(LogError::Full(_)) => return,
            Err(err) => panic!("full, but told as {err:?}"),
        }
        assert!(n < 10_000, "never full");
    }
}

/// What the log holds, the same in both partitions.
async fn stored(log: &SqliteLog) -> Vec<String> {
    let mut found = [Vec::new(), Vec::new()];
    for (partition, texts) in (0..).zip(&mut found) {
        loop {
            let from = Seq(texts.len() as u64 + 1);
            let records = log.read(PartitionId(partition), from, 10_000).await.unwrap();
            if records.is_empty() {
                break;
            }
            texts.extend(
                records
                    .into_iter()
                    .map(|(_, bytes)| String::from_utf8(bytes.to_vec()).unwrap()),
            );
        }
    }
    let [first, second] = found;
    assert!(first == second, "a batch is in both partitions or in none");
    first
}

#[test]
fn the_database_refuses_and_goes_on() {
    where_space_runs_out("the_database_refuses_and_goes_on", async |space| {
        let db = Db::open(&DbUrl::Sqlite(space.folder.join("picket.db"))).await.unwrap();
        let position = db.claim(1).await.unwrap()[0];
        let mut n_written = 0;
        loop {
            match db.commit_effects(&[effects(position, n_written)]).await {
                Ok(()) => n_written += 1,
                Err(StoreError::Full(_)) => break,
                Err(err) => panic!("full, but told as {err:?}"),
            }
            assert!(n_written < 10_000, "never full");
        }
        for _ in 0..20 {
            let refused = db.commit_effects(&[effects(position, n_written)]).await;
            assert!(matches!(refused, Err(StoreError::Full(_))), "still full: {refused:?}");
            // A smaller one may still fit; if not, it says so.
            match db.quarantine(&decision()).await {
                Ok(_) | Err(StoreError::Full(_)) => {}
                Err(err) => panic!("full, but told as {err:?}"),
            }
        }
        holds(&db, n_written).await;
        space.comes_back();
        for _ in 0..10 {
            db.commit_effects(&[effects(position, n_written)]).await.unwrap();
            n_written += 1;
        }
        db.quarantine(&decision()).await.unwrap();
        assert!(db.is_quarantined(&decision().thing).await.unwrap());
        holds(&db, n_written).await;
    });
}

const N_VIOLATIONS: u64 = 4;

/// Violations of the `n`th transaction.
fn effects(position: Position, n: u64) -> Effects {
    let written = format!(
        r#"{{"name":"Ports","metric":"aws:listening-tcp-ports","criteria":{{"comparisonOperator":"in-port-set",
            "value":{{"ports":{:?}}}}}}}"#,
        (1..60).collect::<Vec<u16>>()
    );
    let written: wire::Behavior = serde_json::from_str(&written).unwrap();
    let behavior: Arc<Behavior> = Arc::new(written.try_into().unwrap());
    let raised = |nth| {
        let (thing, profile) = (format!("pump-{n}-{nth}").parse().unwrap(), "Quiet".parse().unwrap());
        let at = Timestamp::from_millis(1000);
        ViolationChange {
            id: ViolationId::derive(&thing, &profile, &behavior.name, at),
            thing,
            profile,
            behavior: Arc::clone(&behavior),
            at,
            kind: ChangeKind::Raised {
                value: MetricValue::Ports([22].into()),
                is_supported: true,
                is_eager: false,
            },
        }
    };
    Effects {
        partition: position.partition,
        epoch: position.epoch,
        applied_seq: Seq(n + 1),
        changes: (0..N_VIOLATIONS).map(raised).collect(),
        samples: Vec::new(),
    }
}

fn decision() -> NewDecision {
    NewDecision {
        thing: "pump-0-0".parse().unwrap(),
        cause: Cause::Operator,
        group: None,
        at: Timestamp::from_millis(2000),
        by: "alice".to_owned(),
    }
}

/// The database holds exactly the first `n_written` transactions.
async fn holds(db: &Db, n_written: u64) {
    let n_expected = n_written * N_VIOLATIONS;
    let found = db
        .active_violations(&ViolationFilter::default(), None, 100_000)
        .await
        .unwrap();
    assert_eq!(found.len() as u64, n_expected);
    let mut n_items = 0;
    loop {
        let items = db.outbox_after(n_items, 1_000).await.unwrap();
        let Some(&(last, _)) = items.last() else { break };
        assert_eq!(last, n_items + items.len() as u64, "without gaps");
        n_items = last;
    }
    assert_eq!((n_items, *db.outbox_signal().borrow()), (n_expected, n_expected));
}
