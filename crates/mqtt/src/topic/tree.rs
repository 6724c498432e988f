//! Who subscribed to what: a tree of levels, so that a publish looks only at the filters that can match.

use std::collections::HashMap;
use std::hash::Hash;

/// Subscribers by filter. A key subscribes to one filter at most once; `V` says how.
#[derive(Clone, Debug)]
pub struct Tree<K, V> {
    root: Node<K, V>,
    n_subscriptions: usize,
}

/// The members of one shared subscription that match a topic: one of them is to get the message.
#[derive(Clone, Copy, Debug)]
pub struct Shared<'a, K, V> {
    /// The group's name.
    pub group: &'a str,
    /// The filter that the group shares.
    pub filter: &'a str,
    /// Its members, never empty.
    pub members: &'a [(K, V)],
}

#[derive(Clone, Debug)]
struct Node<K, V> {
    children: HashMap<Box<str>, Node<K, V>>,
    plain: HashMap<K, V>,
    groups: Vec<Group<K, V>>,
}

#[derive(Clone, Debug)]
struct Group<K, V> {
    name: Box<str>,
    filter: Box<str>,
    members: Vec<(K, V)>,
}

impl<K, V> Default for Node<K, V> {
    fn default() -> Self {
        Self {
            children: HashMap::new(),
            plain: HashMap::new(),
            groups: Vec::new(),
        }
    }
}

impl<K, V> Default for Tree<K, V> {
    fn default() -> Self {
        Self {
            root: Node::default(),
            n_subscriptions: 0,
        }
    }
}

impl<K: Clone + Eq + Hash, V> Tree<K, V> {
    /// How many subscriptions there are.
    pub fn len(&self) -> usize {
        self.n_subscriptions
    }

    /// Whether there is no subscription.
    pub fn is_empty(&self) -> bool {
        self.n_subscriptions == 0
    }

    /// Subscribes; says what the same key had there before. `filter` must have passed [`super::check_filter`], which
    /// bounds the depth of the tree.
    pub fn insert(&mut self, group: Option<&str>, filter: &str, key: K, value: V) -> Option<V> {
        let mut node = &mut self.root;
        for level in filter.split('/') {
            // Looked up before the level is copied: most subscriptions find their levels there.
            if !node.children.contains_key(level) {
                node.children.insert(level.into(), Node::default());
            }
            node = node.children.get_mut(level)?;
        }
        let before = match group {
            Some(group) => node.insert_shared(group, filter, key, value),
            None => node.plain.insert(key, value),
        };
        self.n_subscriptions += usize::from(before.is_none());
        before
    }

    /// Ends a subscription; says what it was, if there was one.
    pub fn remove(&mut self, group: Option<&str>, filter: &str, key: &K) -> Option<V> {
        let levels: Vec<&str> = filter.split('/').collect();
        let removed = self.root.remove(group, &levels, key);
        self.n_subscriptions -= usize::from(removed.is_some());
        removed
    }

    /// Calls `plain` for each subscriber whose filter matches, and `shared` once for each group. A key with several
    /// matching filters is met several times.
    pub fn for_each_match<'a>(
        &'a self,
        topic: &str,
        mut plain: impl FnMut(&'a K, &'a V),
        mut shared: impl FnMut(Shared<'a, K, V>),
    ) {
        let may_be_wild = !topic.starts_with('$');
        self.root.visit(topic, may_be_wild, &mut |node| {
            for (key, value) in &node.plain {
                plain(key, value);
            }
            for Group { name, filter, members } in &node.groups {
                shared(Shared {
                    group: name,
                    filter,
                    members,
                });
            }
        });
    }
}

impl<K: Clone + Eq + Hash, V> Node<K, V> {
    fn insert_shared(&mut self, name: &str, filter: &str, key: K, value: V) -> Option<V> {
        let Some(group) = self.groups.iter_mut().find(|group| *group.name == *name) else {
            self.groups.push(Group {
                name: name.into(),
                filter: filter.into(),
                members: vec![(key, value)],
            });
            return None;
        };
        if let Some((_, before)) = group.members.iter_mut().find(|(member, _)| *member == key) {
            return Some(std::mem::replace(before, value));
        }
        group.members.push((key, value));
        None
    }

    fn remove(&mut self, group: Option<&str>, levels: &[&str], key: &K) -> Option<V> {
        let Some((level, rest)) = levels.split_first() else {
            return self.remove_here(group, key);
        };
        let child = self.children.get_mut(*level)?;
        let removed = child.remove(group, rest, key);
        if child.is_empty() {
            self.children.remove(*level);
        }
        removed
    }

