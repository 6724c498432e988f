//! Who gets in, and what they may do there.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::fleet::{Device, Fleet, eventually, python};
use crate::link::{Link, report, report_topic};

#[test]
fn only_registered_and_active_certificates_get_in() {
    let fleet = Fleet::start("");
    let device = fleet.device("pump-7");
    let unknown = self_made(&fleet, "unknown", &["-x509"]);
    assert!(
        Link::connect(&fleet, &unknown, "unknown").is_err(),
        "a certificate that nobody registered"
    );
    let authority = self_made(&fleet, "authority", &["-x509"]);
    let (ca, ca_key) = (authority.certificate(), authority.key());
    let signed = ["-x509", "-CA", ca.to_str().unwrap(), "-CAkey", ca_key.to_str().unwrap()];
    let foreign = self_made(&fleet, "foreign", &signed);
    assert!(
        Link::connect(&fleet, &foreign, "foreign").is_err(),
        "a certificate of another CA"
    );
    // Registered, a certificate of whatever CA is an identity.
    let_in(&fleet, &foreign);
    Link::connect(&fleet, &foreign, "foreign").unwrap().disconnect();

    let mut link = Link::of(&fleet, &device);
    fleet.cli(&["certificate", "deactivate", &device.certificate_id]);
    link.ends();
    assert!(
        Link::connect(&fleet, &device, "pump-7").is_err(),
        "a certificate that is INACTIVE"
    );
    fleet.cli(&["certificate", "activate", &device.certificate_id]);
    Link::connect(&fleet, &device, "pump-7").unwrap().disconnect();
}

#[test]
fn a_certificate_whose_time_is_over_is_refused_unless_it_is_allowed() {
    for (options, is_in) in [("", false), ("expired_certificates = 'allowed'", true)] {
        let fleet = Fleet::start(options);
        fleet.device("pump-7");
        let old = self_made(&fleet, "old", &[]);
        let (certificate, key) = (old.certificate(), old.key());
        let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
        // The request gives way to a certificate that ended yesterday.
        openssl(
            &old.folder,
            &[
                "x509",
                "-req",
                "-in",
                certificate,
                "-signkey",
                key,
                "-days",
                "-1",
                "-out",
                certificate,
            ],
        );
        let_in(&fleet, &old);
        let words = ["-q", "1", "-t", "t", "-m", "hello"];
        let sent = fleet.mosquitto("mosquitto_pub", &old, "old", &words).output().unwrap();
        assert_eq!(
            sent.status.success(),
            is_in,
            "{options}: {}",
            String::from_utf8_lossy(&sent.stderr)
        );
    }
}

#[test]
fn a_certificate_of_x509_version_1_works_once_registered() {
    let fleet = Fleet::start("");
    fleet.device("pump-7");
    let old = signed_by_other(&fleet, "old");
    let text = Command::new("openssl")
        .args(["x509", "-noout", "-text", "-in"])
        .arg(old.certificate())
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&text.stdout).contains("Version: 1 (0x0)"));
    let_in(&fleet, &old);
    for version in ["tlsv1.2", "tlsv1.3"] {
        let words = ["-q", "1", "-t", "t", "-m", "hello", "--tls-version", version];
        let sent = fleet.mosquitto("mosquitto_pub", &old, "old", &words).output().unwrap();
        assert!(
            sent.status.success(),
            "{version}: {}",
            String::from_utf8_lossy(&sent.stderr)
        );
    }
}

#[test]
fn a_device_speaks_for_itself_alone_if_its_policy_says_so() {
    let fleet = Fleet::start("");
    fleet.device("other");
    let device = fleet.device("pump-7");
    let arn = |resource: &str| format!("arn:aws:iot:us-east-1:123456789012:{resource}");
    let own = json!({
        "Version": "2012-10-17",
        "Statement": [
            { "Effect": "Allow", "Action": "iot:Connect", "Resource": arn("client/${iot:Connection.Thing.ThingName}") },
            {
                "Effect": "Allow",
                "Action": ["iot:Publish", "iot:Receive"],
                "Resource": arn("topic/$aws/things/${iot:Connection.Thing.ThingName}/defender/metrics/*"),
            },
            {
                "Effect": "Allow",
                "Action": "iot:Subscribe",
                "Resource": arn("topicfilter/$aws/things/${iot:Connection.Thing.ThingName}/defender/metrics/*"),
            },
        ],
    });
    fleet.policy("Own", &own.to_string());
    fleet.cli(&["policy", "attach", "Own", &device.certificate_id]);
    fleet.cli(&["policy", "detach", "AllowAll", &device.certificate_id]);
    fleet.profile(
        "Story",
        &json!([{
            "name": "Ports",
            "metric": "aws:listening-tcp-ports",
            "criteria": { "comparisonOperator": "in-port-set", "value": { "ports": [22] } },
        }]),
    );

    assert!(
        Link::connect(&fleet, &device, "somebody").is_err(),
        "a client id that is not the thing's name"
    );
    let mut link = Link::of(&fleet, &device);
    assert!(!link.subscribe("#"));
    assert!(!link.subscribe("$aws/things/other/defender/metrics/json/accepted"));
    link.report_taken("pump-7", &report(1, 0, &[22]));
    assert!(
        link.publish(&report_topic("other"), report(1, 0, &[23]).to_string())
            .is_err()
    );
    link.ends();
    let mut link = Link::of(&fleet, &device);
    link.report_taken("pump-7", &report(2, 0, &[23]));
    eventually("its own violation is listed", || {
        fleet.is_in_alarm("pump-7", "Ports").then_some(())
    });
    assert!(!fleet.is_in_alarm("other", "Ports"), "nobody could speak for the other");
}

