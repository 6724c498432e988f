//! Conditions, and what the caller does not tell.

use super::*;

/// An allow of everything under a condition.
fn allowed_if(condition: &str) -> String {
    format!(r#"{{"Effect":"Allow","Action":"*","Resource":"*","Condition":{condition}}}"#)
}

/// Conditions, and what a statement under them answers.
const CONDITIONS: &[(&str, char)] = &[
    (r#"{"Bool":{"iot:Connection.Thing.IsAttached":["true"]}}"#, 'A'),
    (r#"{"Bool":{"iot:Connection.Thing.IsAttached":true}}"#, 'A'),
    (r#"{"Bool":{"iot:Connection.Thing.IsAttached":"false"}}"#, '-'),
    (r#"{"StringEquals":{"iot:ClientId":["pump-6","pump-7"]}}"#, 'A'),
    (r#"{"StringEquals":{"iot:ClientId":"pump-*"}}"#, '-'),
    (r#"{"StringLike":{"iot:ClientId":"pump-*"}}"#, 'A'),
    (r#"{"StringNotLike":{"iot:ClientId":"pump-*"}}"#, '-'),
    (r#"{"StringNotEquals":{"iot:ClientId":["pump-6","pump-7"]}}"#, '-'),
    (r#"{"StringEqualsIgnoreCase":{"iot:ClientId":"PUMP-7"}}"#, 'A'),
    (r#"{"StringNotEqualsIgnoreCase":{"iot:ClientId":"PUMP-7"}}"#, '-'),
    (
        r#"{"StringEquals":{"iot:ClientId":"${iot:Connection.Thing.ThingName}"}}"#,
        'A',
    ),
    (
        r#"{"StringNotEquals":{"iot:ClientId":"${iot:Connection.Thing.Attributes[none]}"}}"#,
        '-',
    ),
    (r#"{"StringEquals":{"iot:Connection.Thing.Attributes[none]":"x"}}"#, '-'),
    (
        r#"{"StringEqualsIfExists":{"iot:Connection.Thing.Attributes[none]":"x"}}"#,
        'A',
    ),
    (
        r#"{"StringEqualsIfExists":{"iot:Connection.Thing.Attributes[site]":"x"}}"#,
        '-',
    ),
    (
        r#"{"StringNotEquals":{"iot:Connection.Thing.Attributes[none]":"x"}}"#,
        'A',
    ),
    (r#"{"Bool":{"aws:SecureTransport":"true"}}"#, 'A'),
    (r#"{"Bool":{"aws:SecureTransport":"false"}}"#, '-'),
    (
        r#"{"StringEquals":{"iot:certificate.subject.COMMONNAME":"first"}}"#,
        'A',
    ),
    (r#"{"Null":{"iot:DomainName":"true"}}"#, 'A'),
    (r#"{"Null":{"iot:DomainName":"false"}}"#, '-'),
    (
        r#"{"IpAddress":{"aws:SourceIp":["198.51.100.0/24","192.0.2.0/24"]}}"#,
        'A',
    ),
    (r#"{"IpAddress":{"aws:SourceIp":"192.0.2.8"}}"#, '-'),
    (r#"{"NotIpAddress":{"aws:SourceIp":"192.0.2.8"}}"#, 'A'),
    (r#"{"NumericGreaterThan":{"aws:EpochTime":1767323044}}"#, 'A'),
    (r#"{"NumericLessThanEquals":{"aws:EpochTime":"1767323045"}}"#, 'A'),
    (r#"{"NumericNotEquals":{"aws:EpochTime":1767323045}}"#, '-'),
    (r#"{"DateLessThan":{"aws:CurrentTime":"2026-01-02T03:04:05Z"}}"#, '-'),
    (
        r#"{"DateGreaterThanEquals":{"aws:CurrentTime":"2026-01-02T03:04:05.678Z"}}"#,
        'A',
    ),
    (
        r#"{"ForAnyValue:StringEquals":{"iot:Certificate.Subject.CommonName.List":["second"]}}"#,
        'A',
    ),
    (
        r#"{"ForAllValues:StringEquals":{"iot:Certificate.Subject.CommonName.List":["second"]}}"#,
        '-',
    ),
    (
        r#"{"StringEquals":{"iot:Certificate.AvailableKeys":"Subject.CommonName"}}"#,
        'A',
    ),
    // All lines must hold.
    (
        r#"{"StringEquals":{"iot:ClientId":"pump-7","iot:Connection.Thing.ThingName":"pump-8"}}"#,
        '-',
    ),
    (
        r#"{"StringEquals":{"iot:ClientId":"pump-7"},"Bool":{"iot:Connection.Thing.IsAttached":"false"}}"#,
        '-',
    ),
    (r#"{}"#, 'A'),
];

#[test]
fn conditions_on_what_is_known() {
    for (condition, expected) in CONDITIONS {
        assert_eq!(
            answer(&allowed_if(condition), &pump(), Publish, "a"),
            *expected,
            "{condition}"
        );
    }
}

#[test]
fn conditions_on_how_a_client_connects() {
    let context = |persistent, last_will| Context {
        connect: ConnectAttributes { persistent, last_will },
        ..pump()
    };
    let (plain, persistent, both) = (context(false, false), context(true, false), context(true, true));
    for (condition, asked, expected) in [
        (
            r#"{"ForAllValues:StringEquals":{"iot:ConnectAttributes":["PersistentConnect"]}}"#,
            Connect,
            "AA-",
        ),
        (
            r#"{"ForAnyValue:StringEquals":{"iot:ConnectAttributes":["PersistentConnect"]}}"#,
            Connect,
            "-AA",
        ),
        (
            r#"{"ForAllValues:StringNotEquals":{"iot:ConnectAttributes":["LastWill"]}}"#,
            Connect,
            "AA-",
        ),
        (
            r#"{"StringEquals":{"iot:ConnectAttributes":"LastWill"}}"#,
            Connect,
            "--A",
        ),
        (
            r#"{"StringNotEquals":{"iot:ConnectAttributes":"LastWill"}}"#,
            Connect,
            "AA-",
        ),
        // Known at connect alone.
        (
            r#"{"ForAnyValue:StringEquals":{"iot:ConnectAttributes":["PersistentConnect"]}}"#,
            Publish,
            "---",
        ),
    ] {
        let statements = allowed_if(condition);
        let found: String = [&plain, &persistent, &both]
            .map(|context| answer(&statements, context, asked, "pump-7"))
            .iter()
            .collect();
        assert_eq!(found, expected, "{condition}");
    }
}

#[test]
fn what_the_caller_did_not_tell_errs_on_the_safe_side() {
    for (condition, denied, allowed) in [
        (r#"{"IpAddress":{"aws:SourceIp":"192.0.2.0/24"}}"#, 'D', '-'),
        (r#"{"NotIpAddress":{"aws:SourceIp":"192.0.2.0/24"}}"#, 'D', '-'),
        (r#"{"DateGreaterThan":{"aws:CurrentTime":"2026-01-01"}}"#, 'D', '-'),
        (r#"{"NumericLessThanIfExists":{"aws:EpochTime":1}}"#, 'D', '-'),
        (r#"{"Null":{"aws:SourceIp":"true"}}"#, 'D', '-'),
        (
            r#"{"StringEquals":{"iot:Certificate.Subject.CommonName":"a"}}"#,
            'D',
            '-',
        ),
        (
            r#"{"StringNotEquals":{"iot:Certificate.Subject.CommonName.1":"a"}}"#,
            'D',
            '-',
        ),
        (
            r#"{"ForAllValues:StringEquals":{"iot:Certificate.AvailableKeys":"a"}}"#,
            'D',
            '-',
        ),
        (
            r#"{"StringEquals":{"iot:Connection.Thing.Attributes[state]":"retired"}}"#,
            'D',
            '-',
        ),
        (
            r#"{"StringLike":{"iot:Connection.Thing.ThingTypeName":"x*"}}"#,
            'D',
            '-',
        ),
        // Variables on the other side of the comparison.
        (
            r#"{"StringEquals":{"iot:ClientId":"${iot:Certificate.Subject.CommonName}"}}"#,
            'D',
            '-',
        ),
        (
            r#"{"StringNotEquals":{"iot:ClientId":"${iot:Certificate.Subject.CommonName}"}}"#,
            'D',
            '-',
        ),
        // Keys that nobody here knows.
        (r#"{"StringEquals":{"aws:PrincipalTag/team":"a"}}"#, 'D', '-'),
        (r#"{"StringNotEqualsIfExists":{"made:Up":"a"}}"#, 'D', '-'),
        (r#"{"Null":{"iot:Connection.Thing.MadeUp":"false"}}"#, 'D', '-'),
        // What is known to be absent is told.
        (r#"{"StringEquals":{"iot:DomainName":"a"}}"#, '-', '-'),
        (
            r#"{"ForAnyValue:StringEquals":{"iot:ConnectAttributes":"LastWill"}}"#,
            '-',
            '-',
        ),
    ] {
        let context = Context {
            thing_name: Some("x".into()),
            ..stranger("x")
        };
        let allow = allowed_if(condition);
        assert_eq!(answer(&allow, &context, Publish, "a"), allowed, "{condition}");
        let deny = allow.replace("Allow", "Deny");
        assert_eq!(answer(&deny, &context, Publish, "a"), denied, "{condition}");
    }
    // Who is no thing has no type and no attributes: that is told.
    let deny = allowed_if(r#"{"StringLike":{"iot:Connection.Thing.ThingTypeName":"*"}}"#).replace("Allow", "Deny");
    assert_eq!(answer(&deny, &stranger("x"), Publish, "a"), '-');
}

#[test]
fn a_variable_that_is_not_told_stands_for_anything_in_what_is_denied() {
    let context = Context {
        thing_name: Some("x".into()),
        ..stranger("x")
    };
    let site = "${iot:Connection.Thing.Attributes[site]}";
    for (effect, kind, resource, name, expected) in [
        ("Deny", "Resource", format!("topic/{site}/doors"), "north/doors", 'D'),
        ("Deny", "Resource", format!("topic/{site}/doors"), "north/lamps", '-'),
        ("Deny", "Resource", format!("topic/sites/*/{site}"), "sites/a/b", 'D'),
        ("Deny", "Resource", "topic/${made:Up}".to_owned(), "a", 'D'),
        ("Allow", "Resource", format!("topic/{site}/doors"), "north/doors", '-'),
        ("Deny", "NotResource", format!("topic/{site}/doors"), "north/doors", 'D'),
        ("Allow", "NotResource", format!("topic/{site}/doors"), "south", '-'),
        // Told, and without value: matches nothing, as on AWS.
        (
            "Deny",
            "Resource",
            "topic/${iot:DomainName}/doors".to_owned(),
            "a/doors",
            '-',
        ),
    ] {
        let statement =
            format!(r#"{{"Effect":"{effect}","Action":"*","{kind}":"arn:aws:iot:us-east-1:123456789012:{resource}"}}"#);
        assert_eq!(
            answer(&statement, &context, Publish, name),
            expected,
            "{statement} {name}"
        );
    }
}
