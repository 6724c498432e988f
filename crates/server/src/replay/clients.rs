//! Records about clients as JSON, for people who look into a log.

use picket_model::meter::{ClientMeter, Presence, Tally};
use picket_model::record::Record;
use serde_json::{Value, json};

/// One object for each client that the record is about; of all clients at once, one without a client.
pub(super) fn lines(record: &Record) -> Vec<Value> {
    match record {
        Record::Meter(meter) => meter.clients.iter().map(measured).collect(),
        Record::Connected(came) => vec![presence("connected", came)],
        Record::Disconnected(went, reason) => {
            let mut line = presence("disconnected", went);
            line["reason"] = reason.as_str().into();
            vec![line]
        }
        Record::SessionsEnded => vec![json!({ "record": "sessionsEnded" })],
        _ => Vec::new(),
    }
}

fn presence(record: &str, presence: &Presence) -> Value {
    json!({
        "record": record,
        "clientId": presence.client_id.as_str(),
        "isGenuine": presence.is_genuine,
        "certificateId": presence.certificate.to_string(),
        "connection": presence.connection,
        "address": presence.address.to_string(),
    })
}

fn measured(client: &ClientMeter) -> Value {
    let mut line = tally(&client.total);
    line["record"] = "meter".into();
    line["clientId"] = client.client_id.as_str().into();
    line["isGenuine"] = client.is_genuine.into();
    line["certificateId"] = client.certificate.to_string().into();
    line["nRefusedAttempts"] = client.n_refused_attempts.into();
    line["nAuthorizationFailures"] = client.n_authorization_failures.into();
    for one in &client.dimensions {
        line["dimensions"][one.dimension.as_str()] = json!({
            "inside": tally(&one.inside),
            "outside": tally(&one.outside),
        });
    }
    line
}

fn tally(tally: &Tally) -> Value {
    let addresses: Vec<String> = tally.addresses.iter().map(ToString::to_string).collect();
    let sent = tally.sent.map(|sizes| {
        json!({
            "nMessages": sizes.n_messages, "sumBytes": sizes.sum_bytes,
            "minBytes": sizes.min_bytes, "maxBytes": sizes.max_bytes,
        })
    });
    json!({ "sent": sent, "nReceived": tally.n_received, "nRefused": tally.n_refused, "addresses": addresses })
}
