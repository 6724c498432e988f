//! Audits, of which there are none yet: who asks for one is told so.

use picket_aws::shape::Input;
use picket_aws::wire;

use crate::error::ApiError;
use crate::state::{Api, Caller};

/// Refuses an operation that needs audits.
///
/// # Errors
/// `InvalidRequestException`, always.
pub async fn refuse<I: Input>(_: Api, _: Caller, _: I) -> Result<wire::Done, ApiError> {
    Err(ApiError::invalid(format!(
        "audits are not available in this version, so {} does nothing: DescribeAccountAuditConfiguration shows every check as \
         disabled",
        I::OPERATION.name
    )))
}

/// Says which checks there are in audits: none of those that AWS has.
///
/// # Errors
/// None.
pub async fn configuration(
    _: Api,
    _: Caller,
    _: wire::DescribeAccountAuditConfiguration,
) -> Result<wire::AccountAuditConfiguration, ApiError> {
    let disabled = |name: &str| (name.to_owned(), wire::AuditCheckConfiguration { enabled: false });
    Ok(wire::AccountAuditConfiguration {
        audit_check_configurations: wire::AUDIT_CHECKS.into_iter().map(disabled).collect(),
        ..wire::AccountAuditConfiguration::default()
    })
}
