//! The constraints that several members share.

use super::tag::TAG;
use crate::shape::{Member, Pattern, Shape, member};

/// Most elements of a page.
pub(super) const PAGE_SIZE: Shape = Shape::Integer { min: 1, max: 250 };
/// Where a list goes on: what the page before said.
pub(super) const TOKEN: Shape = text(1, 4096, &ANY);
/// The same, in the lists that call it a marker.
pub(super) const MARKER: Shape = text(0, 1024, &BASE64);
pub(super) const BOOLEAN: Shape = Shape::Boolean;
pub(super) const TIMESTAMP: Shape = Shape::Timestamp;
pub(super) const VERSION: Shape = Shape::Integer {
    min: i64::MIN,
    max: i64::MAX,
};
/// An ARN, or another text that is understood as a whole.
pub(super) const ARN: Shape = text(0, 2048, &ANY);
pub(super) const ROLE_ARN: Shape = text(20, 2048, &ANY);

/// Names of things, groups, profiles, behaviors, metrics.
pub(super) const NAME: Shape = text(
    1,
    128,
    &Pattern {
        expression: "[a-zA-Z0-9:_-]+",
        fits: |text| text.chars().all(is_name),
    },
);
/// What devices call themselves: the model has no pattern, the noun has.
pub(super) const DEVICE_NAME: Shape = text(1, 128, &ANY);
pub(super) const POLICY_NAME: Shape = text(
    1,
    128,
    &Pattern {
        expression: "[\\w+=,.@-]+",
        fits: |text| text.chars().all(|c| is_word(c) || "+=,.@-".contains(c)),
    },
);
pub(super) const CERTIFICATE_ID: Shape = text(
    64,
    64,
    &Pattern {
        expression: "(0x)?[a-fA-F0-9]+",
        fits: |text| {
            text.strip_prefix("0x")
                .unwrap_or(text)
                .chars()
                .all(|c| c.is_ascii_hexdigit())
        },
    },
);
pub(super) const PEM: Shape = text(1, 65_536, &ANY);
pub(super) const SIGNING_REQUEST: Shape = text(1, 4096, &ANY);
pub(super) const VIOLATION_ID: Shape = text(
    1,
    128,
    &Pattern {
        expression: "[a-zA-Z0-9\\-]+",
        fits: |text| text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'),
    },
);
pub(super) const POLICY_VERSION_ID: Shape = text(
    0,
    1024,
    &Pattern {
        expression: "[0-9]+",
        fits: |text| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit()),
    },
);
pub(super) const POLICY_DOCUMENT: Shape = text(0, 404_600, &ANY);
pub(super) const ENDPOINT_TYPE: Shape = text(0, 128, &ANY);

/// A description of up to so many printable characters.
pub(super) const fn description(len_max: usize) -> Shape {
    text(0, len_max, &PRINTABLE)
}

pub(super) const fn text(len_min: usize, len_max: usize, pattern: &'static Pattern) -> Shape {
    Shape::Text {
        len_min,
        len_max,
        pattern,
    }
}

pub(super) const ATTRIBUTE_NAME: Shape = text(
    0,
    128,
    &Pattern {
        expression: "[a-zA-Z0-9_.,@/:#-]+",
        fits: |text| {
            !text.is_empty()
                && text
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "_.,@/:#-".contains(c))
        },
    },
);
pub(super) const ATTRIBUTE_VALUE: Shape = text(
    0,
    800,
    &Pattern {
        expression: "[a-zA-Z0-9_.,@/:#=\\[\\]-]*",
        fits: |text| {
            text.chars()
                .all(|c| c.is_ascii_alphanumeric() || "_.,@/:#=[]-".contains(c))
        },
    },
);
pub(super) const ATTRIBUTES: Shape = Shape::Map {
    key: &ATTRIBUTE_NAME,
    value: &ATTRIBUTE_VALUE,
};

pub(super) const VERIFICATION_STATE: Shape =
    Shape::Choice(&["FALSE_POSITIVE", "BENIGN_POSITIVE", "TRUE_POSITIVE", "UNKNOWN"]);
pub(super) const CRITERIA_TYPE: Shape = Shape::Choice(&["STATIC", "STATISTICAL", "MACHINE_LEARNING"]);
pub(super) const CERTIFICATE_STATUS: Shape = Shape::Choice(&[
    "ACTIVE",
    "INACTIVE",
    "REVOKED",
    "PENDING_TRANSFER",
    "REGISTER_INACTIVE",
    "PENDING_ACTIVATION",
]);

/// Tags. How many a resource may have is a matter of those it has.
pub(super) const TAGS: Shape = list(&TAG);
pub(super) const TAG_VALUE: Shape = text(0, 256, &ANY);
pub(super) const TAG_KEY: Shape = text(
    1,
    128,
    &Pattern {
        expression: "^([\\p{L}\\p{Z}\\p{N}_.:/=+\\-@]*)$",
        fits: |text| {
            text.chars()
                .all(|c| c.is_alphanumeric() || (c.is_whitespace() && !c.is_control()) || "_.:/=+-@".contains(c))
        },
    },
);

