//! Members of the API's answers as text for a table.

use jiff::tz::TimeZone;
use serde_json::Value;

/// A member as text: a string as it is, a list with commas, nothing when it is absent.
pub(crate) fn text(value: &Value, member: &str) -> String {
    plain(&value[member])
}

/// A member that is a time in epoch seconds, as local time with its offset.
pub(crate) fn time(value: &Value, member: &str) -> String {
    value[member]
        .as_f64()
        .map(|secs| local_time(secs, TimeZone::system()))
        .unwrap_or_default()
}

/// A member that is a metric's value, which has one member named for its kind.
pub(crate) fn metric_value(value: &Value, member: &str) -> String {
    value[member]
        .as_object()
        .and_then(|kinds| kinds.values().next())
        .map(plain)
        .unwrap_or_default()
}

/// `yes` or `no`; nothing when the member is absent.
pub(crate) fn flag(value: &Value, member: &str) -> String {
    value[member]
        .as_bool()
        .map(|flag| if flag { "yes" } else { "no" })
        .unwrap_or_default()
        .to_owned()
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| format!("{name}={}", plain(value)))
            .collect::<Vec<_>>()
            .join(", "),
        other => other.to_string(),
    }
}

/// To the second, with the offset from UTC; as the number that it is when it is no time.
fn local_time(secs: f64, zone: TimeZone) -> String {
    let at = jiff::SignedDuration::try_from_secs_f64(secs)
        .ok()
        .and_then(|since| jiff::Timestamp::from_duration(since).ok());
    match at {
        Some(at) => at.to_zoned_datetime(zone).strftime("%Y-%m-%d %H:%M:%S %:z").to_string(),
        None => secs.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_read_as_text() {
        for (value, expected) in [
            (json!("a"), "a"),
            (json!(7), "7"),
            (json!(0.5), "0.5"),
            (json!(true), "true"),
            (json!(["a", 1]), "a, 1"),
            (json!({ "site": "north", "floor": "2" }), "floor=2, site=north"),
            (Value::Null, ""),
        ] {
            assert_eq!(text(&json!({ "a": value }), "a"), expected);
        }
        assert_eq!(metric_value(&json!({ "v": { "ports": [22, 23] } }), "v"), "22, 23");
        assert_eq!(metric_value(&json!({ "v": { "count": 201 } }), "v"), "201");
        assert_eq!(metric_value(&json!({}), "v"), "");
    }

    #[test]
    fn times_are_local_and_say_their_offset() {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        assert_eq!(
            local_time(1_767_323_045.678, zone.clone()),
            "2026-01-02 05:04:05 +02:00"
        );
        assert_eq!(local_time(1e300, zone), "1e300".parse::<f64>().unwrap().to_string());
    }
}
