//! The query protocol of SNS: every operation is a form that is posted to `/`, and answers are XML.
//!
//! A request that comes to [`router`] has passed the guard: its form is in the extensions as `Bytes`, beside its [`Caller`]
//! and its [`RequestId`]. An [`ApiError`] becomes XML with SNS's own codes behind it, in the guard.
//!
//! Three things need no key, as on AWS: to confirm a subscription by the token that its endpoint was sent, to end one by its
//! ARN, which nobody can guess, and to fetch the certificate that messages are signed by. [`visit`] serves those.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http::{HeaderValue, Method, header};
use picket_aws::error::ApiErrorCode;
use picket_aws::service::Service;
use picket_aws::shape::{Form, Input, Operation, RawInput};
use picket_aws::wire::sns;
use picket_aws::xml::{Answer, document};
use picket_model::sns::certificate_of_path;

use crate::error::{ApiError, in_form_of};
use crate::guard::RequestId;
use crate::router::unknown;
use crate::service::{subscription, topic};
use crate::state::{Api, Caller};

/// Adds the one route, behind which the operations are told apart by the form's `Action`.
pub(crate) fn router(router: Router<Api>) -> Router<Api> {
    router
        .route("/", post(signed))
        .fallback(unknown)
        .method_not_allowed_fallback(unknown)
}

/// Serves what needs no key; everything else goes on to the guard.
pub(crate) async fn visit(State(api): State<Api>, request: Request, next: Next) -> Response {
    if request.method() != Method::GET || request.headers().contains_key(header::AUTHORIZATION) {
        return next.run(request).await;
    }
    let uri = request.uri();
    if let Some(id) = certificate_of_path(uri.path()) {
        return match api.message_certificate.pem(id).await {
            Some(pem) => ([(header::CONTENT_TYPE, "application/x-pem-file")], pem).into_response(),
            None => unknown().await.into_response(),
        };
    }
    let query = uri.query().unwrap_or_default();
    let is_visit = |form: &Form| matches!(form.text("Action"), Some("ConfirmSubscription" | "Unsubscribe"));
    let form = Form::parse(query.as_bytes()).ok();
    match form.filter(|form| uri.path() == "/" && is_visit(form)) {
        Some(form) => {
            let id = RequestId::new();
            let answer = unsigned(api, &form, query.as_bytes(), &id).await;
            in_form_of(Service::Sns, &id.0, response(answer))
        }
        None => next.run(request).await,
    }
}

async fn unsigned(api: Api, form: &Form, query: &[u8], id: &RequestId) -> Result<String, ApiError> {
    check_version(form)?;
    let call = Call {
        caller: Caller {
            access_key_id: String::new(),
            region: api.region.clone(),
            service: Service::Sns,
        },
        api,
        form: query,
        id,
    };
    if form.text("Action") == Some("Unsubscribe") {
        return call.run(subscription::delete_unsigned).await;
    }
    let confirm = |api, caller, input: sns::ConfirmSubscription| {
        // Who has no key cannot demand one of others.
        let authenticate_on_unsubscribe = None;
        subscription::confirm(
            api,
            caller,
            sns::ConfirmSubscription {
                authenticate_on_unsubscribe,
                ..input
            },
        )
    };
    call.run(confirm).await
}

async fn signed(State(api): State<Api>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let extensions = &parts.extensions;
    let (Some(caller), Some(form), Some(id)) = (
        extensions.get::<Caller>(),
        extensions.get::<Bytes>(),
        extensions.get::<RequestId>(),
    ) else {
        return ApiError::internal("request did not come through the guard").into_response();
    };
    let call = Call {
        api,
        caller: caller.clone(),
        form,
        id,
    };
    response(call.answer().await)
}

fn response(answer: Result<String, ApiError>) -> Response {
    match answer {
        Ok(xml) => ([(header::CONTENT_TYPE, HeaderValue::from_static("text/xml"))], xml).into_response(),
        Err(err) => err.into_response(),
    }
}

/// A form on its way to a service function, and back.
struct Call<'a> {
    api: Api,
    caller: Caller,
    form: &'a [u8],
    id: &'a RequestId,
}

/// `actions! { Input => service function }`: the form's `Action` is the input's name.
macro_rules! actions {
    ($($input:ident => $service:path),* $(,)?) => {
        /// The operations, as their inputs declare them.
        pub(crate) fn operations() -> Vec<Operation> {
            vec![$(sns::$input::OPERATION),*]
        }

        impl Call<'_> {
            async fn answer(self) -> Result<String, ApiError> {
                let form = Form::parse(self.form)?;
                check_version(&form)?;
                match form.text("Action") {
                    $(Some(stringify!($input)) => self.run::<sns::$input, _, _, _>($service).await,)*
                    other => {
                        let expected = [$(stringify!($input)),*].join(", ");
                        let found = other.unwrap_or_default();
                        let reason = format!("Action is {found:?}, expected one of [{expected}]");
                        Err(ApiError::new(ApiErrorCode::UnknownOperationException, reason))
                    }
                }
            }
        }
    };
}

actions! {
    CreateTopic => topic::create,
    DeleteTopic => topic::delete,
    ListTopics => topic::list,
    GetTopicAttributes => topic::show,
    SetTopicAttributes => topic::describe,
    Publish => topic::publish,
    Subscribe => subscription::create,
    ConfirmSubscription => subscription::confirm,
    ListSubscriptions => subscription::list,
    ListSubscriptionsByTopic => subscription::list_of_topic,
    GetSubscriptionAttributes => subscription::show,
    SetSubscriptionAttributes => subscription::describe,
    Unsubscribe => subscription::delete,
}

impl Call<'_> {
    async fn run<I, O, F, Fut>(self, service: F) -> Result<String, ApiError>
    where
        I: Input,
        O: Answer + Send + 'static,
        F: FnOnce(Api, Caller, I) -> Fut,
        Fut: Future<Output = Result<O, ApiError>> + Send + 'static,
    {
        let raw = RawInput {
            path: "/",
            query: "",
            headers: &[],
            body: self.form,
        };
        let input = I::read(&raw)?;
        // A task of its own: what is begun is finished although the client hangs up.
        let output = tokio::spawn(service(self.api, self.caller, input))
            .await
            .map_err(ApiError::internal)??;
        Ok(document(I::OPERATION.name, &output, &self.id.0))
    }
}

/// A form that says no version is of this one.
fn check_version(form: &Form) -> Result<(), ApiError> {
    match form.text("Version") {
        None | Some(sns::VERSION) => Ok(()),
        Some(other) => Err(ApiError::invalid(format!(
            "Version is {other:?}, expected {}",
            sns::VERSION
        ))),
    }
}
