//! Why an operation was not done, and the one place that makes HTTP of it, in the form of each service.

use std::error::Error as StdError;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use picket_aws::error::ApiErrorCode;
use picket_aws::service::Service;
use picket_aws::shape::BadInput;
use picket_aws::sigv4::BadSignature;
use picket_aws::xml::{SNS_NAMESPACE, text as xml_text};
use picket_store::StoreError;
use picket_store::history::HistoryError;
use serde_json::json;

/// Why an operation was not done: what the client is told, and what the log is told.
#[derive(Debug, thiserror::Error)]
#[error("{code}: {message}")]
pub struct ApiError {
    /// The error's name.
    pub code: ApiErrorCode,
    /// What was found and what was expected.
    pub message: String,
    /// What exists already: id and ARN.
    pub resource: Option<(String, String)>,
    /// The cause, for the log only.
    #[source]
    pub source: Option<Box<dyn StdError + Send + Sync>>,
}

impl ApiError {
    /// The error of this name.
    pub fn new(code: ApiErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            resource: None,
            source: None,
        }
    }

    /// Bad input, or not possible as things are.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ApiErrorCode::InvalidRequestException, message)
    }

    /// What the path names does not exist.
    pub fn not_found(what: &str, name: impl std::fmt::Display) -> Self {
        Self::new(
            ApiErrorCode::ResourceNotFoundException,
            format!("{what} {name} does not exist"),
        )
    }

    /// What was asked for was never configured.
    pub(crate) fn not_configured(message: impl Into<String>) -> Self {
        Self::new(ApiErrorCode::NotConfiguredException, message)
    }

    /// Our fault: the client learns nothing more.
    pub(crate) fn internal(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self {
            source: Some(source.into()),
            ..Self::new(
                ApiErrorCode::InternalFailureException,
                "internal failure; the server's log has more",
            )
        }
    }

    /// The same, with what it is that exists already.
    pub(crate) fn about(mut self, id: impl ToString, arn: String) -> Self {
        if self.code == ApiErrorCode::ResourceAlreadyExistsException {
            self.resource = Some((id.to_string(), arn));
        }
        self
    }

    /// The same as bad input, where the service model has no `ResourceNotFoundException` for the operation.
    pub(crate) fn missing_is_invalid(mut self) -> Self {
        if self.code == ApiErrorCode::ResourceNotFoundException {
            self.code = ApiErrorCode::InvalidRequestException;
        }
        self
    }
}

impl From<BadInput> for ApiError {
    fn from(err: BadInput) -> Self {
        Self::invalid(err.to_string())
    }
}

impl From<BadSignature> for ApiError {
    fn from(err: BadSignature) -> Self {
        let code = match err {
            BadSignature::Missing => ApiErrorCode::MissingAuthenticationTokenException,
            BadSignature::Incomplete(_) => ApiErrorCode::IncompleteSignatureException,
            BadSignature::SessionToken | BadSignature::UnknownKey => ApiErrorCode::UnrecognizedClientException,
            BadSignature::Service { .. }
            | BadSignature::Skewed { .. }
            | BadSignature::Expired { .. }
            | BadSignature::Payload
            | BadSignature::Mismatch => ApiErrorCode::InvalidSignatureException,
        };
        Self::new(code, err.to_string())
    }
}

impl From<HistoryError> for ApiError {
    fn from(err: HistoryError) -> Self {
        Self::internal(err)
    }
}

impl From<StoreError> for ApiError {
    fn from(err: StoreError) -> Self {
        use ApiErrorCode as Code;
        let code = match &err {
            StoreError::NotFound { .. } => Code::ResourceNotFoundException,
            StoreError::Exists { .. } => Code::ResourceAlreadyExistsException,
            StoreError::Version { .. } => Code::VersionConflictException,
            StoreError::Limit {
                what: "versions of a policy",
                ..
            } => Code::VersionsLimitExceededException,
            StoreError::Limit { .. } => Code::LimitExceededException,
            StoreError::State { .. } => Code::CertificateStateException,
            StoreError::InUse {
                what: "policy" | "policy version" | "certificate",
                ..
            } => Code::DeleteConflictException,
            StoreError::InUse { .. } | StoreError::Rule { .. } => Code::InvalidRequestException,
            StoreError::Full(_) => {
                return Self {
                    source: Some(Box::new(err)),
                    ..Self::new(Code::ServiceUnavailableException, "the server has no space left")
                };
            }
            _ => return Self::internal(err),
        };
        Self::new(code, err.to_string())
    }
}

/// What of an error the client is told. It travels in the answer's extensions to the guard, which alone knows the service
/// that was called and how errors of that look on the wire.
#[derive(Clone, Debug)]
struct Refusal {
    code: ApiErrorCode,
    message: String,
    resource: Option<(String, String)>,
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        if let Some(source) = &self.source {
            tracing::error!(
                code = self.code.name(),
                cause = chain(source.as_ref()),
                "operation failed"
            );
        }
        let refusal = Refusal {
            code: self.code,
            message: self.message,
            resource: self.resource,
        };
        let mut response = refusal.for_service(Service::Iot, "");
        response.extensions_mut().insert(refusal);
        response
    }
}

/// The answer as clients of this service read it: an error in the service's own form.
pub(crate) fn in_form_of(service: Service, request_id: &str, mut response: Response) -> Response {
    match response.extensions_mut().remove::<Refusal>() {
        Some(refusal) => refusal.for_service(service, request_id),
        None => response,
    }
}

impl Refusal {
    fn for_service(&self, service: Service, request_id: &str) -> Response {
        let status = StatusCode::from_u16(self.code.status_for(service)).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let (kind, body) = match service {
            Service::Iot | Service::IotData => ("application/json", self.json()),
            Service::Sns => ("text/xml", self.xml(status, request_id)),
        };
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(
            picket_aws::error::ERROR_TYPE_HEADER,
            HeaderValue::from_static(self.code.name_for(service)),
        );
        response
    }

    fn json(&self) -> String {
        let mut body = json!({ "message": self.message });
        if let Some((id, arn)) = &self.resource {
            body["resourceId"] = id.as_str().into();
            body["resourceArn"] = arn.as_str().into();
        }
        body.to_string()
    }

    /// The form of errors of the query protocol.
    fn xml(&self, status: StatusCode, request_id: &str) -> String {
        let who = if status.is_server_error() { "Receiver" } else { "Sender" };
        format!(
            "<ErrorResponse xmlns=\"{SNS_NAMESPACE}\"><Error><Type>{who}</Type><Code>{}</Code><Message>{}</Message></Error>\
             <RequestId>{request_id}</RequestId></ErrorResponse>",
            self.code.name_for(Service::Sns),
            xml_text(&self.message)
        )
    }
}

fn chain(err: &(dyn StdError + 'static)) -> String {
    let mut text = err.to_string();
    let mut next = err.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
