//! Settings of the account: which changes are announced, and what is logged.
//!
//! They are stored and answered as they were given, and nothing else: Picket publishes no `$aws/events/...` messages, and
//! what its server logs is a matter of the one who starts it, not of the account.

use std::collections::BTreeMap;

use picket_aws::shape::Typed as _;
use picket_aws::wire;
use picket_store::registry::Setting;

use crate::error::ApiError;
use crate::state::{Api, Caller};

/// Shows which changes are announced: all types there are.
///
/// # Errors
/// Never.
pub async fn events(
    api: Api,
    _: Caller,
    _: wire::DescribeEventConfigurations,
) -> Result<wire::EventConfigurations, ApiError> {
    let settings = api.db.event_settings().await?;
    let described = |event_type: &&str| {
        let is_enabled = settings.get(*event_type).is_some_and(|setting| setting.is_enabled);
        (
            (*event_type).to_owned(),
            wire::DescribedEventConfiguration { is_enabled },
        )
    };
    Ok(wire::EventConfigurations {
        event_configurations: wire::EVENT_TYPES.iter().map(described).collect(),
        creation_date: settings
            .values()
            .map(|setting| setting.created_at)
            .min()
            .map(Into::into),
        last_modified_date: settings
            .values()
            .map(|setting| setting.modified_at)
            .max()
            .map(Into::into),
    })
}

/// Says which changes are announced; a type that is not named stays as it is, and so does one without `Enabled`.
///
/// # Errors
/// Never.
pub async fn set_events(api: Api, _: Caller, input: wire::UpdateEventConfigurations) -> Result<wire::Done, ApiError> {
    let mut events = BTreeMap::new();
    for (event_type, value) in input.event_configurations.unwrap_or_default() {
        let configuration = wire::EventConfiguration::from_value(value).map_err(ApiError::invalid)?;
        events.extend(configuration.is_enabled.map(|is_enabled| (event_type, is_enabled)));
    }
    api.db.set_events(&events, api.now()).await?;
    Ok(wire::Done {})
}

/// Says what is logged; what is not named stays as it is.
///
/// # Errors
/// Never.
pub async fn set_v2_logging(api: Api, _: Caller, input: wire::SetV2LoggingOptions) -> Result<wire::Done, ApiError> {
    let change = |old: Option<&str>| {
        let old: Option<wire::V2LoggingOptions> =
            old.map(serde_json::from_str).transpose().map_err(ApiError::internal)?;
        let old = old.unwrap_or_default();
        let new = wire::V2LoggingOptions {
            role_arn: input.role_arn.or(old.role_arn),
            default_log_level: input.default_log_level.or(old.default_log_level),
            disable_all_logs: input.disable_all_logs.unwrap_or(old.disable_all_logs),
            event_configurations: input.event_configurations.or(old.event_configurations),
        };
        serde_json::to_string(&new).map_err(ApiError::internal)
    };
    api.db.change_setting(Setting::V2Logging, change).await?;
    Ok(wire::Done {})
}

/// Shows what is logged; of which events, only to who asks for all.
///
/// # Errors
/// `NotConfiguredException` when nobody ever said.
pub async fn v2_logging(
    api: Api,
    _: Caller,
    input: wire::GetV2LoggingOptions,
) -> Result<wire::V2LoggingOptions, ApiError> {
    let Some(body) = api.db.setting(Setting::V2Logging).await? else {
        return Err(ApiError::not_configured("logging options were never set"));
    };
    let mut options: wire::V2LoggingOptions = serde_json::from_str(&body).map_err(ApiError::internal)?;
    if !input.verbose.unwrap_or_default() {
        options.event_configurations = None;
    }
    Ok(options)
}

/// Says what is logged, in the first version of it.
///
/// # Errors
/// Never.
pub async fn set_logging(api: Api, _: Caller, input: wire::SetLoggingOptions) -> Result<wire::Done, ApiError> {
    let change = |old: Option<&str>| {
        let old: Option<wire::LoggingOptions> =
            old.map(serde_json::from_str).transpose().map_err(ApiError::internal)?;
        let new = wire::LoggingOptions {
            role_arn: Some(input.role_arn),
            log_level: input.log_level.or(old.unwrap_or_default().log_level),
        };
        serde_json::to_string(&new).map_err(ApiError::internal)
    };
    api.db.change_setting(Setting::Logging, change).await?;
    Ok(wire::Done {})
}

/// Shows what is logged, in the first version of it; `DISABLED` when nobody ever said.
///
/// # Errors
/// Never.
pub async fn logging(api: Api, _: Caller, _: wire::GetLoggingOptions) -> Result<wire::LoggingOptions, ApiError> {
    let options = match api.db.setting(Setting::Logging).await? {
        Some(body) => serde_json::from_str(&body).map_err(ApiError::internal)?,
        None => wire::LoggingOptions {
            role_arn: None,
            log_level: Some("DISABLED".to_owned()),
        },
    };
    Ok(options)
}
