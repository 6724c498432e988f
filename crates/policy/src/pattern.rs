//! Texts with wildcards and variables.

use crate::context::Context;
use crate::key::Key;

/// A text with `*` (any characters, also `/`), `?` (one character) and variables. MQTT's `+` and `#` are plain characters.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pattern {
    tokens: Vec<Token>,
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Literal(Box<str>),
    /// `*`; never two in a row.
    Any,
    /// `?`
    One,
    Variable(Key),
}

/// Whether `*` and `?` are wildcards in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wildcards {
    Special,
    Plain,
}

/// A `${` without its `}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unclosed;

/// What variables may stand for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Values<'a> {
    pub(crate) context: &'a Context,
    /// A value with `+` or `#` counts as absent: the text decides what a client may subscribe to.
    pub(crate) is_filter: bool,
    /// A variable that the caller did not tell stands for any characters: the text says what is denied.
    pub(crate) untold_is_any: bool,
}

/// A text in two pieces, so that a topic need not be copied behind `topic/`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Joined<'a>(pub(crate) &'a str, pub(crate) &'a str);

impl Pattern {
    pub(crate) fn parse(text: &str, wildcards: Wildcards) -> Result<Self, Unclosed> {
        let mut tokens = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let special = match c {
                '$' if rest.starts_with("${") => {
                    let end = rest.find('}').ok_or(Unclosed)?;
                    let name = &rest[2..end];
                    rest = &rest[end + 1..];
                    match name {
                        "*" | "?" | "$" => {
                            literal.push_str(name);
                            continue;
                        }
                        _ => Token::Variable(Key::of(name)),
                    }
                }
                '*' | '?' if wildcards == Wildcards::Special => {
                    rest = &rest[1..];
                    if c == '*' { Token::Any } else { Token::One }
                }
                _ => {
                    literal.push(c);
                    rest = &rest[c.len_utf8()..];
                    continue;
                }
            };
            if !literal.is_empty() {
                tokens.push(Token::Literal(std::mem::take(&mut literal).into()));
            }
            if special != Token::Any || tokens.last() != Some(&Token::Any) {
                tokens.push(special);
            }
        }
        if !literal.is_empty() {
            tokens.push(Token::Literal(literal.into()));
        }
        Ok(Self { tokens })
    }

    /// Whether every variable in the text has a value.
    pub(crate) fn is_resolved(&self, values: Values<'_>) -> bool {
        self.tokens.iter().all(|token| match token {
            Token::Variable(key) => values.of(key).is_some(),
            Token::Literal(_) | Token::Any | Token::One => true,
        })
    }

    /// Whether the text matches, values taken literally. A variable without value matches nothing.
    ///
    /// Goes back to the last `*` only, which suffices: time is at most the product of both lengths.
    pub(crate) fn matches(&self, text: Joined<'_>, values: Values<'_>) -> bool {
        let (mut token, mut at) = (0, 0);
        let mut last_any: Option<(usize, usize)> = None;
        loop {
            let step = match self.tokens.get(token) {
                Some(any) if any.is_any(values) => {
                    token += 1;
                    if token == self.tokens.len() {
                        return true;
                    }
                    last_any = Some((token, at));
                    continue;
                }
                Some(Token::One) => text.char_len_at(at),
                Some(Token::Literal(literal)) => text.has_at(at, literal),
                Some(Token::Variable(key)) => match values.of(key) {
                    Some(value) => text.has_at(at, &value),
                    None => return false,
                },
                None if at == text.len() => return true,
                Some(Token::Any) | None => None,
            };
            match (step, last_any) {
                (Some(step), _) => (token, at) = (token + 1, at + step),
                (None, Some((after_any, from))) => {
                    let Some(next) = self.next_try(after_any, from, text) else {
                        return false;
                    };
                    last_any = Some((after_any, next));
                    (token, at) = (after_any, next);
                }
                (None, None) => return false,
            }
        }
    }

    /// Where, after `from`, the token behind a `*` may begin: at the next character, or where its first byte is found.
    fn next_try(&self, after_any: usize, from: usize, text: Joined<'_>) -> Option<usize> {
        let next = from + text.char_len_at(from)?;
        match self.tokens.get(after_any) {
            Some(Token::Literal(literal)) => text.find_from(next, *literal.as_bytes().first()?),
            _ => Some(next),
        }
    }

    /// Whether a text without any variable in sight matches.
    pub(crate) fn matches_plain(&self, text: &str) -> bool {
        let context = &Context::default();
        let is_filter = false;
        let values = Values {
            context,
            is_filter,
            untold_is_any: false,
        };
        self.matches(Joined("", text), values)
    }

    /// Whether the caller did not tell what a variable in the text stands for.
    pub(crate) fn is_untold(&self, context: &Context) -> bool {
        self.tokens
            .iter()
            .any(|token| matches!(token, Token::Variable(key) if key.is_untold(context)))
    }

    /// The variables in the text.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.tokens.iter().filter_map(|token| match token {
            Token::Variable(key) => Some(key),
            Token::Literal(_) | Token::Any | Token::One => None,
        })
    }

    /// The text with values in place of variables; wildcards stand for themselves. `None` if a value is missing.
    pub(crate) fn rendered(&self, values: Values<'_>) -> Option<String> {
        let mut text = String::new();
        for token in &self.tokens {
            match token {
                Token::Literal(literal) => text.push_str(literal),
                Token::Any => text.push('*'),
                Token::One => text.push('?'),
                Token::Variable(key) => text.push_str(&values.of(key)?),
            }
        }
        Some(text)
    }
}

