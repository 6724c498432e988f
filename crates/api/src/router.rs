//! What a request goes through: the guard, its service's router, the operation's route, its service function.

mod sns;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use picket_aws::error::ApiErrorCode;
use picket_aws::service::Service;
use picket_aws::shape::{Input, Operation};
use tower::ServiceExt as _;

use crate::call::serve;
use crate::error::ApiError;
use crate::guard::{Gate, guard};
use crate::listen::Limits;
use crate::service::{
    audit, authorization, ca_certificate, certificate, connectivity, data, dimension, endpoint, group, key, metric,
    mitigation, policy, policy_version, principal, profile, response, setting, tags, task, thing, thing_type,
    violation,
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
    all(areas)
        .router
        .fallback(unknown)
        .method_not_allowed_fallback(unknown)
        .with_state(Arc::clone(api))
}

fn all(areas: &[Area]) -> Routes {
    areas.iter().fold(Routes::default(), |routes, area| area(routes))
}

/// The operations that a service answers, as their inputs declare them.
pub(crate) fn operations(service: Service) -> Vec<Operation> {
    match service {
        Service::Iot => all(AREAS).operations,
        Service::IotData => all(DATA_AREAS).operations,
        Service::Sns => sns::operations(),
    }
}

/// Routes, with the operations that they lead to.
#[derive(Default)]
struct Routes {
    router: Router<Api>,
    operations: Vec<Operation>,
}

impl Routes {
    fn add(mut self, operation: Operation, route: MethodRouter<Api>) -> Self {
        self.router = self.router.route(operation.path, route);
        self.operations.push(operation);
        self
    }
}

/// Adds the routes of some operations.
type Area = fn(Routes) -> Routes;

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

/// `routes!(routes, input => service function)`: method and path are those that the input declares.
macro_rules! routes {
    ($routes:expr, $($input:ident => $service:path),* $(,)?) => {
        $routes$(.add(picket_aws::wire::$input::OPERATION, serve::<picket_aws::wire::$input, _, _, _>($service)))*
    };
}

/// The same, for what AWS lacks.
macro_rules! own_routes {
    ($routes:expr, $($input:ident => $service:path),* $(,)?) => {
        $routes$(.add(
            picket_aws::wire::picket::$input::OPERATION,
            serve::<picket_aws::wire::picket::$input, _, _, _>($service),
        ))*
    };
}

fn things(routes: Routes) -> Routes {
    routes!(routes,
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

fn thing_types(routes: Routes) -> Routes {
    routes!(routes,
        CreateThingType => thing_type::create,
        UpdateThingType => thing_type::update,
        DescribeThingType => thing_type::describe,
        DeprecateThingType => thing_type::deprecate,
        DeleteThingType => thing_type::delete,
        ListThingTypes => thing_type::list,
    )
}

fn groups(routes: Routes) -> Routes {
    routes!(routes,
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

fn settings(routes: Routes) -> Routes {
    routes!(routes,
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

fn certificates(routes: Routes) -> Routes {
    routes!(routes,
        CreateKeysAndCertificate => certificate::create_keys,
        CreateCertificateFromCsr => certificate::create_from_request,
        RegisterCertificate => certificate::register_with_ca,
        RegisterCertificateWithoutCA => certificate::register,
        UpdateCertificate => certificate::update,
        DescribeCertificate => certificate::describe,
        DeleteCertificate => certificate::delete,
        ListCertificates => certificate::list,
        ListCertificatesByCA => certificate::list_by_ca,
        RegisterCACertificate => ca_certificate::register,
        UpdateCACertificate => ca_certificate::update,
        DescribeCACertificate => ca_certificate::describe,
        DeleteCACertificate => ca_certificate::delete,
        ListCACertificates => ca_certificate::list,
        GetRegistrationCode => ca_certificate::registration_code,
        DeleteRegistrationCode => ca_certificate::delete_registration_code,
        DescribeEndpoint => endpoint::describe,
    )
}

fn policies(routes: Routes) -> Routes {
    routes!(routes,
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

fn detect(routes: Routes) -> Routes {
    routes!(routes,
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

fn mitigations(routes: Routes) -> Routes {
    routes!(routes,
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

fn audits(routes: Routes) -> Routes {
    routes!(routes,
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

fn responses(routes: Routes) -> Routes {
    own_routes!(routes,
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
    ($routes:expr, $($input:ident => $service:path),* $(,)?) => {
        $routes$(.add(
            picket_aws::wire::data::$input::OPERATION,
            serve::<picket_aws::wire::data::$input, _, _, _>($service),
        ))*
    };
}

fn data_plane(routes: Routes) -> Routes {
    data_routes!(routes,
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