#[test]
fn a_policy_may_ask_for_fields_of_the_certificate_and_attributes_of_the_thing() {
    let fleet = Fleet::start("");
    let device = self_made(&fleet, "pump-7", &["-x509"]);
    let certificate = device.certificate();
    let registered = fleet.json(&["certificate", "register", certificate.to_str().unwrap(), "--active"]);
    let id = registered["certificateId"].as_str().unwrap();
    let filter = |filter: &str| format!("arn:aws:iot:us-east-1:123456789012:topicfilter/{filter}");
    let policy = json!({
        "Version": "2012-10-17",
        "Statement": [
            { "Effect": "Allow", "Action": "iot:Connect", "Resource": "*" },
            {
                "Effect": "Allow",
                "Action": "iot:Subscribe",
                "Resource": [
                    filter("of/${iot:Certificate.Subject.CommonName}/#"),
                    filter("at/${iot:Connection.Thing.Attributes[site]}/#"),
                ],
            },
            {
                "Effect": "Allow",
                "Action": "iot:Subscribe",
                "Resource": filter("past/#"),
                "Condition": { "DateGreaterThan": { "aws:CurrentTime": "2020-01-01T00:00:00Z" } },
            },
            {
                "Effect": "Allow",
                "Action": "iot:Subscribe",
                "Resource": filter("future/#"),
                "Condition": { "DateGreaterThan": { "aws:CurrentTime": "9000-01-01T00:00:00Z" } },
            },
        ],
    });
    fleet.policy("Fields", &policy.to_string());
    fleet.cli(&["thing", "create", "pump-7", "--attribute", "site=north"]);
    fleet.cli(&["certificate", "attach", id, "pump-7"]);
    fleet.cli(&["policy", "attach", "Fields", id]);
    let link = Link::connect(&fleet, &device, "pump-7").unwrap();
    for (filter, expected) in [
        ("of/pump-7/#", true),
        ("of/pump-8/#", false),
        ("at/north/#", true),
        ("at/south/#", false),
        ("past/#", true),
        ("future/#", false),
    ] {
        assert_eq!(link.subscribe(filter), expected, "{filter}");
    }
    // What a live session may do is changed when the change of the thing is answered.
    let script = "import boto3; boto3.client('iot').update_thing(thingName='pump-7', \
                  attributePayload={'attributes': {'site': 'south'}})";
    let changed = fleet.program(&python()).args(["-c", script]).output().unwrap();
    assert!(changed.status.success(), "{changed:?}");
    assert!(link.subscribe("at/south/#"));
    assert!(!link.subscribe("at/north/#"));
    assert!(link.subscribe("of/pump-7/#"));
}

/// Registers a certificate that others made, and lets it do everything.
fn let_in(fleet: &Fleet, device: &Device) {
    let certificate = device.certificate();
    let registered = fleet.json(&["certificate", "register", certificate.to_str().unwrap(), "--active"]);
    let id = registered["certificateId"].as_str().unwrap();
    fleet.cli(&["policy", "attach", "AllowAll", id]);
}

/// A key and a certificate made with openssl, by nobody that Picket knows.
fn self_made(fleet: &Fleet, name: &str, options: &[&str]) -> Device {
    let folder = fleet.path(&format!("device-{name}"));
    std::fs::create_dir_all(&folder).unwrap();
    let subject = format!("/CN={name}");
    let key = folder.join("private.key");
    let out = folder.join("cert.pem");
    let mut words = vec![
        "req",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-subj",
        &subject,
        "-keyout",
        key.to_str().unwrap(),
    ];
    words.extend(["-out", out.to_str().unwrap()]);
    words.extend(options);
    openssl(&folder, &words);
    Device {
        thing: name.to_owned(),
        folder,
        certificate_id: String::new(),
    }
}

/// The same, signed by a CA of its own as `openssl x509 -req` does it by default: X.509 version 1.
fn signed_by_other(fleet: &Fleet, name: &str) -> Device {
    let authority = self_made(fleet, &format!("{name}-authority"), &["-x509"]);
    let device = self_made(fleet, name, &[]);
    let request = device.folder.join("request.pem");
    std::fs::rename(device.certificate(), &request).unwrap();
    let (ca, ca_key) = (authority.certificate(), authority.key());
    openssl(
        &device.folder,
        &[
            "x509",
            "-req",
            "-days",
            "30",
            "-in",
            request.to_str().unwrap(),
            "-CA",
            ca.to_str().unwrap(),
            "-CAkey",
            ca_key.to_str().unwrap(),
            "-CAcreateserial",
            "-out",
            device.certificate().to_str().unwrap(),
        ],
    );
    device
}

fn openssl(folder: &Path, words: &[&str]) {
    let output = Command::new("openssl")
        .args(words)
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "openssl {words:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
