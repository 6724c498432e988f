//! Comings and goings that wait for the log, those of each client in their order.

use std::collections::{HashMap, VecDeque};

use picket_model::connection::DisconnectReason;
use picket_model::meter::Presence;
use picket_model::name::DeviceName;
use picket_model::record::Record;

/// Comings and goings that wait before any is given up. Beyond it, a connection that ends while its beginning still waits
/// is forgotten, both its ends: nothing is wrong after that but the number of attempts. What is left then is at most two
/// for each connection that there may be.
const N_WAITING_MAX: usize = 1 << 17;

/// Comings and goings that wait for the log.
#[derive(Debug)]
pub(super) struct Presences {
    by_client: HashMap<DeviceName, Waiting>,
    /// Clients of whom something waits and nothing is under way, each once.
    turns: VecDeque<DeviceName>,
    n_waiting: usize,
    n_waiting_max: usize,
    n_lost: u64,
}

#[derive(Debug, Default)]
struct Waiting {
    changes: VecDeque<Change>,
    /// Of a client, one change at a time is with the log: so none can overtake another that is refused.
    is_under_way: bool,
}

/// A client that came or went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Came(Presence),
    Went(Presence, DisconnectReason),
}

impl Default for Presences {
    fn default() -> Self {
        Self::bounded(N_WAITING_MAX)
    }
}

impl Presences {
    fn bounded(n_waiting_max: usize) -> Self {
        Self {
            by_client: HashMap::new(),
            turns: VecDeque::new(),
            n_waiting: 0,
            n_waiting_max,
            n_lost: 0,
        }
    }

    pub(super) fn come(&mut self, presence: Presence) {
        self.push(Change::Came(presence));
    }

    pub(super) fn go(&mut self, presence: Presence, reason: DisconnectReason) {
        if self.n_waiting_max <= self.n_waiting
            && let Some(waiting) = self.by_client.get_mut(&presence.client_id)
        {
            let is_its = |change: &Change| matches!(change, Change::Came(it) if it.connection == presence.connection);
            if let Some(at) = waiting.changes.iter().position(is_its) {
                waiting.changes.remove(at);
                self.n_waiting -= 1;
                self.n_lost += 1;
                return;
            }
        }
        self.push(Change::Went(presence, reason));
    }

    /// What to write next: of each client at most the first. Each is to be settled.
    pub(super) fn round(&mut self, n_max: usize) -> Vec<Change> {
        let mut round = Vec::new();
        while round.len() < n_max
            && let Some(name) = self.turns.pop_front()
        {
            let Some(waiting) = self.by_client.get_mut(&name) else {
                continue;
            };
            match waiting.changes.pop_front() {
                Some(change) => {
                    waiting.is_under_way = true;
                    round.push(change);
                }
                None => drop(self.by_client.remove(&name)),
            }
        }
        round
    }

    /// A change of the last round is in the log, or waits again.
    pub(super) fn settle(&mut self, change: Change, is_written: bool) {
        let name = change.client_id().clone();
        let Some(waiting) = self.by_client.get_mut(&name) else {
            return;
        };
        waiting.is_under_way = false;
        if is_written {
            self.n_waiting -= 1;
        } else {
            waiting.changes.push_front(change);
        }
        if waiting.changes.is_empty() {
            self.by_client.remove(&name);
        } else {
            self.turns.push_back(name);
        }
    }

    /// How many connections have been given up, both ends, since this was asked last.
    pub(super) fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.n_lost)
    }

    fn push(&mut self, change: Change) {
        let name = change.client_id();
        let waiting = match self.by_client.get_mut(name) {
            Some(waiting) => waiting,
            None => {
                self.turns.push_back(name.clone());
                self.by_client.entry(name.clone()).or_default()
            }
        };
        waiting.changes.push_back(change);
        self.n_waiting += 1;
    }
}

impl Change {
    pub(super) fn client_id(&self) -> &DeviceName {
        match self {
            Self::Came(presence) | Self::Went(presence, _) => &presence.client_id,
        }
    }

    pub(super) fn record(&self) -> Record {
        match self {
            Self::Came(presence) => Record::Connected(presence.clone()),
            Self::Went(presence, reason) => Record::Disconnected(presence.clone(), *reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use picket_model::name::CertificateId;

    use super::*;

    fn presence(text: &str) -> Presence {
        Presence {
            client_id: text[1..2].parse().unwrap(),
            is_genuine: true,
            connection: text[2..].parse().unwrap(),
            certificate: CertificateId::from_bytes([1; 32]),
            address: [192, 0, 2, 1].into(),
        }
    }

    fn text(change: &Change) -> String {
        match change {
            Change::Came(it) => format!("+{}{}", it.client_id, it.connection),
            Change::Went(it, _) => format!("-{}{}", it.client_id, it.connection),
        }
    }

    /// Steps: `+a1` client a comes with connection 1, `-a1` it goes, `!` a round that the log refuses, `.` one that it
    /// takes. Says what the log took, a blank between rounds, and how many were given up.
    fn run(n_waiting_max: usize, steps: &str) -> (String, u64) {
        let mut presences = Presences::bounded(n_waiting_max);
        let mut taken = Vec::new();
        for step in steps.split(' ') {
            match step {
                "." | "!" => {
                    let round = presences.round(3);
                    let mut names: Vec<String> = round.iter().map(text).collect();
                    names.sort_unstable();
                    for change in round {
                        presences.settle(change, step == ".");
                    }
                    if step == "." {
                        taken.push(names.join(""));
                    }
                }
                came if came.starts_with('+') => presences.come(presence(came)),
                went => presences.go(presence(went), DisconnectReason::ConnectionLost),
            }
        }
        let n_left: usize = presences.by_client.values().map(|waiting| waiting.changes.len()).sum();
        assert_eq!(n_left, presences.n_waiting, "{steps}");
        if n_left == 0 {
            presences.round(9);
            assert!(presences.by_client.is_empty() && presences.turns.is_empty(), "{steps}");
        }
        (taken.join(" "), presences.take_lost())
    }

    #[test]
    fn each_client_keeps_its_order_whatever_the_log_refuses() {
        for (n_max, steps, expected) in [
            (9, "+a1 +b2 .", ("+a1+b2", 0)),
            (9, "+a1 -a1 +b2 . .", ("+a1+b2 -a1", 0)), // one of a client at a time
            (9, "+a1 -a1 ! ! . .", ("+a1 -a1", 0)),    // refused, and first again
            (9, "+a1 ! -a1 +a3 . . .", ("+a1 -a1 +a3", 0)),
            (9, "+a1 +b2 +c3 +d4 . .", ("+a1+b2+c3 +d4", 0)), // a round has a bound
            (2, "+a1 -a1 +a2 -a2 . . .", ("+a1 -a1 ", 1)),    // the pair that came last is given up
            (2, "+a1 +b2 -a1 -b2 +c3 . .", ("+b2+c3 -b2", 1)),
            (2, "-a1 -b2 -c3 +a4 . .", ("-a1-b2-c3 +a4", 0)), // what has no other end waiting is never given up
            (2, "+a1 +b2 ! -a1 . .", ("+b2 ", 1)),
        ] {
            let (taken, n_lost) = run(n_max, steps);
            assert_eq!((taken.as_str(), n_lost), expected, "{steps}");
        }
    }
}
