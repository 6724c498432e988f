//! Access keys.

use picket_aws::wire::Done;
use picket_aws::wire::picket;
use picket_store::registry::AccessKey;

use crate::error::ApiError;
use crate::state::{Api, Caller};

/// Keys in all.
const N_KEYS_MAX: u32 = 1000;

/// Lists all access keys, without their secrets.
///
/// # Errors
/// When they cannot be read.
pub async fn list(api: Api, _: Caller, _: picket::ListAccessKeys) -> Result<picket::AccessKeys, ApiError> {
    let keys = api.db.access_keys(None, N_KEYS_MAX).await?;
    let description = |key: AccessKey| picket::AccessKeyDescription {
        access_key_id: key.id,
        description: key.description,
        is_enabled: key.disabled_at.is_none(),
        creation_date: key.created_at.into(),
    };
    Ok(picket::AccessKeys {
        keys: keys.into_iter().map(description).collect(),
    })
}

/// Makes an access key. Its secret is said only here.
///
/// # Errors
/// `InvalidRequestException` when there are 1000.
pub async fn create(api: Api, _: Caller, input: picket::CreateAccessKey) -> Result<picket::CreatedAccessKey, ApiError> {
    let n_keys = api.db.access_keys(None, N_KEYS_MAX).await?.len();
    if u32::try_from(n_keys).is_ok_and(|n_keys| n_keys >= N_KEYS_MAX) {
        return Err(ApiError::invalid(format!(
            "there are {n_keys} access keys, no more are possible"
        )));
    }
    let description = input.description.unwrap_or_default();
    let made = api.keys.create(&api.db, &description, api.now()).await;
    let credentials = made.map_err(ApiError::internal)?;
    Ok(picket::CreatedAccessKey {
        access_key_id: credentials.access_key_id,
        secret_access_key: credentials.secret_access_key,
    })
}

/// Makes an access key useless, from the next request on.
///
/// # Errors
/// `ResourceNotFoundException`; `InvalidRequestException` for the last key that works.
pub async fn disable(api: Api, _: Caller, input: picket::DisableAccessKey) -> Result<Done, ApiError> {
    api.db.disable_access_key(&input.access_key_id, api.now()).await?;
    Ok(Done {})
}
