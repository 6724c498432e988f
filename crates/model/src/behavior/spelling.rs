//! How operators, percentiles, confidences and directions are written.

use std::str::FromStr;

use super::{Confidence, DimensionOperator, NumericOperator, SetOperator, Statistic, Test, WindowDuration};

/// Why a text is none of a fixed list of words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} {found:?} should be one of [{}]", expected.join(", "))]
pub struct BadWord {
    /// What was being read, for example `statistic`.
    pub what: &'static str,
    /// The text as found, at most 80 characters of it.
    pub found: String,
    /// The words that there are.
    pub expected: Vec<&'static str>,
}

/// Gives enums of fixed words their `ALL`, `as_str` and `FromStr`.
macro_rules! words {
    ($($name:ident, $what:literal, [$($variant:ident = $word:literal),* $(,)?];)*) => {$(
        impl $name {
            /// All of them, in the order of AWS's documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The word on the wire.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }

        impl FromStr for $name {
            type Err = BadWord;

            fn from_str(text: &str) -> Result<Self, BadWord> {
                let named = Self::ALL.iter().find(|known| known.as_str() == text);
                named.copied().ok_or_else(|| BadWord {
                    what: $what,
                    found: text.chars().take(80).collect(),
                    expected: Self::ALL.iter().map(|known| known.as_str()).collect(),
                })
            }
        }
    )*};
}

pub(crate) use words;

words! {
    NumericOperator, "comparisonOperator", [
        LessThan = "less-than",
        LessThanEquals = "less-than-equals",
        GreaterThan = "greater-than",
        GreaterThanEquals = "greater-than-equals",
    ];
    DimensionOperator, "operator", [In = "IN", NotIn = "NOT_IN"];
    Confidence, "confidenceLevel", [Low = "LOW", Medium = "MEDIUM", High = "HIGH"];
    Statistic, "statistic", [
        P0 = "p0",
        P0_1 = "p0.1",
        P0_01 = "p0.01",
        P1 = "p1",
        P10 = "p10",
        P50 = "p50",
        P90 = "p90",
        P99 = "p99",
        P99_9 = "p99.9",
        P99_99 = "p99.99",
        P100 = "p100",
    ];
}

/// The middle word of a set operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SetKind {
    /// `in-cidr-set`
    Cidrs,
    /// `in-port-set`
    Ports,
    /// `in-set`
    Plain,
}

impl SetOperator {
    pub(crate) const fn as_str(self, kind: SetKind) -> &'static str {
        match (self, kind) {
            (Self::In, SetKind::Cidrs) => "in-cidr-set",
            (Self::NotIn, SetKind::Cidrs) => "not-in-cidr-set",
            (Self::In, SetKind::Ports) => "in-port-set",
            (Self::NotIn, SetKind::Ports) => "not-in-port-set",
            (Self::In, SetKind::Plain) => "in-set",
            (Self::NotIn, SetKind::Plain) => "not-in-set",
        }
    }
}

impl Test {
    /// `comparisonOperator` on the wire. `None` for what is learned, which has none.
    pub const fn operator(&self) -> Option<&'static str> {
        match self {
            Self::Threshold { operator, .. } | Self::Percentile { operator, .. } => Some(operator.as_str()),
            Self::Ports { operator, .. } => Some(operator.as_str(SetKind::Ports)),
            Self::Cidrs { operator, .. } => Some(operator.as_str(SetKind::Cidrs)),
            Self::Numbers { operator, .. } | Self::Strings { operator, .. } => Some(operator.as_str(SetKind::Plain)),
            Self::Learned { .. } => None,
        }
    }
}

impl WindowDuration {
    /// The window of this many seconds, if it is one of the five.
    pub fn from_secs(secs: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|window| i64::from(window.secs()) == secs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_read_back() {
        for statistic in Statistic::ALL {
            assert_eq!(statistic.as_str().parse(), Ok(*statistic));
        }
        for operator in NumericOperator::ALL {
            assert_eq!(operator.as_str().parse(), Ok(*operator));
        }
        for window in WindowDuration::ALL {
            assert_eq!(WindowDuration::from_secs(window.secs().into()), Some(window));
        }
        assert_eq!(
            "p95".parse::<Statistic>().unwrap_err().to_string(),
            "statistic \"p95\" should be one of [p0, p0.1, p0.01, p1, p10, p50, p90, p99, p99.9, p99.99, p100]"
        );
        assert_eq!(WindowDuration::from_secs(60), None);
    }
}
