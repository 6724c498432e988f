//! What a request goes through: the guard, its service's router, the operation's route, its service function.

mod sns;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use picket_aws::error::ApiErrorCode;
use picket_aws::service::Service;
use picket_aws::shape::Input;
use tower::ServiceExt as _;

use crate::call::serve;
use crate::error::ApiError;
use crate::guard::{Gate, guard};
use crate::listen::Limits;
use crate::service::{
    audit, authorization, certificate, connectivity, data, dimension, endpoint, group, key, metric, mitigation, policy,
    policy_version, principal, profile, response, setting, tags, task, thing, thing_type, violation,
};
use crate::state::{Api, ApiState, Caller};

/// All operations, behind one verifier of signatures, within [`Limits`]'s defaults.
pub fn router(state: ApiState) -> Router {
    router_within(state, Limits::default())
}

/// All operations, behind one verifier of signatures.
pub fn router_within(state: ApiState, limits: Limits) -> Router {
    let api = Arc::new(state);
    let gate = Arc::new(Gate::new(Arc::clone(&api), limits.body_time_max));
    let services = Services {
        iot: of_areas(AREAS, &api),
        iot_data: of_areas(DATA_AREAS, &api).method_not_allowed_fallback(method_not_allowed),
        sns: sns::router(Router::new()).with_state(Arc::clone(&api)),
    };
    Router::new()
        .fallback(dispatch)
        .layer(from_fn_with_state(gate, guard))
        .layer(from_fn_with_state(api, sns::visit))
        .with_state(services)
}

/// Each service's own operations: what is signed for one does not reach those of another.
#[derive(Clone)]
struct Services {
    iot: Router,
    iot_data: Router,
    sns: Router,
}

/// Hands a request that passed the guard to the service that it is signed for.
async fn dispatch(State(services): State<Services>, request: Request) -> Response {
    let service = request.extensions().get::<Caller>().map(|caller| caller.service);
    let router = match service {
        Some(Service::Iot) => services.iot,
        Some(Service::IotData) => services.iot_data,
        Some(Service::Sns) => services.sns,
        None => return ApiError::internal("request did not come through the guard").into_response(),
    };
    let Ok(response) = router.oneshot(request).await;
    response
}

fn of_areas(areas: &[Area], api: &Api) -> Router {
    areas
        .iter()
        .fold(Router::new(), |router, area| area(router))
        .fallback(unknown)
        .method_not_allowed_fallback(unknown)
        .with_state(Arc::clone(api))
}

/// Adds the routes of some operations.
type Area = fn(Router<Api>) -> Router<Api>;

/// The operations of the control plane, by what they are about.
const AREAS: &[Area] = &[
    things,
    thing_types,
    groups,
    settings,
    certificates,
    policies,
    detect,
    mitigations,
    audits,
    responses,
];

/// The operations of the data plane.
const DATA_AREAS: &[Area] = &[data_plane];

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
        GetThingConnectivityData => connectivity::of_thing,
        DeleteThing => thing::delete,
        ListThings => thing::list,
        ListThingGroupsForThing => thing::groups,
        AttachThingPrincipal => principal::attach,
        DetachThingPrincipal => principal::detach,
        ListThingPrincipals => principal::of_thing,
        ListThingPrincipalsV2 => principal::of_thing_with_kind,
        ListPrincipalThings => principal::things,
        ListPrincipalThingsV2 => principal::things_with_kind,
    )
}

fn thing_types(router: Router<Api>) -> Router<Api> {
    routes!(router,
        CreateThingType => thing_type::create,
        UpdateThingType => thing_type::update,
        DescribeThingType => thing_type::describe,
        DeprecateThingType => thing_type::deprecate,
        DeleteThingType => thing_type::delete,
        ListThingTypes => thing_type::list,
    )
}

fn groups(router: Router<Api>) -> Router<Api> {
    routes!(router,
        CreateThingGroup => group::create,
        UpdateThingGroup => group::update,
        DescribeThingGroup => group::describe,
        DeleteThingGroup => group::delete,
        ListThingGroups => group::list,
        AddThingToThingGroup => group::add_thing,
        RemoveThingFromThingGroup => group::remove_thing,
        UpdateThingGroupsForThing => group::change_groups_of_thing,
        ListThingsInThingGroup => group::things,
        CreateDynamicThingGroup => group::create_dynamic,
        UpdateDynamicThingGroup => group::update_dynamic,
        DeleteDynamicThingGroup => group::delete_dynamic,
    )
}

