//! Writing JSON and CBOR through one door, so that what a report looks like is said once.

use minicbor::Encoder;

use crate::topic::Format;

/// Writes one value into memory: an object or list is begun with the number of its members or items, gets these, and is
/// ended. Nothing here can fail.
pub(super) enum Pen {
    Json {
        bytes: Vec<u8>,
        /// Whether something stands before the next member or item.
        needs_comma: bool,
    },
    Cbor(Encoder<Vec<u8>>),
}

impl Pen {
    pub(super) fn new(format: Format) -> Self {
        match format {
            Format::Json => Self::Json {
                bytes: Vec::new(),
                needs_comma: false,
            },
            Format::Cbor => Self::Cbor(Encoder::new(Vec::new())),
        }
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        match self {
            Self::Json { bytes, .. } => bytes,
            Self::Cbor(encoder) => encoder.into_writer(),
        }
    }

    pub(super) fn begin_object(&mut self, n_members: usize) {
        match self {
            Self::Json { .. } => self.json_open(b'{'),
            Self::Cbor(encoder) => done(encoder.map(count(n_members))),
        }
    }

    pub(super) fn end_object(&mut self) {
        self.json_close(b'}');
    }

    pub(super) fn begin_list(&mut self, n_items: usize) {
        match self {
            Self::Json { .. } => self.json_open(b'['),
            Self::Cbor(encoder) => done(encoder.array(count(n_items))),
        }
    }

    pub(super) fn end_list(&mut self) {
        self.json_close(b']');
    }

    pub(super) fn key(&mut self, key: &str) {
        self.text(key);
        if let Self::Json { bytes, needs_comma } = self {
            bytes.push(b':');
            *needs_comma = false;
        }
    }

    pub(super) fn whole(&mut self, number: u64) {
        match self {
            Self::Json { .. } => self.json_value(&number),
            Self::Cbor(encoder) => done(encoder.u64(number)),
        }
    }

    pub(super) fn float(&mut self, number: f64) {
        match self {
            Self::Json { .. } => self.json_value(&number),
            Self::Cbor(encoder) => done(encoder.f64(number)),
        }
    }

    pub(super) fn text(&mut self, text: &str) {
        match self {
            Self::Json { .. } => self.json_value(text),
            Self::Cbor(encoder) => done(encoder.str(text)),
        }
    }

    fn json_value<T: serde::Serialize + ?Sized>(&mut self, value: &T) {
        if let Self::Json { bytes, needs_comma } = self {
            if std::mem::replace(needs_comma, true) {
                bytes.push(b',');
            }
            done(serde_json::to_writer(bytes, value));
        }
    }

    fn json_open(&mut self, bracket: u8) {
        if let Self::Json { bytes, needs_comma } = self {
            if std::mem::replace(needs_comma, false) {
                bytes.push(b',');
            }
            bytes.push(bracket);
        }
    }

    fn json_close(&mut self, bracket: u8) {
        if let Self::Json { bytes, needs_comma } = self {
            bytes.push(bracket);
            *needs_comma = true;
        }
    }
}

fn done<T, E>(written: Result<T, E>) {
    debug_assert!(written.is_ok(), "writing texts and numbers into memory cannot fail");
}

fn count(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}
