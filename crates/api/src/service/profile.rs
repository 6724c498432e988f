//! Security profiles and what they are attached to.

use picket_aws::arn::{Arn, Resource};
use picket_aws::wire;
use picket_aws::wire::picket;
use picket_model::behavior::wire as behavior_wire;
use picket_model::name::ProfileName;
use picket_model::profile::{Behaviors, Target};
use picket_store::profiles::{NewProfile, Profile, ProfileFilter, ProfileUpdate};
use serde_json::{Map, Value};

use super::place::ProfilePlace;
use super::rules::{
    ALERT_TARGETS, EXPORT_CONFIG, Known, METRICS_TO_RETAIN, METRICS_TO_RETAIN_V2, check_runs, refusal, warnings,
};
use super::tags;
use crate::error::ApiError;
use crate::page::Page;
use crate::state::{Api, ApiState, Caller};

/// Creates a profile, attached to nothing.
///
/// # Errors
/// `InvalidRequestException` for a malformed behavior; `ResourceAlreadyExistsException`
pub async fn create(
    api: Api,
    caller: Caller,
    input: wire::CreateSecurityProfile,
) -> Result<wire::CreatedSecurityProfile, ApiError> {
    check_runs(input.behaviors.as_deref().unwrap_or_default())?;
    let known = Known::read(&api).await?;
    let behaviors = known
        .behaviors(input.behaviors.unwrap_or_default())
        .map_err(|broken| refusal(&broken))?;
    let mut extras = Map::new();
    put(&mut extras, ALERT_TARGETS, input.alert_targets);
    put(&mut extras, METRICS_TO_RETAIN, input.additional_metrics_to_retain);
    put(&mut extras, METRICS_TO_RETAIN_V2, input.additional_metrics_to_retain_v2);
    put(&mut extras, EXPORT_CONFIG, input.metrics_export_config);
    known.check_extras(behaviors.as_slice(), &extras)?;
    let warnings = warnings(&api, behaviors.as_slice(), None).await?;
    let arn = api.arn(&caller, Resource::Profile(input.security_profile_name.clone()));
    let new = NewProfile {
        name: input.security_profile_name,
        description: input.security_profile_description,
        behaviors,
        extras: Value::Object(extras).to_string(),
    };
    let tags = tags::at_creation(input.tags)?;
    let created = api.db.create_profile(&new, &tags, api.now()).await;
    let profile = created.map_err(|err| ApiError::from(err).about(&new.name, arn.clone()))?;
    Ok(wire::CreatedSecurityProfile {
        security_profile_name: profile.name.to_string(),
        security_profile_arn: arn,
        picket_warnings: warnings,
    })
}

/// Changes a profile: what is given replaces, what is not given stays.
///
/// # Errors
/// `ResourceNotFoundException`; `VersionConflictException` when the caller has seen another version, or somebody else
/// changes the profile meanwhile; `InvalidRequestException`
pub async fn update(
    api: Api,
    caller: Caller,
    input: wire::UpdateSecurityProfile,
) -> Result<wire::SecurityProfileDescription, ApiError> {
    check_runs(input.behaviors.as_deref().unwrap_or_default())?;
    let found = existing(&api, &input.security_profile_name).await?;
    let known = Known::read(&api).await?;
    let deletes = |flag: Option<bool>| flag.unwrap_or_default();
    let written = replaced(
        "behaviors",
        input.behaviors,
        "deleteBehaviors",
        deletes(input.delete_behaviors),
    )?;
    let behaviors = match written {
        None => None,
        Some(written) => {
            let written = written.unwrap_or_default();
            Some(known.behaviors(written).map_err(|broken| refusal(&broken))?)
        }
    };
    let mut extras = extras_of(&found)?;
    let removes_metrics = deletes(input.delete_additional_metrics_to_retain);
    let retain_flag = "deleteAdditionalMetricsToRetain";
    for (member, new, flag, is_deleted) in [
        (
            ALERT_TARGETS,
            input.alert_targets.map(Value::Object),
            "deleteAlertTargets",
            deletes(input.delete_alert_targets),
        ),
        (
            METRICS_TO_RETAIN,
            input.additional_metrics_to_retain.map(Value::from),
            retain_flag,
            removes_metrics,
        ),
        (
            METRICS_TO_RETAIN_V2,
            input.additional_metrics_to_retain_v2.map(Value::from),
            retain_flag,
            removes_metrics,
        ),
        (
            EXPORT_CONFIG,
            input.metrics_export_config.map(Value::Object),
            "deleteMetricsExportConfig",
            deletes(input.delete_metrics_export_config),
        ),
    ] {
        if let Some(change) = replaced(member, new, flag, is_deleted)? {
            extras.remove(member);
            put(&mut extras, member, change);
        }
    }
    let exporting = behaviors
        .as_ref()
        .map_or(found.behaviors.as_slice(), Behaviors::as_slice);
    known.check_extras(exporting, &extras)?;
    let update = ProfileUpdate {
        description: input.security_profile_description,
        behaviors,
        extras: Some(Value::Object(extras).to_string()),
    };
    // The extras were read before: whoever changes the profile in between must not be undone.
    let expected = input.expected_version.unwrap_or(found.version);
    let profile = api
        .db
        .update_profile(&found.name, &update, Some(expected), api.now())
        .await?;
    let warnings = warnings(&api, &profile.behaviors, Some(&profile.name)).await?;
    described(&api, &caller, profile, warnings)
}

