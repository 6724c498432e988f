//! What is a policy document, and what is none.

#![expect(clippy::expect_used, reason = "test code outside of test functions")]

use std::error::Error as _;

use picket_policy::Document;
use proptest::prelude::*;

const ALLOW: &str = r#"{"Effect":"Allow","Action":"iot:*","Resource":"*"}"#;

#[test]
fn documents_come_in_several_shapes() {
    for text in [
        format!(r#"{{"Version":"2012-10-17","Statement":[{ALLOW}]}}"#),
        format!(r#"{{"Version":"2008-10-17","Id":"x","Statement":{ALLOW}}}"#),
        format!(r#" {{ "Statement" : [ {ALLOW} , {ALLOW} ] }} "#),
        r#"{"Statement":{"Sid":"s","Effect":"Deny","NotAction":["iot:Connect"],"NotResource":["*"],"Condition":{}}}"#
            .to_owned(),
        r#"{"Statement":{"Effect":"Allow","Action":"greengrass:Discover","Resource":"arn:aws:greengrass:*:*:*"}}"#
            .to_owned(),
        // Whitespace does not count.
        format!(r#"{{"Statement":{ALLOW}}}{}"#, " ".repeat(5000)),
    ] {
        let parsed = text.parse::<Document>();
        assert!(parsed.is_ok(), "{text}: {parsed:?}");
    }
}

/// Documents, with `%` for a statement that allows everything, and why they are refused.
const REFUSED: &[(&str, &str)] = &[
    ("{", "EOF while parsing"),
    ("[]", "invalid length 0"),
    ("{}", "missing field `Statement`"),
    (r#"{"Statement":%}x"#, "trailing characters"),
    (r#"{"Statement":%,"Statment":[]}"#, "unknown field `Statment`"),
    (r#"{"Statement":%,"Statement":%}"#, "duplicate field `Statement`"),
    (
        r#"{"Version":"2012-10-18","Statement":%}"#,
        "policy version is \"2012-10-18\", expected \"2012-10-17\"",
    ),
    (r#"{"Statement":[]}"#, "policy has no statement"),
    (r#"{"Statement":[%,{}]}"#, "missing field `Effect`"),
    (
        r#"{"Statement":[%,{"Effect":"Deny","Action":"*","Resource":"x"}]}"#,
        "statement 2: resource is \"x\"",
    ),
];

/// What comes in place of what in the statement that allows everything, and why it is refused.
const REFUSED_STATEMENTS: &[(&str, &str, &str)] = &[
    ("}", r#","Principal":"*"}"#, "unknown field `Principal`"),
    (
        "Allow",
        "allow",
        "statement 1: effect is \"allow\", expected Allow or Deny",
    ),
    (
        "}",
        r#","NotAction":"*"}"#,
        "statement 1: expected one of Action and NotAction, and not empty",
    ),
    (
        r#","Action":"iot:*""#,
        "",
        "statement 1: expected one of Action and NotAction, and not empty",
    ),
    (
        r#""iot:*""#,
        "[]",
        "statement 1: expected one of Action and NotAction, and not empty",
    ),
    (
        "iot:*",
        "Publish",
        "statement 1: action is \"Publish\", expected * or iot:<name>",
    ),
    ("iot:*", "iot:${iot:ClientId}", "expected * or iot:<name>"),
    (
        r#""Resource":"*""#,
        r#""Resource":5"#,
        "invalid type: integer `5`, expected a string",
    ),
    (
        r#""Resource":"*""#,
        r#""Resource":"topic/a""#,
        "statement 1: resource is \"topic/a\", expected * or arn:aws:iot:<region>:<account>:<type>/<name>",
    ),
];

/// Conditions, and why they are refused.
const REFUSED_CONDITIONS: &[(&str, &str)] = &[
    (
        r#"{"StringIs":{"iot:ClientId":"x"}}"#,
        "statement 1: condition operator \"StringIs\" is not known",
    ),
    (
        r#"{"NullIfExists":{"iot:ClientId":"true"}}"#,
        "condition operator \"NullIfExists\" is not known",
    ),
    (
        r#"{"Bool":{"iot:ClientId":"maybe"}}"#,
        "condition operator Bool was given \"maybe\", expected true or false",
    ),
    (
        r#"{"IpAddress":{"aws:SourceIp":"10.0.0.0/33"}}"#,
        "expected an address or a range such as 192.0.2.0/24",
    ),
    (
        r#"{"DateLessThan":{"aws:CurrentTime":"soon"}}"#,
        "expected a date such as",
    ),
    (
        r#"{"StringEquals":{"iot:ClientId":[]}}"#,
        "condition operator StringEquals was given no value for iot:ClientId",
    ),
    (
        r#"{"StringEquals":{"iot:ClientId":"a","iot:ClientId":"b"}}"#,
        "duplicate key \"iot:ClientId\"",
    ),
    (
        r#"{"StringEquals":{"iot:ClientId":"a"},"StringEquals":{"iot:ClientId":"b"}}"#,
        "duplicate key \"StringEquals\"",
    ),
    (r#"{"StringEquals":{"iot:ClientId":null}}"#, "invalid type: null"),
];

fn assert_refused(text: &str, reason: &str) {
    let error = text.parse::<Document>().expect_err(text);
    let found = error.source().map_or_else(|| error.to_string(), ToString::to_string);
    assert!(found.contains(reason), "{text}: {found}");
}

#[test]
fn what_is_no_document_is_refused_with_the_reason() {
    for (text, reason) in REFUSED {
        assert_refused(&text.replace('%', ALLOW), reason);
    }
    for (from, to, reason) in REFUSED_STATEMENTS {
        assert_refused(&format!(r#"{{"Statement":{}}}"#, ALLOW.replace(from, to)), reason);
    }
    for (condition, reason) in REFUSED_CONDITIONS {
        let statement = ALLOW.replace('}', &format!(r#","Condition":{condition}}}"#));
        assert_refused(&format!(r#"{{"Statement":{statement}}}"#), reason);
    }
}

#[test]
fn a_document_has_bounds() {
    let with_topic = |len: usize| {
        let resource = format!(r#""Resource":"arn:aws:iot:r:1:topic/{}""#, "a".repeat(len));
        format!(r#"{{"Statement":{}}}"#, ALLOW.replace(r#""Resource":"*""#, &resource))
    };
    let n_others = with_topic(0).len();
    assert!(with_topic(2048 - n_others).parse::<Document>().is_ok());
    assert_refused(
        &with_topic(2049 - n_others),
        "policy has 2049 characters without whitespace, at most 2048 are allowed",
    );
    assert_refused(
        &" ".repeat(404_601),
        "policy has 404601 bytes with whitespace, at most 404600 are read",
    );
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in ".{0,80}", value in "[a-z:${}*?é/\\[\\]+#,.0-9-]{0,30}", operator in "(ForAllValues:)?(String|Date|Numeric|Ip)(Equals|Like|Address)?(IfExists)?") {
        let _ = text.parse::<Document>();
        let with_value = format!(
            r#"{{"Statement":{{"Effect":"Allow","Action":"iot:*","Resource":"arn:aws:iot:{value}","Condition":{{"{operator}":{{"{value}":"{value}"}}}}}}}}"#
        );
        let _ = with_value.parse::<Document>();
    }
}