fn settings(router: Router<Api>) -> Router<Api> {
    routes!(router,
        TagResource => tags::tag,
        UntagResource => tags::untag,
        ListTagsForResource => tags::list,
        DescribeEventConfigurations => setting::events,
        UpdateEventConfigurations => setting::set_events,
        SetV2LoggingOptions => setting::set_v2_logging,
        GetV2LoggingOptions => setting::v2_logging,
        SetLoggingOptions => setting::set_logging,
        GetLoggingOptions => setting::logging,
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
        ListTargetsForPolicy => policy::targets,
        AttachPrincipalPolicy => policy::attach_principal,
        DetachPrincipalPolicy => policy::detach_principal,
        ListPrincipalPolicies => policy::of_principal,
        ListPolicyPrincipals => policy::principals,
        CreatePolicyVersion => policy_version::create,
        GetPolicyVersion => policy_version::show,
        DeletePolicyVersion => policy_version::delete,
        ListPolicyVersions => policy_version::list,
        SetDefaultPolicyVersion => policy_version::set_default,
        GetEffectivePolicies => authorization::effective,
        TestAuthorization => authorization::test,
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
        UpdateCustomMetric => metric::update,
        DescribeCustomMetric => metric::describe,
        DeleteCustomMetric => metric::delete,
        ListCustomMetrics => metric::list,
        ListMetricValues => metric::values,
        GetBehaviorModelTrainingSummaries => metric::training,
        CreateDimension => dimension::create,
        UpdateDimension => dimension::update,
        DescribeDimension => dimension::describe,
        DeleteDimension => dimension::delete,
        ListDimensions => dimension::list,
        ListActiveViolations => violation::list_active,
        ListViolationEvents => violation::list_events,
        PutVerificationStateOnViolation => violation::verify,
    )
}

fn mitigations(router: Router<Api>) -> Router<Api> {
    routes!(router,
        CreateMitigationAction => mitigation::create,
        UpdateMitigationAction => mitigation::update,
        DescribeMitigationAction => mitigation::describe,
        DeleteMitigationAction => mitigation::delete,
        ListMitigationActions => mitigation::list,
        StartDetectMitigationActionsTask => task::start,
        DescribeDetectMitigationActionsTask => task::describe,
        ListDetectMitigationActionsTasks => task::list,
        ListDetectMitigationActionsExecutions => task::executions,
        CancelDetectMitigationActionsTask => task::cancel,
    )
}

fn audits(router: Router<Api>) -> Router<Api> {
    routes!(router,
        DescribeAccountAuditConfiguration => audit::configuration,
        UpdateAccountAuditConfiguration => audit::refuse,
        DeleteAccountAuditConfiguration => audit::refuse,
        CreateScheduledAudit => audit::refuse,
        UpdateScheduledAudit => audit::refuse,
        DescribeScheduledAudit => audit::refuse,
        DeleteScheduledAudit => audit::refuse,
        ListScheduledAudits => audit::refuse,
        StartOnDemandAuditTask => audit::refuse,
        DescribeAuditTask => audit::refuse,
        ListAuditTasks => audit::refuse,
        CancelAuditTask => audit::refuse,
        ListAuditFindings => audit::refuse,
        DescribeAuditFinding => audit::refuse,
        ListRelatedResourcesForAuditFinding => audit::refuse,
        CreateAuditSuppression => audit::refuse,
        UpdateAuditSuppression => audit::refuse,
        DescribeAuditSuppression => audit::refuse,
        DeleteAuditSuppression => audit::refuse,
        ListAuditSuppressions => audit::refuse,
        StartAuditMitigationActionsTask => audit::refuse,
        DescribeAuditMitigationActionsTask => audit::refuse,
        ListAuditMitigationActionsTasks => audit::refuse,
        ListAuditMitigationActionsExecutions => audit::refuse,
        CancelAuditMitigationActionsTask => audit::refuse,
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

/// The same, for the data plane.
macro_rules! data_routes {
    ($router:expr, $($input:ident => $service:path),* $(,)?) => {
        $router$(.route(
            picket_aws::wire::data::$input::OPERATION.path,
            serve::<picket_aws::wire::data::$input, _, _, _>($service),
        ))*
    };
}

fn data_plane(router: Router<Api>) -> Router<Api> {
    data_routes!(router,
        Publish => data::publish,
        GetRetainedMessage => data::retained,
        ListRetainedMessages => data::list_retained,
        GetConnection => data::connection,
        DeleteConnection => data::disconnect,
        ListSubscriptions => data::subscriptions,
    )
}

pub(crate) async fn unknown() -> ApiError {
    ApiError::new(
        ApiErrorCode::UnknownOperationException,
        "there is no operation with this method and path",
    )
}

/// What the data plane says of a path that is called otherwise.
async fn method_not_allowed() -> ApiError {
    ApiError::new(
        ApiErrorCode::MethodNotAllowedException,
        "there are operations with this path, but none with this method",
    )
}
