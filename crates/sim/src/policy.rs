//! What a simulated device may do, and no more.

use picket_model::name::DeviceName;
use picket_model::topic::{DefenderTopic, Format, TopicKind};
use serde_json::{Value, json};

/// A device that connects as the sensor and, for its agent, as the thing; that publishes readings; and that reports for
/// the thing. A viewer may look at its readings. `arn_of` makes a resource's ARN.
pub(crate) fn document(device: &str, thing: &DeviceName, topic: &str, arn_of: impl Fn(&str) -> String) -> Value {
    let defender = |kinds: &[TopicKind]| -> Vec<String> {
        let topic = |format, kind| {
            DefenderTopic {
                thing: thing.clone(),
                format,
                kind,
            }
            .to_string()
        };
        [Format::Json, Format::Cbor]
            .iter()
            .flat_map(|&format| kinds.iter().map(move |&kind| topic(format, kind)))
            .collect()
    };
    let mut clients = vec![device.to_owned(), thing.to_string()];
    clients.dedup();
    clients.push(viewer(device));
    let clients = clients
        .iter()
        .map(|client| arn_of(&format!("client/{client}")))
        .collect();
    let read = |kind: &str| -> Vec<String> {
        let answers = defender(&[TopicKind::Accepted, TopicKind::Rejected]);
        let topics = answers.iter().map(String::as_str).chain([topic]);
        topics.map(|topic| arn_of(&format!("{kind}/{topic}"))).collect()
    };
    let reports = defender(&[TopicKind::Report])
        .into_iter()
        .map(|topic| arn_of(&format!("topic/{topic}")));
    let published: Vec<String> = [arn_of(&format!("topic/{topic}"))].into_iter().chain(reports).collect();
    let allow =
        |action: &str, resources: Vec<String>| json!({ "Effect": "Allow", "Action": action, "Resource": resources });
    json!({
        "Version": "2012-10-17",
        "Statement": [
            allow("iot:Connect", clients),
            allow("iot:Publish", published),
            allow("iot:Subscribe", read("topicfilter")),
            allow("iot:Receive", read("topic")),
        ],
    })
}

/// The client id of somebody who looks at a device's readings, with the device's certificate.
pub(crate) fn viewer(device: &str) -> String {
    format!("{device}-viewer")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_may_do_what_it_needs() {
        let arn_of = |resource: &str| format!("arn:{resource}");
        let document = document(
            "SensorDevice03",
            &"Thing03".parse().unwrap(),
            "temperature-device-03",
            arn_of,
        );
        let resources = |at: usize| document["Statement"][at]["Resource"].clone();
        assert_eq!(
            resources(0),
            json!([
                "arn:client/SensorDevice03",
                "arn:client/Thing03",
                "arn:client/SensorDevice03-viewer"
            ])
        );
        let metrics = "arn:topic/$aws/things/Thing03/defender/metrics";
        let published = json!([
            "arn:topic/temperature-device-03",
            format!("{metrics}/json"),
            format!("{metrics}/cbor")
        ]);
        assert_eq!(resources(1), published);
        assert_eq!(
            resources(2)[3],
            "arn:topicfilter/$aws/things/Thing03/defender/metrics/cbor/rejected"
        );
        assert!(!document.to_string().contains('*'), "nothing is left open");
        let size = document.to_string().len();
        assert!(size < 2048, "{size} characters, AWS takes 2048");
    }

    #[test]
    fn a_device_named_like_its_thing_has_one_client_id() {
        let document = document("Thing03", &"Thing03".parse().unwrap(), "t", str::to_owned);
        assert_eq!(
            document["Statement"][0]["Resource"],
            json!(["client/Thing03", "client/Thing03-viewer"])
        );
    }
}
