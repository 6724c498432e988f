//! What policies permit: AWS's documented examples, and the corners.

#![expect(clippy::panic, reason = "test code outside of test functions")]

mod conditions;

use std::collections::BTreeMap;
use std::sync::Arc;

use picket_model::time::Timestamp;
use picket_policy::{
    Action, CertificateVariables, ConnectAttributes, Context, Decision, Document, PolicySet, Reach, Request, ThingFacts,
};

/// A connection as `pump-7`, which is a registered thing with the presented certificate.
fn pump() -> Context {
    Context {
        client_id: "pump-7".into(),
        thing_name: Some("pump-7".into()),
        thing: Some(Arc::new(ThingFacts {
            type_name: Some("pump".into()),
            attributes: BTreeMap::from([("site".into(), "north".into()), ("wild".into(), "#".into())]),
        })),
        is_attached: true,
        source_ip: "192.0.2.7".parse().ok(),
        connect: ConnectAttributes::default(),
        certificate: Some(Arc::new(CertificateVariables::from_iter([
            ("Subject.CommonName", "first".into()),
            ("Subject.CommonName", "second".into()),
            ("Subject.Country", "a*".into()),
        ]))),
        domain_name: None,
        account_id: Some("123456789012".into()),
        now: Some(Timestamp::from_millis(1_767_323_045_678)),
    }
}

/// A connection of which the registry knows nothing.
fn stranger(client_id: &str) -> Context {
    Context {
        client_id: client_id.into(),
        ..Context::default()
    }
}

fn policy(text: &str) -> Arc<Document> {
    text.parse()
        .map(Arc::new)
        .unwrap_or_else(|error| panic!("{text}: {error:?}"))
}

