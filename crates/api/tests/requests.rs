//! Requests as no client library would send them, and what strangers may take.

mod served;

use std::time::Duration;

use picket_api::Limits;
use picket_aws::call::Call;
use picket_aws::sigv4::{self, Credentials};
use picket_model::time::Timestamp;
use picket_store::access::AccessScope;
use serde_json::json;
use served::{DEADLINE, Served, now};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A request with everything that a signature depends on.
struct Signing<'a> {
    method: &'a str,
    path: &'a str,
    region: &'a str,
    secret: Option<&'a str>,
    at: Timestamp,
    headers: &'a [(&'static str, &'static str)],
    body: &'a [u8],
    service: &'a str,
}

impl Default for Signing<'_> {
    fn default() -> Self {
        Self {
            method: "GET",
            path: "/things",
            region: "eu-central-1",
            secret: None,
            at: now(),
            headers: &[],
            body: b"",
            service: "iot",
        }
    }
}

impl<'a> Signing<'a> {
    fn at(self, at: Timestamp) -> Self {
        Self { at, ..self }
    }

    fn secret(self, secret: &'a str) -> Self {
        let secret = Some(secret);
        Self { secret, ..self }
    }

    fn service(self, service: &'a str) -> Self {
        Self { service, ..self }
    }

    fn path(self, path: &'a str) -> Self {
        Self { path, ..self }
    }

    fn region(self, region: &'a str) -> Self {
        Self { region, ..self }
    }

    fn method(self, method: &'a str) -> Self {
        Self { method, ..self }
    }

    fn headers(self, headers: &'a [(&'static str, &'static str)]) -> Self {
        Self { headers, ..self }
    }

