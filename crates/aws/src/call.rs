//! A call of the API as a client makes it, up to the point where somebody sends it.

use picket_model::time::Timestamp;

use crate::percent;
use crate::service::Service;
use crate::sigv4::{self, Credentials};
use crate::wire::sns;

/// Method, path, query, headers and body of one request.
///
/// ```
/// use picket_aws::call::Call;
///
/// let call = Call::get(&["things", "a:b"]).query("maxResults", "5");
/// assert_eq!(call.target(), "/things/a%3Ab?maxResults=5");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    method: &'static str,
    path: String,
    query: String,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    service: Service,
}

impl Call {
    /// A `GET` of the path made of these segments, each of which is percent-encoded.
    pub fn get(segments: &[&str]) -> Self {
        Self::new("GET", segments)
    }

    /// A `POST` to the path made of these segments.
    pub fn post(segments: &[&str]) -> Self {
        Self::new("POST", segments)
    }

    /// A `PUT` to the path made of these segments.
    pub fn put(segments: &[&str]) -> Self {
        Self::new("PUT", segments)
    }

    /// A `PATCH` of the path made of these segments.
    pub fn patch(segments: &[&str]) -> Self {
        Self::new("PATCH", segments)
    }

    /// A `DELETE` of the path made of these segments.
    pub fn delete(segments: &[&str]) -> Self {
        Self::new("DELETE", segments)
    }

    fn new(method: &'static str, segments: &[&str]) -> Self {
        let path = segments
            .iter()
            .flat_map(|segment| ["/".to_owned(), percent::encode(segment, b"")])
            .collect();
        Self {
            method,
            path,
            query: String::new(),
            headers: Vec::new(),
            body: Vec::new(),
            service: Service::Iot,
        }
    }

    /// An operation of SNS, whose requests are forms.
    ///
    /// ```
    /// use picket_aws::call::Call;
    ///
    /// let call = Call::form("CreateTopic").parameter("Name", "a b");
    /// assert_eq!(call.body(), b"Action=CreateTopic&Version=2010-03-31&Name=a%20b");
    /// ```
    pub fn form(operation: &str) -> Self {
        let call = Self {
            service: Service::Sns,
            ..Self::new("POST", &[""])
        };
        call.header("content-type", "application/x-www-form-urlencoded")
            .parameter("Action", operation)
            .parameter("Version", sns::VERSION)
    }

    /// Adds a parameter to a form.
    #[must_use]
    pub fn parameter(mut self, name: &str, value: &str) -> Self {
        if !self.body.is_empty() {
            self.body.push(b'&');
        }
        let pair = format!("{}={}", percent::encode(name, b""), percent::encode(value, b""));
        self.body.extend(pair.into_bytes());
        self
    }

    /// Adds a parameter to the query.
    #[must_use]
    pub fn query(mut self, name: &str, value: &str) -> Self {
        if !self.query.is_empty() {
            self.query.push('&');
        }
        self.query += &percent::encode(name, b"");
        self.query.push('=');
        self.query += &percent::encode(value, b"");
        self
    }

    /// Adds a parameter to the query if there is a value for it.
    #[must_use]
    pub fn query_if(self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.query(name, value),
            None => self,
        }
    }

    /// Adds a header. Its name is lower case, its value printable ASCII.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn json(mut self, body: &serde_json::Value) -> Self {
        self.body = body.to_string().into_bytes();
        self.headers.retain(|(name, _)| *name != "content-type");
        self.header("content-type", "application/json")
    }

    /// `GET`, `POST`, ...
    pub const fn method(&self) -> &'static str {
        self.method
    }

    /// What stands in the request line: the path, and the query behind `?` if there is one.
    pub fn target(&self) -> String {
        if self.query.is_empty() {
            self.path.clone()
        } else {
            format!("{}?{}", self.path, self.query)
        }
    }

    /// The body; empty when there is none.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// All headers to send, signed; `host` is the server's authority and goes into the `host` header.
    pub fn signed(
        &self,
        host: &str,
        credentials: &Credentials,
        region: &str,
        at: Timestamp,
    ) -> Vec<(&'static str, String)> {
        let mut headers = self.headers.clone();
        headers.push(("host", host.to_owned()));
        let borrowed: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let request = sigv4::Request {
            method: self.method,
            path: &self.path,
            query: &self.query,
            headers: &borrowed,
            body: &self.body,
        };
        let signature = sigv4::sign(&request, credentials, region, self.service.signing_name(), at);
        headers.extend(signature);
        headers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_encoded_once() {
        for (call, method, expected) in [
            (Call::get(&["things"]), "GET", "/things"),
            (Call::post(&["things", "ü x"]), "POST", "/things/%C3%BC%20x"),
            (Call::put(&["a/b", "c?d"]), "PUT", "/a%2Fb/c%3Fd"),
            (
                Call::patch(&["x"]).query("a", "1+2").query_if("b", None),
                "PATCH",
                "/x?a=1%2B2",
            ),
            (
                Call::delete(&["x"]).query("a", "1").query_if("b", Some("&")),
                "DELETE",
                "/x?a=1&b=%26",
            ),
        ] {
            assert_eq!((call.method(), call.target().as_str()), (method, expected));
        }
    }

    #[test]
    fn signed_calls_pass_the_check() {
        let credentials = Credentials {
            access_key_id: "AKIDEXAMPLE".to_owned(),
            secret_access_key: "secret".to_owned(),
        };
        let at = Timestamp::from_millis(1_767_323_045_000);
        let call = Call::put(&["things", "a:b", "principals"])
            .query("thingPrincipalType", "EXCLUSIVE_THING")
            .header("x-amzn-principal", "arn:aws:iot:us-east-1:123456789012:cert/aa")
            .json(&serde_json::json!({ "a": 1 }));
        let headers = call.signed("localhost:8080", &credentials, "us-east-1", at);
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let target = call.target();
        let (path, query) = target.split_once('?').unwrap();
        let request = sigv4::Request {
            method: call.method(),
            path,
            query,
            headers: &headers,
            body: call.body(),
        };
        let claim = sigv4::claim(&request).unwrap();
        assert_eq!(claim.check(&request, "secret", at), Ok(()));
        assert_eq!(claim.access_key_id(), "AKIDEXAMPLE");
    }
}
