//! What changes of the judging configuration cost here, with 1,000 profiles of four behaviors, each attached to a group:
//! `cargo run --release -p picket-store --example judging_speed`.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a measurement, run by hand"
)]
use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use picket_model::profile::{Behaviors, JudgingConfig, Target};
use picket_model::time::Timestamp;
use picket_store::profiles::{NewProfile, ProfileUpdate};
use picket_store::registry::{NewGroup, Tags};
use picket_store::{Db, DbUrl};

const N_PROFILES: usize = 1000;
const N_CHANGES: usize = 2000;
const N_CALLERS: usize = 32;
/// Revisions that a server holds at once.
const N_HELD: usize = 64;
const AT: Timestamp = Timestamp::from_millis(1_790_000_000_000);

#[tokio::main]
async fn main() {
    let folder = tempfile::tempdir_in(".").unwrap();
    let db = Db::open(&DbUrl::Sqlite(folder.path().join("picket.db"))).await.unwrap();
    let n_made = concurrently(N_PROFILES, {
        let db = db.clone();
        move |n| {
            let db = db.clone();
            async move {
                let group = NewGroup {
                    name: format!("group-{n:04}").parse().unwrap(),
                    parent: None,
                    description: None,
                    attributes: Default::default(),
                };
                db.create_group(&group, &Tags::default(), AT).await.unwrap();
                let profile = NewProfile {
                    name: format!("profile-{n:04}").parse().unwrap(),
                    description: None,
                    behaviors: behaviors(1000),
                    extras: "{}".to_owned(),
                };
                db.create_profile(&profile, &Tags::default(), AT).await.unwrap();
                let target = Target::Group(group.name);
                db.attach_profile(&profile.name, &target, AT).await.unwrap();
            }
        }
    });
    let secs = n_made.await;
    let per_sec = 2.0 * N_PROFILES as f64 / secs;
    println!("profiles made and attached, {N_CALLERS} callers: {per_sec:.0} changes/s");

    let (first, before) = (db.judging_revision().await.unwrap(), size_bytes(folder.path()));
    let secs = concurrently(N_CHANGES, {
        let db = db.clone();
        move |n| {
            let db = db.clone();
            async move {
                let update = ProfileUpdate {
                    behaviors: Some(behaviors(2000 + n)),
                    ..ProfileUpdate::default()
                };
                let name = format!("profile-{:04}", n % N_PROFILES).parse().unwrap();
                db.update_profile(&name, &update, None, AT).await.unwrap();
            }
        }
    })
    .await;
    let grown = size_bytes(folder.path()).saturating_sub(before);
    println!(
        "profiles changed, {N_CALLERS} callers: {:.0} changes/s, {:.1} kB of disk each",
        N_CHANGES as f64 / secs,
        grown as f64 / N_CHANGES as f64 / 1000.0
    );

    follow(&db, first).await;
}

/// Reads each revision from `first` on, as a server does while they are made.
async fn follow(db: &Db, first: u64) {
    let (resident, start) = (resident_kb(), Instant::now());
    let mut held: VecDeque<Arc<JudgingConfig>> = VecDeque::new();
    for revision in first..=db.judging_revision().await.unwrap() {
        let config = read(db, held.back(), revision).await;
        assert_eq!((config.revision, config.profiles.len()), (revision, N_PROFILES));
        held.push_back(Arc::new(config));
        if N_HELD < held.len() {
            held.pop_front();
        }
    }
    println!(
        "revisions read in turn: {:.2} ms each, {} MB more resident with {N_HELD} held",
        start.elapsed().as_secs_f64() * 1000.0 / N_CHANGES as f64,
        resident_kb().saturating_sub(resident) / 1000
    );
    let start = Instant::now();
    for back in 0..20 {
        let revision = first + 100 * back;
        assert!(db.judging_config(revision).await.unwrap().is_some());
    }
    println!(
        "a revision read by itself: {:.1} ms",
        start.elapsed().as_secs_f64() * 50.0
    );
}

async fn read(db: &Db, known: Option<&Arc<JudgingConfig>>, revision: u64) -> JudgingConfig {
    let known = known.cloned().unwrap_or_default();
    db.judging_config_after(&known, revision).await.unwrap().unwrap()
}

fn behaviors(limit: usize) -> Behaviors {
    let json = format!(
        r#"[{{"name":"TcpPorts","metric":"aws:listening-tcp-ports",
              "criteria":{{"comparisonOperator":"in-port-set","value":{{"ports":[22,8080]}}}}}},
            {{"name":"UdpPorts","metric":"aws:listening-udp-ports",
              "criteria":{{"comparisonOperator":"in-port-set","value":{{"ports":[5353]}}}}}},
            {{"name":"BytesOut","metric":"aws:all-bytes-out",
              "criteria":{{"comparisonOperator":"less-than-equals","value":{{"count":1000000000000}},"durationSeconds":300}}}},
            {{"name":"Connections","metric":"aws:num-established-tcp-connections",
              "criteria":{{"comparisonOperator":"less-than-equals","value":{{"count":{limit}}},"consecutiveDatapointsToAlarm":2}}}}]"#
    );
    Behaviors::parse(serde_json::from_str(&json).unwrap(), &|_| None).unwrap()
}

/// Runs `one` so many times, by so many callers; the seconds that it took.
async fn concurrently<F>(n: usize, one: impl Fn(usize) -> F + Clone + Send + 'static) -> f64
where
    F: Future<Output = ()> + Send,
{
    let start = Instant::now();
    let callers: Vec<_> = (0..N_CALLERS)
        .map(|caller| {
            let one = one.clone();
            tokio::spawn(async move {
                for at in (caller..n).step_by(N_CALLERS) {
                    one(at).await;
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    start.elapsed().as_secs_f64()
}

fn size_bytes(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder).unwrap();
    files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
}

fn resident_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
