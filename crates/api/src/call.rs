//! From a request that passed the guard to a service function, and back.

use axum::body::Bytes;
use axum::extract::Request;
use axum::response::IntoResponse;
use axum::routing::{MethodFilter, MethodRouter, on};
use http::{HeaderValue, header};
use picket_aws::shape::{Input, RawInput};
use serde::Serialize;

use crate::error::ApiError;
use crate::guard::headers;
use crate::state::{Api, Caller};

/// The route of an operation: reads its input, calls the service function, writes its answer.
pub(crate) fn serve<I, O, F, Fut>(service: F) -> MethodRouter<Api>
where
    I: Input + Send + 'static,
    O: Serialize + Send + 'static,
    F: Fn(Api, Caller, I) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<O, ApiError>> + Send + 'static,
{
    let handler = move |axum::extract::State(api): axum::extract::State<Api>, request: Request| {
        let service = service.clone();
        async move {
            match answer(&service, api, request).await {
                Ok(body) => (
                    [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))],
                    body,
                )
                    .into_response(),
                Err(err) => err.into_response(),
            }
        }
    };
    on(filter(I::OPERATION.method), handler)
}

async fn answer<I, O, F, Fut>(service: &F, api: Api, request: Request) -> Result<Vec<u8>, ApiError>
where
    I: Input,
    O: Serialize + Send + 'static,
    F: Fn(Api, Caller, I) -> Fut,
    Fut: Future<Output = Result<O, ApiError>> + Send + 'static,
{
    let (parts, _) = request.into_parts();
    let (Some(caller), Some(body)) = (parts.extensions.get::<Caller>(), parts.extensions.get::<Bytes>()) else {
        return Err(ApiError::internal("request did not come through the guard"));
    };
    let raw = RawInput {
        path: parts.uri.path(),
        query: parts.uri.query().unwrap_or_default(),
        headers: &headers(&parts),
        body,
    };
    let input = I::read(&raw)?;
    // A task of its own: what is begun is finished, told to live sessions too, although the client hangs up.
    let output = tokio::spawn(service(api, caller.clone(), input))
        .await
        .map_err(ApiError::internal)??;
    serde_json::to_vec(&output).map_err(ApiError::internal)
}

fn filter(method: &str) -> MethodFilter {
    match method {
        "POST" => MethodFilter::POST,
        "PUT" => MethodFilter::PUT,
        "PATCH" => MethodFilter::PATCH,
        "DELETE" => MethodFilter::DELETE,
        _ => MethodFilter::GET,
    }
}
