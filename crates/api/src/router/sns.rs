//! The query protocol of SNS: every operation is a form that is posted to `/`, and answers are XML.
//!
//! A request that comes here has passed the guard: its form is in the extensions as `Bytes`, beside its [`Caller`] and its
//! `RequestId`. An `ApiError` becomes XML with SNS's own codes behind it, in the guard.
//!
//! [`Caller`]: crate::state::Caller

use axum::Router;

use crate::router::unknown;
use crate::state::Api;

/// Adds the one route, behind which the operations are told apart by the form's `Action`.
pub(crate) fn router(router: Router<Api>) -> Router<Api> {
    router.fallback(unknown).method_not_allowed_fallback(unknown)
}