pub(super) const BEHAVIORS: Shape = Shape::List {
    of: &BEHAVIOR,
    len_min: 0,
    len_max: 100,
};
const BEHAVIOR: Shape = Shape::Structure(BEHAVIOR_MEMBERS);
const BEHAVIOR_MEMBERS: &[Member] = &[
    member!(String, body "name", NAME),
    member!(Option<String>, body "metric", text(0, 1024, &ANY)),
    member!(Option<String>, body "metricDimension", METRIC_DIMENSION),
    member!(Option<String>, body "criteria", CRITERIA),
    member!(Option<bool>, body "suppressAlerts", BOOLEAN),
    member!(Option<bool>, body "exportMetric", BOOLEAN),
];
/// What members mean together is for the noun to say. So are the ranges of the two counts of datapoints: AWS lets them
/// through here, and says in words of its own what is wrong, also where the answer to wrong behaviors is no error.
const CRITERIA: Shape = Shape::Structure(&[
    member!(Option<String>, body "comparisonOperator", Shape::Choice(&[
        "less-than",
        "less-than-equals",
        "greater-than",
        "greater-than-equals",
        "in-cidr-set",
        "not-in-cidr-set",
        "in-port-set",
        "not-in-port-set",
        "in-set",
        "not-in-set",
    ])),
    member!(Option<String>, body "value", METRIC_VALUE),
    member!(Option<i64>, body "durationSeconds", WHOLE_NUMBER),
    member!(Option<i64>, body "consecutiveDatapointsToAlarm", WHOLE_NUMBER),
    member!(Option<i64>, body "consecutiveDatapointsToClear", WHOLE_NUMBER),
    member!(Option<String>, body "statisticalThreshold", Shape::Structure(&[
        member!(Option<String>, body "statistic", text(0, 16, &STATISTIC)),
    ])),
    member!(Option<String>, body "mlDetectionConfig", Shape::Structure(&[
        member!(String, body "confidenceLevel", Shape::Choice(&["LOW", "MEDIUM", "HIGH"])),
    ])),
]);
const METRIC_VALUE: Shape = Shape::Structure(&[
    member!(Option<i64>, body "count", Shape::Integer { min: 0, max: i64::MAX }),
    member!(Option<String>, body "cidrs", list(&text(2, 43, &CIDR))),
    member!(Option<String>, body "ports", list(&Shape::Integer { min: 0, max: 65_535 })),
    member!(Option<String>, body "number", Shape::Double),
    member!(Option<String>, body "numbers", list(&Shape::Double)),
    member!(Option<String>, body "strings", list(&text(0, 65_536, &ANY))),
]);
const CIDR: Pattern = Pattern {
    expression: "[a-fA-F0-9:\\.\\/]+",
    fits: |text| text.chars().all(|c| c.is_ascii_hexdigit() || ":./".contains(c)),
};
const STATISTIC: Pattern = Pattern {
    expression: "(p0|p0\\.1|p0\\.01|p1|p10|p50|p90|p99|p99\\.9|p99\\.99|p100)",
    fits: |text| text.parse::<picket_model::behavior::Statistic>().is_ok(),
};
/// The service model's `integer`.
const WHOLE_NUMBER: Shape = Shape::Integer {
    min: i32::MIN as i64,
    max: i32::MAX as i64,
};

/// A list whose length the service model does not bound: what it is for does, and so does the size of a body.
pub(super) const fn list(of: &'static Shape) -> Shape {
    Shape::List {
        of,
        len_min: 0,
        len_max: usize::MAX,
    }
}

pub(super) const METRIC_DIMENSION: Shape = Shape::Structure(&[
    member!(String, body "dimensionName", NAME),
    member!(Option<String>, body "operator", DIMENSION_OPERATOR),
]);

pub(super) const DIMENSION_OPERATOR: Shape = Shape::Choice(&["IN", "NOT_IN"]);

/// What makes a repeated request the same one.
pub(super) const CLIENT_REQUEST_TOKEN: Shape = text(
    1,
    64,
    &Pattern {
        expression: "^[a-zA-Z0-9-_]+$",
        ..TASK_CHARS
    },
);
/// Names of mitigation actions.
pub(super) const ACTION_NAME: Shape = text(0, 128, &TASK_CHARS);
/// Ids of mitigation tasks and findings, names of audits.
pub(super) const TASK_ID: Shape = text(1, 128, &TASK_CHARS);
const TASK_CHARS: Pattern = Pattern {
    expression: "[a-zA-Z0-9_-]+",
    fits: |text| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)),
};
/// A text without constraints.
pub(super) const TEXT: Shape = text(0, usize::MAX, &ANY);

/// `[\s\S]*`
pub(super) const ANY: Pattern = Pattern {
    expression: "[\\s\\S]*",
    fits: |_| true,
};
pub(super) const PRINTABLE: Pattern = Pattern {
    expression: "[\\p{Graph}\\x20]*",
    fits: |text| text.chars().all(|c| c == ' ' || !(c.is_control() || c.is_whitespace())),
};
pub(super) const NO_CONTROL: Pattern = Pattern {
    expression: "[^\\p{Cntrl}]*",
    fits: |text| !text.chars().any(char::is_control),
};
const BASE64: Pattern = Pattern {
    expression: "[A-Za-z0-9+/]+={0,2}",
    fits: |text| {
        let digits = text.trim_end_matches('=');
        !digits.is_empty()
            && text.len() - digits.len() <= 2
            && digits.chars().all(|c| c.is_ascii_alphanumeric() || "+/".contains(c))
    },
};

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || ":_-".contains(c)
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}
