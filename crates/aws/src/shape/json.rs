//! The JSON of request bodies: an object that names one key twice is refused, since two readers could take it for two
//! different requests.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::BadInput;

/// Characters of a key that an error quotes.
const N_QUOTED_MAX: usize = 100;

/// The object that the body is; empty when the body is.
pub(super) fn object(body: &[u8]) -> Result<Map<String, Value>, BadInput> {
    if body.is_empty() {
        return Ok(Map::new());
    }
    let bad = |reason: String| BadInput::Body { reason };
    let mut json = serde_json::Deserializer::from_slice(body);
    let value = Once.deserialize(&mut json).map_err(|err| bad(err.to_string()))?;
    json.end().map_err(|err| bad(err.to_string()))?;
    match value {
        Value::Object(members) => Ok(members),
        other => Err(bad(format!("found {}, expected an object", kind(&other)))),
    }
}

const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Reads any JSON value, each key of an object once. How deep values may nest is serde_json's limit: 128.
struct Once;

impl<'de> DeserializeSeed<'de> for Once {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Value, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Once {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = values.next_element_seed(Self)? {
            list.push(value);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if object.contains_key(&key) {
                let quoted: String = key.chars().take(N_QUOTED_MAX).collect();
                return Err(A::Error::custom(format_args!(
                    "key {quoted:?} stands twice in an object, expected once"
                )));
            }
            let value = entries.next_value_seed(Self)?;
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_objects_with_each_key_once() {
        let body = br#"{"a":[1,-1,1.5,null,true,"x"],"b":{"a":{}}}"#;
        let expected: Map<String, Value> = serde_json::from_slice(body).unwrap();
        assert_eq!(object(body), Ok(expected));
        assert_eq!(object(b""), Ok(Map::new()));
        assert_eq!(object(b" {} \n"), Ok(Map::new()));

        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        let cases: &[(&[u8], &str)] = &[
            (br#"{"a":1,"b":2,"a":1}"#, "key \"a\" stands twice"),
            (
                br#"{"x":[{"Effect":"Allow","Effect":"Deny"}]}"#,
                "key \"Effect\" stands twice",
            ),
            (br#"{"a":1,"\u0061":2}"#, "key \"a\" stands twice"),
            (b"[]", "found a list, expected an object"),
            (b"7", "found a number, expected an object"),
            (b"null", "found null, expected an object"),
            (b"{} {}", "trailing characters"),
            (b"{", "EOF"),
            (b"{\"a\":\"\xff\"}", "invalid unicode"),
            (b"\xef\xbb\xbf{}", "expected value"),
            (deep.as_bytes(), "recursion limit exceeded"),
        ];
        for (body, part) in cases {
            let found = object(body).unwrap_err().to_string();
            assert!(found.contains(part), "{}: {found}", String::from_utf8_lossy(body));
        }
    }
}
