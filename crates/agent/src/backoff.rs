//! How long to wait before the next attempt to connect.

use std::time::Duration;

/// Waits that double from attempt to attempt up to a bound, each cut by chance to between half and all of it, so that a
/// fleet that lost its server does not come back as one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    /// Waits that suit a time between reports: from half a second or a second, to four times that time, but at least five
    /// seconds and at most a minute.
    pub(crate) fn new(interval: Duration) -> Self {
        let is_fast = interval < Duration::from_secs(10);
        let first = Duration::from_millis(if is_fast { 500 } else { 1000 });
        Self {
            first,
            longest: (interval * 4).clamp(Duration::from_secs(5), Duration::from_secs(60)),
            next: first,
        }
    }

    /// The wait before the next attempt. `chance` is any number.
    pub(crate) fn wait(&mut self, chance: u32) -> Duration {
        let half = self.next / 2;
        self.next = (self.next * 2).min(self.longest);
        half + half.mul_f64(f64::from(chance) / f64::from(u32::MAX))
    }

    /// Begins again: an attempt led to something.
    pub(crate) fn reset(&mut self) {
        self.next = self.first;
    }
}

/// A number by chance; all zero if the kernel gives none, which costs nothing but the spread.
pub(crate) fn chance() -> u32 {
    let mut bytes = [0; 4];
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::NONBLOCK);
    u32::from_ne_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_bound() {
        for (interval_secs, chance, expected) in [
            (300, u32::MAX, "1000 2000 4000 8000 16000 32000 60000 60000"),
            (300, 0, "500 1000 2000 4000 8000 16000 30000 30000"),
            (1, u32::MAX, "500 1000 2000 4000 5000 5000 5000 5000"),
            (5, u32::MAX, "500 1000 2000 4000 8000 16000 20000 20000"),
        ] {
            let mut backoff = Backoff::new(Duration::from_secs(interval_secs));
            let waits: Vec<String> = (0..8).map(|_| backoff.wait(chance).as_millis().to_string()).collect();
            assert_eq!(waits.join(" "), expected, "{interval_secs} {chance}");
            backoff.reset();
            assert_eq!(backoff.wait(u32::MAX), backoff.first);
        }
    }
}
