//! What a load costs the server: CPU time of its process, as the kernel tells it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;

/// The unit of times in `/proc`: Linux shows hundredths of a second to programs, whatever it counts in.
const TICK: Duration = Duration::from_millis(10);
/// A server that spends less than a tick in this time has done its work.
const REST: Duration = Duration::from_millis(100);
/// How long it may go on after the last answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// The CPU time of a process on this machine from a moment on.
#[derive(Debug)]
pub(crate) struct ServerCpu {
    stat: PathBuf,
    began: Duration,
}

impl ServerCpu {
    /// Counts from now on.
    pub(crate) fn start(pid: u32) -> anyhow::Result<Self> {
        let stat = PathBuf::from(format!("/proc/{pid}/stat"));
        let began = spent(&stat)?;
        Ok(Self { stat, began })
    }

    /// Waits until the server rests: what it does after the last answer belongs to the work, too.
    pub(crate) async fn spent(&self) -> anyhow::Result<Duration> {
        let mut before = spent(&self.stat)?;
        let rests = async {
            loop {
                tokio::time::sleep(REST).await;
                let now = spent(&self.stat)?;
                if now.saturating_sub(before) <= TICK {
                    return Ok(now.saturating_sub(self.began));
                }
                before = now;
            }
        };
        let rested = tokio::time::timeout(PATIENCE, rests).await;
        rested.context("the server does not come to rest")?
    }
}

fn spent(stat: &Path) -> anyhow::Result<Duration> {
    let text = std::fs::read_to_string(stat).with_context(|| format!("cannot read {}", stat.display()))?;
    let n_ticks = ticks(&text).with_context(|| format!("{} has no CPU times", stat.display()))?;
    Ok(TICK * n_ticks)
}

/// Ticks in user mode and in the kernel: the 14th and 15th word, counted behind the name, which may hold anything.
fn ticks(text: &str) -> Option<u32> {
    let (_, words) = text.rsplit_once(')')?;
    let mut words = words.split_whitespace().skip(11);
    let mut next = || words.next()?.parse::<u32>().ok();
    next()?.checked_add(next()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_stand_behind_the_name() {
        for (text, expected) in [
            (
                "7 (picket) S 1 7 7 0 -1 4194304 90 0 0 0 12 30 0 0 20 0 3 0 99",
                Some(42),
            ),
            ("7 (a) b) (c) S 1 7 7 0 -1 4194304 90 0 0 0 1 2 0 0 20", Some(3)),
            ("7 (picket) S 1 7 7 0 -1 4194304 90 0 0 0 12", None),
            ("", None),
        ] {
            assert_eq!(ticks(text), expected, "{text}");
        }
    }

    #[tokio::test]
    async fn work_is_counted() {
        let cpu = ServerCpu::start(std::process::id()).unwrap();
        let mut n = 0_u64;
        while cpu.began + TICK * 3 > spent(&cpu.stat).unwrap() {
            n = std::hint::black_box(n.wrapping_mul(3) + 1);
        }
        assert!(TICK * 2 < cpu.spent().await.unwrap());
        assert!(ServerCpu::start(0).is_err());
    }
}