/// What one policy answers, in a letter: `A`llow, `D`eny, or `-` when nothing matches.
fn answer(statements: &str, context: &Context, action: Action, name: &str) -> char {
    let document = policy(&format!(r#"{{"Version":"2012-10-17","Statement":{statements}}}"#));
    letter(PolicySet::new(vec![(document, Reach::Full)]).decide(context, Request { action, name }))
}

fn letter(decision: Decision) -> char {
    match decision {
        Decision::Allow => 'A',
        Decision::ExplicitDeny => 'D',
        Decision::ImplicitDeny => '-',
    }
}

/// A statement, by effect, action and resource after the account.
fn statement(effect: &str, action: &str, resource: &str) -> String {
    format!(r#"{{"Effect":"{effect}","Action":"{action}","Resource":"arn:aws:iot:us-east-1:123456789012:{resource}"}}"#)
}

use Action::{Connect, Publish, Receive, RetainPublish, Subscribe};

#[test]
fn resources_and_wildcards() {
    for (action, resource, asked, name, expected) in [
        ("iot:Connect", "client/pump-7", Connect, "pump-7", 'A'),
        ("iot:Connect", "client/pump-7", Connect, "pump-8", '-'),
        ("iot:Connect", "client/pump-?", Connect, "pump-8", 'A'),
        ("iot:Connect", "client/pump-?", Connect, "pump-88", '-'),
        ("iot:Connect", "client/pump-?", Connect, "pump-é", 'A'),
        ("iot:Publish", "topic/a/*", Publish, "a/b/c", 'A'),
        ("iot:Publish", "topic/a/*", Publish, "a", '-'),
        ("iot:Publish", "topic/*/temp", Publish, "a/b/temp", 'A'),
        ("iot:Publish", "topic/a/*", RetainPublish, "a/b", '-'),
        ("iot:RetainPublish", "topic/a/*", RetainPublish, "a/b", 'A'),
        // MQTT's wildcards are plain characters.
        (
            "iot:Subscribe",
            "topicfilter/some/+/topic",
            Subscribe,
            "some/+/topic",
            'A',
        ),
        (
            "iot:Subscribe",
            "topicfilter/some/+/topic",
            Subscribe,
            "some/new/topic",
            '-',
        ),
        ("iot:Subscribe", "topicfilter/sensors/#", Subscribe, "sensors/#", 'A'),
        ("iot:Subscribe", "topicfilter/sensors/#", Subscribe, "sensors/a", '-'),
        ("iot:Subscribe", "topicfilter/sensors/*", Subscribe, "sensors/#", 'A'),
        // A mix-up of the two kinds of resource.
        ("iot:Subscribe", "topic/a", Subscribe, "a", '-'),
        ("iot:Publish", "topicfilter/a", Publish, "a", '-'),
        ("iot:Receive", "topic/a", Receive, "a", 'A'),
        ("iot:Subscribe", "topicfilter/a", Receive, "a", '-'),
        // `*` over kinds, and `topic*` over both.
        ("iot:*", "*", Receive, "a", 'A'),
        ("iot:*", "topic*", Subscribe, "a", 'A'),
        ("iot:*", "topic*", Connect, "a", '-'),
        ("iot:Pub*", "topic/a", Publish, "a", 'A'),
        ("IOT:publish", "topic/a", Publish, "a", 'A'),
        ("*", "topic/a", Publish, "a", 'A'),
        ("iot:?ublish", "topic/a", Publish, "a", 'A'),
        ("greengrass:*", "*", Publish, "a", '-'),
        (
            "iot:Publish",
            "topic/$aws/things/${iot:ClientId}/defender/metrics/json",
            Publish,
            "$aws/things/pump-7/defender/metrics/json",
            'A',
        ),
        ("iot:Publish", "topic/what${*}${?}${$}{a}", Publish, "what*?${a}", 'A'),
        ("iot:Publish", "topic/what${*}", Publish, "whatever", '-'),
        (
            "iot:GetThingShadow",
            "thing/pump-7",
            Action::GetThingShadow,
            "pump-7",
            'A',
        ),
        (
            "iot:AssumeRoleWithCertificate",
            "rolealias/r",
            Action::AssumeRoleWithCertificate,
            "r",
            'A',
        ),
        ("iot:ListRetainedMessages", "*", Action::ListRetainedMessages, "*", 'A'),
    ] {
        let found = answer(&statement("Allow", action, resource), &pump(), asked, name);
        assert_eq!(found, expected, "{action} {resource} {name}");
    }
}

#[test]
fn regions_and_accounts() {
    for (arn, expected) in [
        ("*", 'A'),
        ("arn:aws:iot:eu-west-1:123456789012:topic/a:b", 'A'),
        ("arn:aws-cn:iot:*:*:topic/a:b", 'A'),
        ("arn:aws:iot:us-east-1:1234*:topic/a:b", 'A'),
        ("arn:aws:iot:us-east-1::topic/a:b", 'A'),
        ("arn:aws:iot:us-east-1:999999999999:topic/a:b", '-'),
        ("arn:aws:iotwireless:us-east-1:123456789012:topic/a:b", '-'),
        ("arn:aws:s3:::*", '-'),
        ("arn:aws:*:us-east-1:123456789012:topic/*", 'A'),
        ("arn:aws:iot:*", 'A'),
        ("arn:*", 'A'),
        ("arn:aws:iot:us-east-1:123456789012:*", 'A'),
        ("arn:aws:iot:*:topic/*", 'A'),
        ("arn:aws:iot:*:topic/a", '-'),
        // Would be an account with a slash.
        ("arn:aws:iot:*:topic/a:b", '!'),
        ("topic/a", '!'),
        ("urn:aws:iot:us-east-1:123456789012:topic/a", '!'),
        ("arn:aws:iot:us-east-1:123456789012:topic/${iot:ClientId", '!'),
    ] {
        let text = format!(r#"{{"Statement":[{{"Effect":"Allow","Action":"iot:Publish","Resource":"{arn}"}}]}}"#);
        let found = match text.parse::<Document>() {
            Ok(document) => letter(document.decide(
                &pump(),
                Request {
                    action: Publish,
                    name: "a:b",
                },
            )),
            Err(_) => '!',
        };
        assert_eq!(found, expected, "{arn}");
    }
    // Who has no account compares none.
    let other = statement("Allow", "iot:Publish", "topic/a");
    assert_eq!(answer(&other, &stranger("x"), Publish, "a"), 'A');
}

#[test]
fn variables() {
    let pump = pump();
    let stranger = stranger("pump-7");
    let plus = Context {
        client_id: "+".into(),
        ..pump.clone()
    };
    let star = Context {
        client_id: "*".into(),
        ..pump.clone()
    };
    for (context, resource, asked, name, expected) in [
        (&pump, "topic/${iot:ClientId}/t", Publish, "pump-7/t", 'A'),
        (&pump, "topic/${IOT:clientid}/t", Publish, "pump-7/t", 'A'),
        (&pump, "topic/${iot:ClientId}/t", Publish, "pump-8/t", '-'),
        (&pump, "topic/*/${iot:ClientId}", Publish, "a/pump-7/pump-7", 'A'),
        (&pump, "topic/${iot:Connection.Thing.ThingName}", Publish, "pump-7", 'A'),
        (
            &stranger,
            "topic/${iot:Connection.Thing.ThingName}",
            Publish,
            "pump-7",
            '-',
        ),
        (
            &stranger,
            "topic/${iot:Connection.Thing.ThingName}",
            Publish,
            "${iot:Connection.Thing.ThingName}",
            '-',
        ),
        (
            &pump,
            "topic/${iot:Connection.Thing.ThingTypeName}",
            Publish,
            "pump",
            'A',
        ),
        (
            &pump,
            "topic/${iot:Connection.Thing.Attributes[site]}/t",
            Publish,
            "north/t",
            'A',
        ),
        (
            &pump,
            "topic/${iot:Connection.Thing.Attributes[none]}/t",
            Publish,
            "/t",
            '-',
        ),
        (&pump, "topic/${iot:Connection.Thing.IsAttached}", Publish, "true", 'A'),
        (&pump, "topic/${aws:SourceIp}", Publish, "192.0.2.7", 'A'),
        (
            &pump,
            "topic/${iot:Certificate.Subject.CommonName}",
            Publish,
            "first",
            'A',
        ),
        (
            &pump,
            "topic/${iot:Certificate.Subject.CommonName.1}",
            Publish,
            "second",
            'A',
        ),
        (
            &pump,
            "topic/${iot:Certificate.Subject.CommonName.2}",
            Publish,
            "second",
            '-',
        ),
        (&pump, "topic/${iot:Certificate.Subject.Country}", Publish, "a*", '-'),
        (&pump, "topic/${made:Up}*", Publish, "${made:Up}", '-'),
        // A value is no pattern.
        (&star, "topic/${iot:ClientId}", Publish, "anything", '-'),
        (&star, "topic/${iot:ClientId}", Publish, "*", 'A'),
        // A value with MQTT's wildcards does not widen what may be subscribed to.
        (
            &plus,
            "topicfilter/my/${iot:ClientId}/topic",
            Subscribe,
            "my/+/topic",
            '-',
        ),
        (
            &pump,
            "topicfilter/${iot:Connection.Thing.Attributes[wild]}",
            Subscribe,
            "#",
            '-',
        ),
        (&plus, "client/${iot:ClientId}", Connect, "+", 'A'),
    ] {
        let found = answer(&statement("Allow", "iot:*", resource), context, asked, name);
        assert_eq!(found, expected, "{resource} {name}");
    }
    let deny = statement("Deny", "iot:Subscribe", "topicfilter/my/${iot:ClientId}/topic");
    assert_eq!(answer(&deny, &plus, Subscribe, "my/+/topic"), 'D');
}

#[test]
fn lists_and_their_opposites() {
    let pump = pump();
    let stranger = stranger("pump-7");
    let arn = "arn:aws:iot:us-east-1:123456789012:topic";
    let not_mine = |effect: &str| {
        format!(r#"{{"Effect":"{effect}","Action":"*","NotResource":"{arn}/${{iot:Connection.Thing.ThingName}}"}}"#)
    };
    for (statements, context, asked, name, expected) in [
        (
            format!(
                r#"[{{"Effect":"Allow","Action":["iot:Publish","iot:Receive"],"Resource":["{arn}/a","{arn}/b"]}}]"#
            ),
            &pump,
            Receive,
            "b",
            'A',
        ),
        (
            format!(r#"[{{"Effect":"Allow","Action":["iot:Publish"],"Resource":["{arn}/a","{arn}/b"]}}]"#),
            &pump,
            Receive,
            "b",
            '-',
        ),
        (
            r#"{"Effect":"Allow","NotAction":"iot:Connect","Resource":"*"}"#.to_owned(),
            &pump,
            Publish,
            "a",
            'A',
        ),
        (
            r#"{"Effect":"Allow","NotAction":["iot:Connect","iot:Pub*"],"Resource":"*"}"#.to_owned(),
            &pump,
            Publish,
            "a",
            '-',
        ),
        (not_mine("Allow"), &pump, Publish, "pump-7", '-'),
        (not_mine("Allow"), &pump, Publish, "pump-8", 'A'),
        (not_mine("Deny"), &pump, Publish, "pump-7", '-'),
        (not_mine("Deny"), &pump, Publish, "pump-8", 'D'),
        // A variable without value grants nothing and spares nothing.
        (not_mine("Allow"), &stranger, Publish, "pump-8", '-'),
        (not_mine("Deny"), &stranger, Publish, "pump-7", 'D'),
        // The other entries of a list hold without it.
        (
            format!(
                r#"{{"Effect":"Allow","Action":"*","Resource":["{arn}/${{iot:Connection.Thing.ThingName}}","{arn}/all"]}}"#
            ),
            &stranger,
            Publish,
            "all",
            'A',
        ),
    ] {
        assert_eq!(
            answer(&statements, context, asked, name),
            expected,
            "{statements} {name}"
        );
    }
}

#[test]
fn a_deny_wins_in_any_order_and_from_any_policy() {
    let pump = pump();
    let allow = statement("Allow", "iot:*", "*");
    let deny = statement("Deny", "iot:Publish", "topic/secret/*");
    for statements in [format!("[{allow},{deny}]"), format!("[{deny},{allow}]")] {
        assert_eq!(answer(&statements, &pump, Publish, "secret/a"), 'D');
        assert_eq!(answer(&statements, &pump, Publish, "open/a"), 'A');
    }
    let documents = [allow, deny].map(|statement| policy(&format!(r#"{{"Statement":{statement}}}"#)));
    let [allow, deny] = documents;
    let secret = Request {
        action: Publish,
        name: "secret/a",
    };
    let open = Request {
        action: Publish,
        name: "open/a",
    };
    for (set, expected) in [
        (vec![], ['-', '-']),
        (vec![(&allow, Reach::Full)], ['A', 'A']),
        (vec![(&allow, Reach::Full), (&deny, Reach::Full)], ['D', 'A']),
        (vec![(&deny, Reach::DenyOnly), (&allow, Reach::Full)], ['D', 'A']),
        (vec![(&allow, Reach::DenyOnly)], ['-', '-']),
        (vec![(&allow, Reach::DenyOnly), (&deny, Reach::DenyOnly)], ['D', '-']),
    ] {
        let set = PolicySet::new(
            set.into_iter()
                .map(|(document, reach)| (Arc::clone(document), reach))
                .collect(),
        );
        assert_eq!(
            [secret, open].map(|request| letter(set.decide(&pump, request))),
            expected
        );
    }
}

#[test]
fn a_policy_says_what_it_asks_for_and_what_of_it_is_missing() {
    let statement = |action: &str, resource: &str, condition: &str| {
        format!(
            r#"{{"Effect":"Allow","Action":"{action}","Resource":"arn:aws:iot:r:1:{resource}","Condition":{{{condition}}}}}"#
        )
    };
    let time = r#""DateLessThan":{"aws:CurrentTime":"2026-01-01T00:00:00Z"}"#;
    for (written, expected, asks) in [
        (
            statement("iot:Publish", "topic/${iot:Certificate.Subject.CommonName.1}", ""),
            "iot:Certificate.Subject.CommonName.1",
            (false, true),
        ),
        (
            statement("iot:Subscribe", "topicfilter/${iot:ClientId}", ""),
            "",
            (false, false),
        ),
        (
            statement("iot:Publish", "topic/${iot:clientid}/x", time),
            "aws:CurrentTime iot:ClientId",
            (true, false),
        ),
        (
            statement(
                "iot:Publish",
                "topic/${iot:Connection.Thing.Attributes[a]}",
                r#""Bool":{"aws:x":"true"}"#,
            ),
            "aws:x iot:Connection.Thing.Attributes[a]",
            (false, false),
        ),
        (
            statement(
                "iot:*",
                "*",
                r#""ForAnyValue:StringEquals":{"iot:Certificate.Subject.Title.List":"x"}"#,
            ),
            "iot:Certificate.Subject.Title.List",
            (false, true),
        ),
    ] {
        let document = policy(&format!(r#"{{"Statement":{written}}}"#));
        let missing: Vec<String> = document
            .missing(&Context::default(), Action::Publish)
            .into_iter()
            .collect();
        assert_eq!(missing.join(" "), expected, "{written}");
        assert_eq!((document.asks().time, document.asks().certificate), asks, "{written}");
        assert_eq!(
            PolicySet::new(vec![(document, Reach::DenyOnly)]).asks().time,
            asks.0,
            "{written}"
        );
    }
    let document = policy(&format!(
        r#"{{"Statement":{}}}"#,
        statement("iot:Publish", "topic/${iot:ClientId}", time)
    ));
    assert_eq!(document.missing(&pump(), Action::Publish).len(), 0);
}