impl Token {
    /// Whether it stands for any characters.
    fn is_any(&self, values: Values<'_>) -> bool {
        match self {
            Self::Any => true,
            Self::Variable(key) => values.untold_is_any && key.is_untold(values.context),
            Self::Literal(_) | Self::One => false,
        }
    }
}

impl<'a> Values<'a> {
    fn of(&self, key: &Key) -> Option<std::borrow::Cow<'a, str>> {
        let value = key.text(self.context)?;
        let is_harmless = !self.is_filter || !value.contains(['+', '#']);
        is_harmless.then_some(value)
    }
}

impl Joined<'_> {
    fn len(self) -> usize {
        self.0.len() + self.1.len()
    }

    /// The piece's length if it stands at byte `at`.
    fn has_at(self, at: usize, piece: &str) -> Option<usize> {
        let (head, tail, piece) = (self.0.as_bytes(), self.1.as_bytes(), piece.as_bytes());
        let is_there = match head.get(at..) {
            Some(head) if piece.len() <= head.len() => head.starts_with(piece),
            Some(head) => piece.starts_with(head) && tail.starts_with(&piece[head.len()..]),
            None => tail.get(at - head.len()..).is_some_and(|tail| tail.starts_with(piece)),
        };
        is_there.then_some(piece.len())
    }

    /// Where the byte is first found at `at` or later.
    fn find_from(self, at: usize, byte: u8) -> Option<usize> {
        let (head, tail) = (self.0.as_bytes(), self.1.as_bytes());
        let in_head = head.iter().skip(at).position(|&found| found == byte).map(|n| at + n);
        let tail_at = at.saturating_sub(head.len());
        let in_tail = || tail.iter().skip(tail_at).position(|&found| found == byte);
        in_head.or_else(|| in_tail().map(|n| head.len() + tail_at + n))
    }

    /// How many bytes the character at byte `at`, a boundary, has. `None` at the end.
    fn char_len_at(self, at: usize) -> Option<usize> {
        let text = match at.checked_sub(self.0.len()) {
            Some(at) => self.1.get(at..),
            None => self.0.get(at..),
        };
        text?.chars().next().map(char::len_utf8)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same question answered in the most obvious way. `escaped` marks characters that are no wildcards.
    fn oracle(pattern: &[(char, bool)], text: &[char]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some((('*', false), rest)) => (0..=text.len()).any(|n| oracle(rest, &text[n..])),
            Some((('?', false), rest)) => !text.is_empty() && oracle(rest, &text[1..]),
            Some(((c, _), rest)) => text.first() == Some(c) && oracle(rest, &text[1..]),
        }
    }

    fn matches(pattern: &str, context: &Context, text: (&str, &str)) -> bool {
        let pattern = Pattern::parse(pattern, Wildcards::Special).unwrap();
        pattern.matches(
            Joined(text.0, text.1),
            Values {
                context,
                is_filter: false,
                untold_is_any: false,
            },
        )
    }

    proptest! {
        #[test]
        fn wildcards_match_as_the_oracle_says(
            pattern in "[ab*?é/]{0,8}",
            text in "[ab*é/]{0,8}",
            split in 0..9_usize,
            client_id in "[ab*?]{1,3}",
        ) {
            let plain: Vec<(char, bool)> = pattern.chars().map(|c| (c, false)).collect();
            let value: Vec<(char, bool)> = client_id.chars().map(|c| (c, true)).collect();
            let middle = plain.len() / 2;
            let with_value = [&plain[..middle], &value, &plain[middle..]].concat();
            let (head, tail): (String, String) = (pattern.chars().take(middle).collect(), pattern.chars().skip(middle).collect());

            let chars: Vec<char> = text.chars().collect();
            let split = text.char_indices().map(|(at, _)| at).nth(split).unwrap_or(text.len());
            let context = Context { client_id: client_id.into(), ..Context::default() };
            prop_assert_eq!(matches(&pattern, &context, text.split_at(split)), oracle(&plain, &chars));
            let pattern = format!("{head}${{iot:ClientId}}{tail}");
            prop_assert_eq!(matches(&pattern, &context, text.split_at(split)), oracle(&with_value, &chars));
        }

        #[test]
        fn any_text_is_a_pattern_or_unclosed(text in ".{0,40}") {
            let _ = Pattern::parse(&text, Wildcards::Special);
        }
    }

    #[test]
    fn many_stars_cost_little() {
        let pattern = "*a".repeat(500) + "*b";
        assert!(!matches(&pattern, &Context::default(), ("topic/", &"a".repeat(65_000))));
    }
}
