//! What was found out about a few topics, so that a device that keeps to them does not ask again.

/// Topics remembered; a device that uses more pays for asking again.
const N_REMEMBERED_MAX: usize = 16;

/// Answers by topic, until whatever they follow from changes.
#[derive(Debug)]
pub(crate) struct Memory<T> {
    answers: Vec<(Box<str>, T)>,
    next: usize,
}

impl<T> Default for Memory<T> {
    fn default() -> Self {
        Self {
            answers: Vec::new(),
            next: 0,
        }
    }
}

impl<T: Copy> Memory<T> {
    /// What was said of this name before, or what `decide` says of it now.
    pub(crate) fn recall(&mut self, name: &str, decide: impl FnOnce() -> T) -> T {
        if let Some((_, answer)) = self.answers.iter().find(|(known, _)| **known == *name) {
            return *answer;
        }
        let answer = decide();
        if self.answers.len() < N_REMEMBERED_MAX {
            self.answers.push((name.into(), answer));
        } else {
            self.answers[self.next] = (name.into(), answer);
            self.next = (self.next + 1) % N_REMEMBERED_MAX;
        }
        answer
    }
}
