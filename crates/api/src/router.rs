//! What a request goes through: the guard, the operation's route, its service function.

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use picket_aws::error::ApiErrorCode;
use picket_aws::shape::Input;

use crate::call::serve;
use crate::error::ApiError;
use crate::guard::{Gate, guard};
use crate::listen::Limits;
use crate::service::{certificate, endpoint, group, key, metric, policy, profile, response, thing, violation};
use crate::state::{Api, ApiState};

/// All operations, behind one verifier of signatures, within [`Limits`]'s defaults.
pub fn router(state: ApiState) -> Router {
    router_within(state, Limits::default())
}

/// All operations, behind one verifier of signatures.
pub fn router_within(state: ApiState, limits: Limits) -> Router {
    let api = Arc::new(state);
    let gate = Arc::new(Gate::new(Arc::clone(&api), limits.body_time_max));
    AREAS
        .iter()
        .fold(Router::new(), |router, area| area(router))
        .fallback(unknown)
        .method_not_allowed_fallback(unknown)
        .layer(from_fn_with_state(gate, guard))
        .with_state(api)
}

/// The operations, by what they are about.
const AREAS: &[fn(Router<Api>) -> Router<Api>] = &[things, groups, certificates, policies, detect, responses];

/// `route!(router, service function => input)`: the path is the one that the input declares.
macro_rules! routes {
    ($router:expr, $($input:ident => $service:path),* $(,)?) => {
        $router$(.route(picket_aws::wire::$input::OPERATION.path, serve::<picket_aws::wire::$input, _, _, _>($service)))*
    };
}

/// The same, for what AWS lacks.
macro_rules! own_routes {
    ($router:expr, $($input:ident => $service:path),* $(,)?) => {
        $router$(.route(
            picket_aws::wire::picket::$input::OPERATION.path,
            serve::<picket_aws::wire::picket::$input, _, _, _>($service),
        ))*
    };
}

fn things(router: Router<Api>) -> Router<Api> {
    routes!(router,
        CreateThing => thing::create,
        UpdateThing => thing::update,
        DescribeThing => thing::describe,
        DeleteThing => thing::delete,
        ListThings => thing::list,
        ListThingGroupsForThing => thing::groups,
        AttachThingPrincipal => thing::attach_principal,
        DetachThingPrincipal => thing::detach_principal,
        ListThingPrincipals => thing::principals,
        ListPrincipalThings => thing::things_of_principal,
    )
}

fn groups(router: Router<Api>) -> Router<Api> {
    routes!(router,
        CreateThingGroup => group::create,
        DescribeThingGroup => group::describe,
        DeleteThingGroup => group::delete,
        ListThingGroups => group::list,
        AddThingToThingGroup => group::add_thing,
        RemoveThingFromThingGroup => group::remove_thing,
        ListThingsInThingGroup => group::things,
    )
}

fn certificates(router: Router<Api>) -> Router<Api> {
    routes!(router,
        CreateKeysAndCertificate => certificate::create_keys,
        RegisterCertificateWithoutCA => certificate::register,
        UpdateCertificate => certificate::update,
        DescribeCertificate => certificate::describe,
        DeleteCertificate => certificate::delete,
        ListCertificates => certificate::list,
        DescribeEndpoint => endpoint::describe,
    )
}

fn policies(router: Router<Api>) -> Router<Api> {
    routes!(router,
        CreatePolicy => policy::create,
        GetPolicy => policy::show,
        DeletePolicy => policy::delete,
        ListPolicies => policy::list,
        AttachPolicy => policy::attach,
        DetachPolicy => policy::detach,
        ListAttachedPolicies => policy::attached,
    )
}

fn detect(router: Router<Api>) -> Router<Api> {
    routes!(router,
        CreateSecurityProfile => profile::create,
        UpdateSecurityProfile => profile::update,
        DescribeSecurityProfile => profile::describe,
        DeleteSecurityProfile => profile::delete,
        ListSecurityProfiles => profile::list,
        ListSecurityProfilesForTarget => profile::list_of_target,
        ListTargetsForSecurityProfile => profile::targets,
        AttachSecurityProfile => profile::attach,
        DetachSecurityProfile => profile::detach,
        ValidateSecurityProfileBehaviors => profile::check_behaviors,
        CreateCustomMetric => metric::create,
        DescribeCustomMetric => metric::describe,
        DeleteCustomMetric => metric::delete,
        ListCustomMetrics => metric::list,
        ListActiveViolations => violation::list_active,
        ListViolationEvents => violation::list_events,
        PutVerificationStateOnViolation => violation::verify,
    )
}

fn responses(router: Router<Api>) -> Router<Api> {
    own_routes!(router,
        ShowEndpoint => endpoint::show,
        ListResponses => response::list,
        CreateResponse => response::create,
        DescribeResponse => response::describe,
        DeleteResponse => response::delete,
        ListDecisions => response::decisions,
        UndoDecision => response::undo,
        QuarantineThing => response::quarantine,
        ReleaseThing => response::release,
        ExplainViolation => violation::explain,
        ListAccessKeys => key::list,
        CreateAccessKey => key::create,
        DisableAccessKey => key::disable,
        LintBehaviors => profile::lint_behaviors,
    )
}

async fn unknown() -> ApiError {
    ApiError::new(
        ApiErrorCode::UnknownOperationException,
        "there is no operation with this method and path",
    )
}