/// Shows a profile.
///
/// # Errors
/// `ResourceNotFoundException`
pub async fn describe(
    api: Api,
    caller: Caller,
    input: wire::DescribeSecurityProfile,
) -> Result<wire::SecurityProfileDescription, ApiError> {
    let profile = existing(&api, &input.security_profile_name).await?;
    let warnings = warnings(&api, &profile.behaviors, Some(&profile.name)).await?;
    described(&api, &caller, profile, warnings)
}

/// Removes a profile with its attachments; one that is not there is removed already.
///
/// # Errors
/// `VersionConflictException` when the caller has seen another version.
pub async fn delete(api: Api, _: Caller, input: wire::DeleteSecurityProfile) -> Result<wire::Done, ApiError> {
    api.db
        .delete_profile(&input.security_profile_name, input.expected_version)
        .await?;
    Ok(wire::Done {})
}

/// Lists profiles by name.
///
/// # Errors
/// `InvalidRequestException` when both filters are given.
pub async fn list(
    api: Api,
    caller: Caller,
    input: wire::ListSecurityProfiles,
) -> Result<wire::SecurityProfiles, ApiError> {
    let page: Page<ProfileName> = Page::of("ListSecurityProfiles", input.next_token.as_deref(), input.max_results)?;
    if input.dimension_name.is_some() && input.metric_name.is_some() {
        return Err(ApiError::invalid(
            "dimensionName and metricName are both given, expected one of them at most",
        ));
    }
    let filter = ProfileFilter {
        metric: input.metric_name,
        dimension: input.dimension_name,
    };
    let read = api.db.profiles(&filter, page.after.as_ref(), page.n_read()).await?;
    let (names, next_token) = page.cut(read, Clone::clone);
    Ok(wire::SecurityProfiles {
        security_profile_identifiers: names.into_iter().map(|name| identifier(&api, &caller, name)).collect(),
        next_token,
    })
}

/// Lists the profiles of a target.
///
/// # Errors
/// `ResourceNotFoundException` for a group that does not exist.
pub async fn list_of_target(
    api: Api,
    caller: Caller,
    input: wire::ListSecurityProfilesForTarget,
) -> Result<wire::SecurityProfileTargetMappings, ApiError> {
    let list = "ListSecurityProfilesForTarget";
    let page: Page<ProfilePlace> = Page::of(list, input.next_token.as_deref(), input.max_results)?;
    let target = target_of(&api, input.security_profile_target_arn)?;
    if let Target::Group(name) = &target
        && api.db.group(name).await?.is_none()
    {
        return Err(ApiError::not_found("thing group", name));
    }
    let after = page.after.as_ref().map(|place| &place.0);
    let is_recursive = input.recursive.unwrap_or_default();
    let read = api
        .db
        .profiles_of_target(&target, is_recursive, after, page.n_read())
        .await?;
    let (found, next_token) = page.cut(read, |place| ProfilePlace(place.clone()));
    let mapping = |(name, target): (ProfileName, Target)| wire::SecurityProfileTargetMapping {
        security_profile_identifier: identifier(&api, &caller, name),
        target: wire::SecurityProfileTarget {
            arn: api.arn(&caller, target),
        },
    };
    Ok(wire::SecurityProfileTargetMappings {
        security_profile_target_mappings: found.into_iter().map(mapping).collect(),
        next_token,
    })
}

/// Lists the targets of a profile.
///
/// # Errors
/// `ResourceNotFoundException`
pub async fn targets(
    api: Api,
    caller: Caller,
    input: wire::ListTargetsForSecurityProfile,
) -> Result<wire::SecurityProfileTargets, ApiError> {
    let list = "ListTargetsForSecurityProfile";
    let page: Page<Target> = Page::of(list, input.next_token.as_deref(), input.max_results)?;
    let name = &input.security_profile_name;
    let read = api
        .db
        .targets_of_profile(name, page.after.as_ref(), page.n_read())
        .await?;
    let (targets, next_token) = page.cut(read, Clone::clone);
    let target = |target: Target| wire::SecurityProfileTarget {
        arn: api.arn(&caller, target),
    };
    Ok(wire::SecurityProfileTargets {
        security_profile_targets: targets.into_iter().map(target).collect(),
        next_token,
    })
}

