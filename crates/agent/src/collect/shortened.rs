//! A list that is cut to a bound.

use std::collections::HashSet;
use std::hash::Hash;

/// Takes any number of items and keeps a bounded number of them, one of every key before a second of any: what is judged
/// is which remotes and which ports there are, so a crowd of one must not hide another.
#[derive(Debug)]
pub(super) struct Shortened<K, T> {
    n_max: usize,
    n_seen: u64,
    keys: HashSet<K>,
    firsts: Vec<T>,
    others: Vec<T>,
}

impl<K: Eq + Hash, T> Shortened<K, T> {
    pub(super) fn new(n_max: usize) -> Self {
        Self {
            n_max,
            n_seen: 0,
            keys: HashSet::new(),
            firsts: Vec::new(),
            others: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, key: K, item: T) {
        self.n_seen += 1;
        // With a full list of firsts it does not matter any more which keys there are.
        if self.firsts.len() < self.n_max {
            if self.keys.insert(key) {
                self.firsts.push(item);
            } else if self.others.len() < self.n_max {
                self.others.push(item);
            }
        }
    }

    /// The items kept, and how many there were.
    pub(super) fn finish(mut self) -> (Vec<T>, u64) {
        self.others.truncate(self.n_max - self.firsts.len());
        self.firsts.append(&mut self.others);
        (self.firsts, self.n_seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_every_key_comes_before_a_second_of_any() {
        for (items, expected) in [
            ("", " 0"),
            ("a1 a2", "a1a2 2"),
            ("a1 a2 a3 a4 a5", "a1a2a3 5"),
            ("a1 a2 a3 b1", "a1b1a2 4"),
            ("a1 a2 a3 b1 c1 d1", "a1b1c1 6"),
            ("a1 b1 c1 a2 a3", "a1b1c1 5"),
        ] {
            let mut list = Shortened::new(3);
            for item in items.split_whitespace() {
                list.push(item.chars().next(), item);
            }
            let (kept, n_seen) = list.finish();
            assert_eq!(format!("{} {n_seen}", kept.concat()), expected, "{items}");
        }
    }
}