    fn remove_here(&mut self, group: Option<&str>, key: &K) -> Option<V> {
        let Some(group) = group else {
            let removed = self.plain.remove(key);
            // A level that a fleet has left gives its memory back.
            if self.plain.len() * 8 < self.plain.capacity() {
                self.plain.shrink_to_fit();
            }
            return removed;
        };
        let group = self.groups.iter().position(|known| *known.name == *group)?;
        let members = &mut self.groups[group].members;
        let at = members.iter().position(|(member, _)| member == key)?;
        let (_, removed) = members.swap_remove(at);
        if members.is_empty() {
            self.groups.swap_remove(group);
        }
        Some(removed)
    }

    fn is_empty(&self) -> bool {
        self.children.is_empty() && self.plain.is_empty() && self.groups.is_empty()
    }

    fn visit<'a>(&'a self, topic: &str, may_be_wild: bool, found: &mut impl FnMut(&'a Self)) {
        let (level, rest) = match topic.split_once('/') {
            Some((level, rest)) => (level, Some(rest)),
            None => (topic, None),
        };
        let mut descend = |child: &'a Self| match rest {
            Some(rest) => child.visit(rest, true, found),
            None => found(child),
        };
        if let Some(child) = self.children.get(level) {
            descend(child);
        }
        if may_be_wild {
            if let Some(child) = self.children.get("+") {
                descend(child);
            }
            if let Some(child) = self.children.get("#") {
                found(child);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches_in(tree: &Tree<u8, ()>, topic: &str) -> Vec<u8> {
        let mut keys = Vec::new();
        tree.for_each_match(topic, |key, ()| keys.push(*key), |_| ());
        keys.sort_unstable();
        keys
    }

    #[test]
    fn groups_are_met_once_each() {
        let mut tree = Tree::default();
        tree.insert(Some("g"), "a/+", 1, ());
        tree.insert(Some("g"), "a/+", 2, ());
        tree.insert(Some("h"), "a/b", 3, ());
        tree.insert(None, "a/b", 1, ());
        let mut groups = Vec::new();
        tree.for_each_match(
            "a/b",
            |_, ()| (),
            |shared| groups.push((shared.group, shared.filter, shared.members.len())),
        );
        groups.sort_unstable();
        assert_eq!(groups, [("g", "a/+", 2), ("h", "a/b", 1)]);
        assert_eq!(tree.insert(None, "a/b", 1, ()), Some(()));
        assert_eq!(tree.len(), 4);
        for (group, filter, key) in [
            (Some("g"), "a/+", 1),
            (Some("g"), "a/+", 2),
            (Some("h"), "a/b", 3),
            (None, "a/b", 1),
        ] {
            assert_eq!(tree.remove(group, filter, &key), Some(()), "{group:?} {filter}");
            assert_eq!(tree.remove(group, filter, &key), None, "{group:?} {filter}");
        }
        assert!(tree.is_empty() && tree.root.is_empty());
    }

    fn filters() -> impl Strategy<Value = String> {
        prop::collection::vec(prop::sample::select(vec!["a", "b", "$x", "", "+"]), 1..5)
            .prop_map(|levels| levels.join("/"))
            .prop_flat_map(|filter| {
                let wild = if filter.is_empty() {
                    "#".to_owned()
                } else {
                    format!("{filter}/#")
                };
                prop::sample::select(vec![filter, wild])
            })
            .prop_filter("a filter", |filter| super::super::check_filter(filter).is_ok())
    }

    proptest! {
        #[test]
        fn the_tree_finds_what_matching_one_by_one_finds(
            subscribed in prop::collection::vec(filters(), 0..20),
            removed in prop::collection::vec(any::<prop::sample::Index>(), 0..5),
            topic in prop::collection::vec(prop::sample::select(vec!["a", "b", "$x", ""]), 1..6),
        ) {
            let topic = topic.join("/");
            let mut live: Vec<Option<&String>> = subscribed.iter().map(Some).collect();
            let mut tree = Tree::default();
            for (key, filter) in (0..).zip(&subscribed) {
                tree.insert(None, filter, key, ());
            }
            for index in removed.iter().filter(|_| !subscribed.is_empty()) {
                let at = index.index(subscribed.len());
                let key = u8::try_from(at).unwrap();
                prop_assert_eq!(tree.remove(None, &subscribed[at], &key).is_some(), live[at].take().is_some());
            }
            let expected: Vec<u8> = (0..)
                .zip(&live)
                .filter(|(_, filter)| filter.is_some_and(|filter| super::super::matches(filter, &topic)))
                .map(|(key, _)| key)
                .collect();
            prop_assert_eq!(matches_in(&tree, &topic), expected);
            prop_assert_eq!(tree.len(), live.iter().flatten().count());
        }
    }
}