/// Attaches a profile to a target; once more changes nothing.
///
/// # Errors
/// `ResourceNotFoundException` for the profile or the group; `LimitExceededException` when the target has five.
pub async fn attach(api: Api, _: Caller, input: wire::AttachSecurityProfile) -> Result<wire::Done, ApiError> {
    let target = target_of(&api, input.security_profile_target_arn)?;
    api.db
        .attach_profile(&input.security_profile_name, &target, api.now())
        .await?;
    Ok(wire::Done {})
}

/// Detaches a profile from a target; one that is not attached is detached already.
///
/// # Errors
/// `ResourceNotFoundException` for the profile.
pub async fn detach(api: Api, _: Caller, input: wire::DetachSecurityProfile) -> Result<wire::Done, ApiError> {
    let target = target_of(&api, input.security_profile_target_arn)?;
    api.db.detach_profile(&input.security_profile_name, &target).await?;
    Ok(wire::Done {})
}

/// Says what is wrong with behaviors, without storing them.
///
/// # Errors
/// When the custom metrics cannot be read.
pub async fn check_behaviors(
    api: Api,
    _: Caller,
    input: wire::ValidateSecurityProfileBehaviors,
) -> Result<wire::Validation, ApiError> {
    Ok(match Known::read(&api).await?.behaviors(input.behaviors) {
        Ok(behaviors) => wire::Validation {
            valid: true,
            validation_errors: Vec::new(),
            picket_warnings: warnings(&api, behaviors.as_slice(), None).await?,
        },
        Err(broken) => wire::Validation {
            valid: false,
            validation_errors: broken
                .into_iter()
                .map(|error_message| wire::ValidationError { error_message })
                .collect(),
            picket_warnings: Vec::new(),
        },
    })
}

/// Says what is accepted about behaviors, and may still not be what was meant.
///
/// # Errors
/// `InvalidRequestException` for a malformed behavior.
pub async fn lint_behaviors(api: Api, _: Caller, input: picket::LintBehaviors) -> Result<picket::Lint, ApiError> {
    let known = Known::read(&api).await?;
    let behaviors = known.behaviors(input.behaviors).map_err(|broken| refusal(&broken))?;
    Ok(picket::Lint {
        warnings: warnings(&api, behaviors.as_slice(), None).await?,
    })
}

/// `None`: leave it. `Some(None)`: remove it. `Some(Some(new))`: replace it.
fn replaced<T>(member: &str, new: Option<T>, flag: &str, is_deleted: bool) -> Result<Option<Option<T>>, ApiError> {
    match (new, is_deleted) {
        (Some(_), true) => Err(ApiError::invalid(format!(
            "{member} and {flag} are both given, expected one of them"
        ))),
        (Some(new), false) => Ok(Some(Some(new))),
        (None, true) => Ok(Some(None)),
        (None, false) => Ok(None),
    }
}

fn put(extras: &mut Map<String, Value>, member: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        extras.insert(member.to_owned(), value.into());
    }
}

fn extras_of(profile: &Profile) -> Result<Map<String, Value>, ApiError> {
    serde_json::from_str(&profile.extras).map_err(ApiError::internal)
}

fn described(
    api: &ApiState,
    caller: &Caller,
    profile: Profile,
    picket_warnings: Vec<String>,
) -> Result<wire::SecurityProfileDescription, ApiError> {
    Ok(wire::SecurityProfileDescription {
        extras: extras_of(&profile)?,
        security_profile_name: profile.name.to_string(),
        security_profile_arn: api.arn(caller, Resource::Profile(profile.name)),
        security_profile_description: profile.description,
        behaviors: profile.behaviors.iter().map(behavior_wire::Behavior::from).collect(),
        version: profile.version,
        creation_date: profile.created_at.into(),
        last_modified_date: profile.modified_at.into(),
        picket_warnings,
    })
}

fn identifier(api: &ApiState, caller: &Caller, name: ProfileName) -> wire::SecurityProfileIdentifier {
    wire::SecurityProfileIdentifier {
        name: name.to_string(),
        arn: api.arn(caller, Resource::Profile(name)),
    }
}

fn target_of(api: &ApiState, target: Arn) -> Result<Target, ApiError> {
    let resource = api.own(target)?;
    let text = resource.to_string();
    resource.into_target().ok_or_else(|| {
        let expected = "thinggroup/<name>, all/things, all/registered-things or all/unregistered-things";
        ApiError::invalid(format!("securityProfileTargetArn is {text}, expected {expected}"))
    })
}

async fn existing(api: &ApiState, name: &ProfileName) -> Result<Profile, ApiError> {
    api.db
        .profile(name)
        .await?
        .ok_or_else(|| ApiError::not_found("security profile", name))
}
