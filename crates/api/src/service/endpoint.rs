//! Where devices connect to.

use picket_aws::wire;
use picket_aws::wire::picket;

use crate::error::ApiError;
use crate::state::{Api, ApiState, Caller};

/// Says the name that devices connect to, as AWS does: without scheme or port.
///
/// # Errors
/// `InvalidRequestException` for an endpoint that Picket does not have.
pub async fn describe(api: Api, _: Caller, input: wire::DescribeEndpoint) -> Result<wire::Endpoint, ApiError> {
    let endpoint_type = input.endpoint_type.unwrap_or_else(|| "iot:Data".to_owned());
    match endpoint_type.as_str() {
        "iot:Data" | "iot:Data-ATS" | "iot:Data-Beta" => Ok(wire::Endpoint {
            endpoint_address: address(&api),
        }),
        _ => Err(ApiError::invalid(format!(
            "endpointType is {endpoint_type}, expected iot:Data or iot:Data-ATS"
        ))),
    }
}

/// Says all of it: name, ports, and the certificate that devices trust.
///
/// # Errors
/// Never.
pub async fn show(api: Api, _: Caller, _: picket::ShowEndpoint) -> Result<picket::EndpointDescription, ApiError> {
    Ok(picket::EndpointDescription {
        endpoint_address: address(&api),
        mqtt_port: api.mqtt_port,
        mqtt_alpn_port: api.mqtt_alpn_port,
        ca_certificate_pem: api.authority.certificate_pem().to_owned(),
        account_id: api.account_id.clone(),
        region: api.region.clone(),
    })
}

fn address(api: &ApiState) -> String {
    api.endpoint_names
        .first()
        .cloned()
        .unwrap_or_else(|| "localhost".to_owned())
}
