//! Whether a thing's device is there.

use picket_aws::wire;
use picket_model::name::DeviceName;

use super::thing;
use crate::error::ApiError;
use crate::state::{Api, Caller};

/// Shows the connection of the client that is called as the thing: the one that it has, or the last that it had. As on
/// AWS, a device that comes under another name is not seen.
///
/// # Errors
/// `ResourceNotFoundException` when there is no such thing.
pub async fn of_thing(
    api: Api,
    _: Caller,
    input: wire::GetThingConnectivityData,
) -> Result<wire::ThingConnectivity, ApiError> {
    let thing_name = thing::existing(&api, &input.thing_name).await?.name;
    let client_id = DeviceName::from(thing_name);
    let Some(found) = api.broker.connection(&client_id) else {
        return Ok(wire::ThingConnectivity {
            thing_name: client_id.to_string(),
            ..wire::ThingConnectivity::default()
        });
    };
    let with_sockets = input.include_socket_information.unwrap_or_default();
    let sockets = with_sockets.then_some((found.source, found.target));
    let at = found.ended.map_or(found.connected_at, |(at, _)| at);
    Ok(wire::ThingConnectivity {
        thing_name: client_id.to_string(),
        connected: found.ended.is_none(),
        timestamp: Some(at.into()),
        disconnect_reason: found.ended.map(|(_, why)| why.to_string()),
        source_ip: sockets.map(|(source, _)| source.ip().to_string()),
        source_port: sockets.map(|(source, _)| source.port()),
        target_ip: sockets.map(|(_, target)| target.ip().to_string()),
        target_port: sockets.map(|(_, target)| target.port()),
        keep_alive_duration: Some(found.keep_alive.as_secs()),
        clean_session: Some(found.is_clean),
        session_expiry: Some(found.session_expiry.as_secs()),
        client_id: Some(client_id.to_string()),
    })
}
