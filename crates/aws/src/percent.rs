//! Percent-encoding as AWS's clients do it: everything but unreserved characters, as upper-case hex of UTF-8 bytes.

/// Why a text is not percent-encoded UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadEncoding {
    /// A `%` without two hex digits behind it.
    #[error("`%` at byte {at} is not followed by two hex digits")]
    Escape {
        /// Where the `%` is.
        at: usize,
    },
    /// The decoded bytes are no text.
    #[error("decoded text is not UTF-8")]
    Utf8,
}

/// Encodes all but `A-Z a-z 0-9 - . _ ~`, and leaves the bytes of `also_plain` as they are.
pub fn encode(text: &str, also_plain: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || also_plain.contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(hex_digit(byte >> 4)));
            out.push(char::from(hex_digit(byte & 15)));
        }
    }
    out
}

/// Decodes once. `+` stays `+`: AWS's clients write a space as `%20`.
///
/// # Errors
/// When an escape is not one, or the result is not UTF-8.
pub fn decode(text: &str) -> Result<String, BadEncoding> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if byte == b'%' {
            let digit = |offset: usize| bytes.get(at + offset).and_then(|&digit| hex_value(digit));
            let (Some(high), Some(low)) = (digit(1), digit(2)) else {
                return Err(BadEncoding::Escape { at });
            };
            out.push(high << 4 | low);
            at += 3;
        } else {
            out.push(byte);
            at += 1;
        }
    }
    String::from_utf8(out).map_err(|_| BadEncoding::Utf8)
}

/// Bytes as lower-case hex digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|&byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(hex_digit(digit).to_ascii_lowercase()))
        .collect()
}

/// Hex digits of either case as bytes; `None` when they are not.
pub(crate) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    digits
        .chunks_exact(2)
        .map(|pair| Some(hex_value(pair[0])? << 4 | hex_value(pair[1])?))
        .collect()
}

const fn hex_digit(value: u8) -> u8 {
    match value {
        0..=9 => b'0' + value,
        _ => b'A' + value - 10,
    }
}

const fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bad_escapes_are_refused() {
        for (text, expected) in [
            ("%", BadEncoding::Escape { at: 0 }),
            ("a%2", BadEncoding::Escape { at: 1 }),
            ("%zz", BadEncoding::Escape { at: 0 }),
            ("%+1", BadEncoding::Escape { at: 0 }),
            ("%ff", BadEncoding::Utf8),
        ] {
            assert_eq!(decode(text), Err(expected), "{text}");
        }
    }

    proptest! {
        #[test]
        fn decoding_undoes_encoding(text in ".*") {
            prop_assert_eq!(decode(&encode(&text, b"")), Ok(text));
        }

        #[test]
        fn hex_goes_both_ways(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            prop_assert_eq!(from_hex(&hex(&bytes)), Some(bytes));
        }
    }
}
