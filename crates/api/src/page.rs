//! Pages of a list: a token says after which key the next one begins, so it stays right whatever is inserted or deleted.

use std::fmt::Display;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::error::ApiError;

/// Elements of a page when the caller names no number, as on AWS where it is documented.
const N_DEFAULT: u32 = 25;

/// Which page of which list.
pub(crate) struct Page<K> {
    list: &'static str,
    n: u32,
    /// The last key of the page before.
    pub(crate) after: Option<K>,
}

impl<K: FromStr> Page<K> {
    /// The page that the caller asked for.
    pub(crate) fn of(list: &'static str, token: Option<&str>, n: Option<u32>) -> Result<Self, ApiError> {
        let after = token.map(|token| key_of(list, token)).transpose()?;
        Ok(Self {
            list,
            n: n.unwrap_or(N_DEFAULT),
            after,
        })
    }

    /// How many elements to read: one more than the page has, to know whether there is another page.
    pub(crate) fn n_read(&self) -> u32 {
        self.n.saturating_add(1)
    }

    /// The page from what was read, and the token of the next one.
    pub(crate) fn cut<T, D: Display>(&self, mut read: Vec<T>, key: impl Fn(&T) -> D) -> (Vec<T>, Option<String>) {
        let n = usize::try_from(self.n).unwrap_or(usize::MAX);
        if read.len() <= n {
            return (read, None);
        }
        read.truncate(n);
        let token = read
            .last()
            .map(|last| STANDARD.encode(format!("{} {}", self.list, key(last))));
        (read, token)
    }
}

fn key_of<K: FromStr>(list: &str, token: &str) -> Result<K, ApiError> {
    let read = || {
        let text = String::from_utf8(STANDARD.decode(token).ok()?).ok()?;
        text.strip_prefix(list)?.strip_prefix(' ')?.parse().ok()
    };
    read().ok_or_else(|| {
        let found: String = token.chars().take(100).collect();
        ApiError::invalid(format!(
            "token is {found:?}, expected one that {list} gave with the page before"
        ))
    })
}
