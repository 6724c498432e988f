//! What is wrong is refused with the modelled error, and changes nothing: names, encodings, verbs, bodies, tokens, and two
//! who want the same at once.

mod served;

use futures_util::future::join_all;
use picket_aws::call::Call;
use serde_json::{Value, json};
use served::{Answer, Served};

fn is(answer: &Answer, status: u16, code: &str) -> bool {
    answer.status == status && answer.header("x-amzn-errortype").eq_ignore_ascii_case(code)
}

/// Names that would be something else to a database, a file system or a terminal.
const NAMES: [&str; 13] = [
    "x'; DROP TABLE thing; --",
    "\" OR 1=1",
    "../../etc/passwd",
    "a/b",
    "a\\b",
    "a\u{0}b",
    "a\nb",
    "\u{202e}gnp",
    "größe",
    "名前",
    "a b",
    "a%b",
    "🦔",
];

#[tokio::test(flavor = "multi_thread")]
async fn names_are_names_wherever_they_stand() {
    let served = Served::start().await;
    let long = "x".repeat(129);
    for name in NAMES.into_iter().chain([long.as_str()]) {
        let member = json!({ "thingName": name, "thingGroupName": name, "parentGroupName": name });
        let calls = [
            Call::post(&["things", name]),
            Call::get(&["things", name]),
            Call::delete(&["things", name]),
            Call::post(&["thing-groups", name]),
            Call::post(&["thing-types", name]),
            Call::post(&["security-profiles", name]),
            Call::post(&["dimensions", name])
                .json(&json!({ "type": "TOPIC_FILTER", "stringValues": ["a"], "clientRequestToken": "t" })),
            Call::post(&["policies", name]).json(&json!({ "policyDocument": "{}" })),
            Call::get(&["thing-groups"]).query("parentGroup", name),
            Call::get(&["active-violations"]).query("securityProfileName", name),
            Call::put(&["thing-groups", "addThingToThingGroup"]).json(&member),
            Call::post(&["thing-groups", "fine"]).json(&member),
        ];
        for call in calls {
            let answer = served.call(call.clone()).await;
            assert!(
                is(&answer, 400, "InvalidRequestException"),
                "{name:?} {call:?}: {answer:?}"
            );
        }
    }
    assert_eq!(served.ok(Call::get(&["things"])).await["things"], json!([]));
    assert_eq!(served.ok(Call::get(&["thing-groups"])).await["thingGroups"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_operation_is_none() {
    let served = Served::start().await;
    for call in [
        Call::patch(&["things"]),
        Call::put(&["things", "a"]),
        Call::post(&["active-violations"]),
        Call::get(&["attached-policies", "a"]),
        Call::get(&["no-such-thing"]),
        Call::get(&["things", "a", "b", "c"]),
        Call::get(&["things", ""]),
        Call::get(&["jobs"]),
    ] {
        let answer = served.call(call.clone()).await;
        assert!(is(&answer, 404, "UnknownOperationException"), "{call:?}: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_objects_of_bounded_depth_with_each_key_once() {
    let served = Served::start().await;
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(5000), "]".repeat(5000));
    let bodies = [
        ("{\"attributePayload\":{},\"attributePayload\":{}}", "stands twice"),
        (
            "{\"attributePayload\":{\"attributes\":{\"a\":\"1\",\"a\":\"2\"}}}",
            "stands twice",
        ),
        (deep.as_str(), "recursion limit"),
        ("[]", "a list"),
        ("{", "EOF"),
        ("{}{}", "trailing"),
        ("{\"attributePayload\":[]}", "'attributePayload'"),
        ("{\"thingTypeName\":7}", "'thingTypeName'"),
    ];
    for (body, part) in bodies {
        let answer = served.raw("POST", "/things/a", body.as_bytes()).await;
        assert!(is(&answer, 400, "InvalidRequestException"), "{body:.80}: {answer:?}");
        assert!(answer.body.contains(part), "{body:.80}: {answer:?}");
    }
    for body in [b"{\"a\":\"\xff\"}".as_slice(), b"\xef\xbb\xbf{}", b"\x1f\x8b\x08\x00"] {
        let answer = served.raw("POST", "/things/a", body).await;
        assert!(is(&answer, 400, "InvalidRequestException"), "{body:?}: {answer:?}");
    }
    for target in [
        "/things/%zz",
        "/things/%ff",
        "/things/%",
        "/things?maxResults=%31%",
        "/things?maxResults=1&maxResults=2",
    ] {
        let answer = served.raw("GET", target, b"").await;
        assert!(is(&answer, 400, "InvalidRequestException"), "{target}: {answer:?}");
    }
    assert_eq!(served.ok(Call::get(&["things"])).await["things"], json!([]));
}

fn document(n: usize) -> String {
    format!(r#"{{"Statement":{{"Effect":"Allow","Action":"iot:*","Resource":"arn:aws:iot:*:*:topic/{n}"}}}}"#)
}

fn attributes(n: usize) -> Value {
    json!({ "attributes": { "n": n.to_string() } })
}

#[tokio::test(flavor = "multi_thread")]
async fn of_those_who_create_one_name_at_once_one_wins() {
    let served = Served::start().await;
    let creations: [fn(usize) -> Call; 5] = [
        |n| Call::post(&["things", "t"]).json(&json!({ "attributePayload": attributes(n) })),
        |n| {
            let properties = json!({ "attributePayload": attributes(n) });
            Call::post(&["thing-groups", "g"]).json(&json!({ "thingGroupProperties": properties }))
        },
        |n| Call::post(&["policies", "p"]).json(&json!({ "policyDocument": document(n) })),
        |n| Call::post(&["security-profiles", "s"]).json(&json!({ "securityProfileDescription": n.to_string() })),
        |n| {
            let token = format!("token-{n}");
            let body = json!({ "type": "TOPIC_FILTER", "stringValues": ["a"], "clientRequestToken": token });
            Call::post(&["dimensions", "d"]).json(&body)
        },
    ];
    for create in creations {
        let answers = join_all((0..12).map(|n| served.call(create(n)))).await;
        let n_won = answers.iter().filter(|answer| answer.status == 200).count();
        assert_eq!(n_won, 1, "{answers:?}");
        let lost = answers.iter().filter(|answer| answer.status != 200);
        for answer in lost {
            assert!(is(answer, 409, "ResourceAlreadyExistsException"), "{answer:?}");
            assert!(answer.json()["resourceArn"].is_string(), "{answer:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_use_is_not_deleted() {
    let served = Served::start().await;
    let certificate = served
        .ok(Call::post(&["keys-and-certificate"]).query("setAsActive", "true"))
        .await;
    let (arn, id) = (
        certificate["certificateArn"].as_str().unwrap(),
        certificate["certificateId"].as_str().unwrap(),
    );
    served.ok(Call::post(&["things", "t"])).await;
    served
        .ok(Call::put(&["things", "t", "principals"]).header("x-amzn-principal", arn))
        .await;
    let document = r#"{"Statement":{"Effect":"Allow","Action":"iot:*","Resource":"*"}}"#;
    served
        .ok(Call::post(&["policies", "p"]).json(&json!({ "policyDocument": document })))
        .await;
    served
        .ok(Call::put(&["target-policies", "p"]).json(&json!({ "target": arn })))
        .await;
    served.ok(Call::post(&["thing-groups", "top"])).await;
    served
        .ok(Call::post(&["thing-groups", "below"]).json(&json!({ "parentGroupName": "top" })))
        .await;
    for (call, status, code) in [
        (Call::delete(&["things", "t"]), 400, "InvalidRequestException"),
        (Call::delete(&["policies", "p"]), 409, "DeleteConflictException"),
        (Call::delete(&["thing-groups", "top"]), 400, "InvalidRequestException"),
        (Call::delete(&["certificates", id]), 406, "CertificateStateException"),
    ] {
        let answer = served.call(call.clone()).await;
        assert!(is(&answer, status, code), "{call:?}: {answer:?}");
    }
    served
        .ok(Call::put(&["certificates", id]).query("newStatus", "INACTIVE"))
        .await;
    let answer = served.call(Call::delete(&["certificates", id])).await;
    assert!(is(&answer, 409, "DeleteConflictException"), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_stay_right_while_the_list_changes_and_belong_to_their_list() {
    let served = Served::start().await;
    let make = |name: &str| Call::post(&["things", name]);
    for n in (0..20).step_by(2) {
        served.ok(make(&format!("t{n:02}"))).await;
    }
    let (mut seen, mut token) = (Vec::new(), None::<String>);
    for round in 0.. {
        let page = served
            .ok(Call::get(&["things"])
                .query("maxResults", "3")
                .query_if("nextToken", token.as_deref()))
            .await;
        seen.extend(
            page["things"]
                .as_array()
                .unwrap()
                .iter()
                .map(|thing| thing["thingName"].clone()),
        );
        // Before and behind the place where the list goes on.
        served.ok(make(&format!("a{round}"))).await;
        served.ok(make(&format!("z{round}"))).await;
        served.ok(Call::delete(&["things", "t04"])).await;
        match page["nextToken"].as_str() {
            Some(next) => assert_ne!(token.replace(next.to_owned()).as_deref(), Some(next)),
            None => break,
        }
    }
    let once: Vec<Value> = (0..20).step_by(2).map(|n| format!("t{n:02}").into()).collect();
    let of_before: Vec<&Value> = seen
        .iter()
        .filter(|name| name.as_str().unwrap().starts_with('t'))
        .collect();
    assert_eq!(
        of_before,
        once.iter().collect::<Vec<_>>(),
        "each one that was there is seen once"
    );

    let token = token.unwrap();
    for call in [
        Call::get(&["thing-groups"]).query("nextToken", &token),
        Call::get(&["policies"]).query("marker", &token),
        Call::get(&["things"]).query("nextToken", "AAAA"),
        Call::get(&["things"]).query("nextToken", "not base64!"),
    ] {
        let answer = served.call(call.clone()).await;
        assert!(is(&answer, 400, "InvalidRequestException"), "{call:?}: {answer:?}");
    }
}