    /// What goes over the wire.
    fn signed(&self, served: &Served) -> Vec<(&'static str, String)> {
        let host = served.addr.to_string();
        let mut headers = vec![("host", host.as_str())];
        headers.extend_from_slice(self.headers);
        let request = sigv4::Request {
            method: self.method,
            path: self.path,
            query: "",
            headers: &headers,
            body: self.body,
        };
        let mut credentials: Credentials = served.credentials.clone();
        if let Some(secret) = self.secret {
            secret.clone_into(&mut credentials.secret_access_key);
        }
        let mut signed = sigv4::sign(&request, &credentials, self.region, self.service, self.at);
        signed.extend(self.headers.iter().map(|(name, value)| (*name, (*value).to_owned())));
        signed.push(("host", host.clone()));
        signed
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_the_holder_of_a_key_has_signed_is_served() {
    let served = Served::start().await;
    let ago = |secs: i64| Timestamp::from_millis(now().millis() - secs * 1000);
    let unsigned = &[("x-amz-content-sha256", "UNSIGNED-PAYLOAD")];
    let plain = Signing::default;
    for (signing, added, status, code) in [
        (plain(), None, 200, ""),
        (plain().at(ago(290)), None, 200, ""),
        (plain().at(ago(310)), None, 403, "InvalidSignatureException"),
        (plain().at(ago(-310)), None, 403, "InvalidSignatureException"),
        (plain().secret("wrong"), None, 403, "InvalidSignatureException"),
        (plain().headers(unsigned), None, 403, "InvalidSignatureException"),
        // Goes into ARNs.
        (plain().region("a:b"), None, 403, "IncompleteSignatureException"),
        (plain().region(""), None, 403, "IncompleteSignatureException"),
        (plain().method("OPTIONS"), None, 404, "UnknownOperationException"),
        (plain().method("HEAD"), None, 200, ""),
        // Headers that anybody may add on the way: those without meaning do not matter, with the others nothing is served.
        (plain(), Some(("user-agent", "pümp")), 200, ""),
        (plain(), Some(("x-forwarded-for", "ü")), 200, ""),
        (
            plain(),
            Some(("x-amzn-principal", "arn")),
            403,
            "IncompleteSignatureException",
        ),
        (
            plain(),
            Some(("authorization", "x")),
            403,
            "IncompleteSignatureException",
        ),
        (
            plain(),
            Some(("x-amz-security-token", "x")),
            403,
            "UnrecognizedClientException",
        ),
    ] {
        let mut headers = signing.signed(&served);
        headers.extend(added.map(|(name, value)| (name, value.to_owned())));
        let answer = served.send(signing.method, signing.path, &headers, signing.body).await;
        let found = (answer.status, answer.header("x-amzn-errortype").to_owned());
        assert_eq!(found, (status, code.to_lowercase()), "{headers:?}: {answer:?}");
        assert!(!format!("{answer:?}").contains(&served.credentials.secret_access_key));
    }
    let options = served.send("OPTIONS", "/things", &[], b"").await;
    assert_eq!(
        options.header("x-amzn-errortype"),
        "missingauthenticationtokenexception"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn each_service_has_its_own_operations_and_its_own_errors() {
    let served = Served::start().await;
    let plain = Signing::default;
    let xml_code = |code: &str| format!("<Code>{code}</Code>");
    for (signing, status, code, in_body) in [
        (plain(), 200, "", "\"things\"".to_owned()),
        (
            plain().service("iotdata"),
            404,
            "unknownoperationexception",
            "{\"message\":".to_owned(),
        ),
        (plain().service("sns"), 400, "invalidaction", xml_code("InvalidAction")),
        (
            plain().service("s3"),
            403,
            "invalidsignatureexception",
            "\\\"s3\\\"".to_owned(),
        ),
        (
            plain().service("iot").path("/"),
            404,
            "unknownoperationexception",
            "{\"message\":".to_owned(),
        ),
        // Before anybody knows which service is meant, the path says whose clients read the answer.
        (
            plain().service("s3").path("/"),
            403,
            "signaturedoesnotmatch",
            xml_code("SignatureDoesNotMatch"),
        ),
        (
            plain().service("sns").path("/").secret("wrong"),
            403,
            "signaturedoesnotmatch",
            "<Type>Sender</Type>".to_owned(),
        ),
    ] {
        let answer = served
            .send(signing.method, signing.path, &signing.signed(&served), signing.body)
            .await;
        let found = (answer.status, answer.header("x-amzn-errortype"));
        assert_eq!(found, (status, code), "{answer:?}");
        assert!(answer.body.contains(&in_body), "{answer:?}");
        let id = answer.header("x-amzn-requestid");
        assert!(
            !answer.body.starts_with('<') || answer.body.contains(&format!("<RequestId>{id}<")),
            "{answer:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_key_is_useless_at_once_and_the_last_one_stays() {
    let served = Served::start().await;
    let made = served.ok(Call::post(&["picket", "v1", "keys"]).json(&json!({}))).await;
    let text = |member: &str| made[member].as_str().unwrap().to_owned();
    let second = Credentials {
        access_key_id: text("accessKeyId"),
        secret_access_key: text("secretAccessKey"),
    };
    let call = Call::get(&["things"]);
    let status_with = async |credentials: &Credentials| {
        let headers = call.signed(&served.addr.to_string(), credentials, "eu-central-1", now());
        served.send(call.method(), &call.target(), &headers, b"").await.status
    };
    assert_eq!(status_with(&second).await, 200);
    let disable = |id: &str| Call::post(&["picket", "v1", "keys", id, "disable"]);
    served.ok(disable(&second.access_key_id)).await;
    assert_eq!(status_with(&second).await, 403);
    let last = served.call(disable(&served.credentials.access_key_id)).await;
    assert_eq!(last.status, 400, "{last:?}");
    assert_eq!(status_with(&served.credentials).await, 200);
}

/// What the server sends until it closes the connection.
async fn until_closed(mut connection: TcpStream) -> String {
    let mut answer = Vec::new();
    let read = connection.read_to_end(&mut answer);
    let is_closed = tokio::time::timeout(DEADLINE, read).await.is_ok();
    assert!(is_closed, "the server keeps the connection");
    String::from_utf8_lossy(&answer).to_lowercase()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_slow_is_not_waited_for() {
    let served = Served::within(Limits {
        head_time_max: Duration::from_millis(300),
        body_time_max: Duration::from_millis(300),
        ..Limits::default()
    })
    .await;
    let signing = Signing {
        method: "POST",
        path: "/things/slow",
        ..Signing::default()
    };
    let mut half_body = format!("{} {} HTTP/1.1\r\n", signing.method, signing.path);
    for (name, value) in signing.signed(&served) {
        half_body += &format!("{name}: {value}\r\n");
    }
    for (sent, expected) in [
        (String::new(), ""),
        ("GET /things HTTP/1.1\r\nhost: x\r\n".to_owned(), ""),
        // The second head never comes.
        ("GET /things HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(), "http/1.1 403 "),
        (format!("{half_body}content-length: 9\r\n\r\n{{"), "http/1.1 408 "),
        (
            format!("{half_body}transfer-encoding: chunked\r\n\r\n1\r\n{{\r\n"),
            "http/1.1 408 ",
        ),
    ] {
        let mut connection = TcpStream::connect(served.addr).await.unwrap();
        connection.write_all(sent.as_bytes()).await.unwrap();
        let answer = until_closed(connection).await;
        assert!(answer.starts_with(expected), "{sent}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_counted_and_grow_old() {
    let served = Served::within(Limits {
        n_connections_max: 1,
        age_max: Duration::from_millis(300),
        goodbye_time_max: Duration::from_millis(300),
        ..Limits::default()
    })
    .await;
    // Asks again and again and never reads: its answers fill all buffers, and the server cannot write any more.
    let mut deaf = TcpStream::connect(served.addr).await.unwrap();
    let request = b"GET /things HTTP/1.1\r\nhost: x\r\n\r\n".repeat(1000);
    let deaf_talks = tokio::spawn(async move { while deaf.write_all(&request).await.is_ok() {} });
    // There is one place only, and it becomes free.
    served.ok(Call::get(&["things"])).await;
    tokio::time::timeout(DEADLINE, deaf_talks).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_body_is_refused_and_chunks_are_put_together() {
    let served = Served::start().await;
    let create = |n: usize| Call::post(&["things", "big"]).json(&json!({ "x": "a".repeat(n) }));
    assert_eq!(served.call(create(4 << 20)).await.status, 413);
    assert_eq!(served.call(create(1 << 20)).await.status, 200);

    let body = br#"{"attributePayload":{"attributes":{"site":"north"}}}"#;
    let signing = Signing {
        method: "POST",
        path: "/things/chunked",
        body,
        ..Signing::default()
    };
    let mut request = "POST /things/chunked HTTP/1.1\r\nconnection: close\r\ntransfer-encoding: chunked\r\n".to_owned();
    for (name, value) in signing.signed(&served) {
        request += &format!("{name}: {value}\r\n");
    }
    request += "\r\n";
    for chunk in body.chunks(7) {
        request += &format!("{:x}\r\n{}\r\n", chunk.len(), String::from_utf8_lossy(chunk));
    }
    let mut connection = TcpStream::connect(served.addr).await.unwrap();
    connection.write_all((request + "0\r\n\r\n").as_bytes()).await.unwrap();
    let answer = until_closed(connection).await;
    assert!(answer.starts_with("http/1.1 200 "), "{answer}");
    let thing = served.ok(Call::get(&["things", "chunked"])).await;
    assert_eq!(thing["attributes"]["site"], "north");
}

#[tokio::test(flavor = "multi_thread")]
async fn attributes_are_bounded_however_they_come() {
    let served = Served::start().await;
    let attributes = |prefix: &str, n: usize| -> serde_json::Map<String, serde_json::Value> {
        (0..n).map(|at| (format!("{prefix}{at}"), json!("x"))).collect()
    };
    let payload = |attributes| json!({ "attributePayload": { "attributes": attributes, "merge": true } });
    let create = |n| {
        let mut thing = payload(attributes("a", n));
        thing["thingTypeName"] = json!("Pump");
        Call::post(&["things", "pump"]).json(&thing)
    };
    served.ok(Call::post(&["thing-types", "Pump"]).json(&json!({}))).await;
    assert_eq!(served.call(create(51)).await.status, 400);
    served.ok(create(49)).await;
    served.told();
    let merge = |attributes| Call::patch(&["things", "pump"]).json(&payload(attributes));
    served.ok(merge(attributes("b", 1))).await;
    assert_eq!(
        served.told(),
        [AccessScope::Thing("pump".parse().unwrap())],
        "policies may ask for attributes"
    );
    let refusal = served.call(merge(attributes("c", 1))).await;
    assert_eq!(
        (refusal.status, refusal.body.contains("51 attributes")),
        (400, true),
        "{refusal:?}"
    );
    let mut exchanged = attributes("c", 1);
    exchanged.insert("a0".to_owned(), json!(""));
    served.ok(merge(exchanged)).await;
    let thing = served.ok(Call::get(&["things", "pump"])).await;
    assert_eq!(thing["attributes"].as_object().unwrap().len(), 50);

    // Merges from several sides do not conflict: nobody said which version they had seen.
    let mixer = json!({ "thingTypeName": "Pump" });
    served.ok(Call::post(&["things", "mixer"]).json(&mixer)).await;
    let calls: Vec<Call> = (0..9)
        .map(|at| Call::patch(&["things", "mixer"]).json(&payload(attributes(&format!("d{at}-"), 1))))
        .collect();
    let merged = futures_util::future::join_all(calls.into_iter().map(|call| served.ok(call))).await;
    let thing = served.ok(Call::get(&["things", "mixer"])).await;
    assert_eq!(thing["attributes"].as_object().unwrap().len(), merged.len());

    let group = json!({ "thingGroupProperties": payload(attributes("a", 51)) });
    assert_eq!(
        served
            .call(Call::post(&["thing-groups", "g"]).json(&group))
            .await
            .status,
        400
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_of_policies_say_what_is_wrong() {
    let served = Served::start().await;
    for (document, expected) in [
        ("hello", "line 1 column 1"),
        (r#"{"Statment":[]}"#, "unknown field `Statment`"),
        (
            r#"{"Statement":{"Effect":"Deny","Effect":"Allow","Action":"*","Resource":"*"}}"#,
            "duplicate field `Effect`",
        ),
        (
            r#"{"Statement":{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}}"#,
            "unknown field `Principal`",
        ),
        (
            r#"{"Statement":{"Effect":"allow","Action":"*","Resource":"*"}}"#,
            "expected Allow or Deny",
        ),
    ] {
        let call = Call::post(&["policies", "p"]).json(&json!({ "policyDocument": document }));
        let refusal = served.call(call).await;
        assert_eq!(
            refusal.header("x-amzn-errortype"),
            "malformedpolicyexception",
            "{refusal:?}"
        );
        assert!(
            refusal.json()["message"].as_str().unwrap().contains(expected),
            "{refusal:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_to_what_is_not_there_warns() {
    let served = Served::start().await;
    let behavior = json!({ "name": "out", "metric": "aws:all-bytes-out", "criteria": {
        "comparisonOperator": "less-than-equals", "value": { "count": 200 }, "durationSeconds": 300 } });
    served
        .ok(Call::post(&["security-profiles", "Story"]).json(&json!({ "behaviors": [behavior] })))
        .await;
    for (at, (profiles, behaviors, expected)) in [
        (&["Story"][..], &["out"][..], ""),
        (&[], &["anything"], ""),
        (&["Story", "Stroy"], &["out"], "Stroy does not exist"),
        (&["Story"], &["in"], "no behavior in"),
    ]
    .into_iter()
    .enumerate()
    {
        let body = json!({ "responseName": format!("r{at}"), "securityProfileNames": profiles,
            "behaviorNames": behaviors, "quarantine": { "thingGroupName": "IsolatedDevices" } });
        let created = served.ok(Call::post(&["picket", "v1", "responses"]).json(&body)).await;
        let warnings = created["picketWarnings"].to_string();
        assert!(
            if expected.is_empty() {
                warnings == "null"
            } else {
                warnings.contains(expected)
            },
            "{created}"
        );
    }
}
