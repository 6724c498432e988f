//! `picket endpoint`.

use picket_aws::call::Call;

use crate::desk::{self, Desk};
use crate::failure::Failure;
use crate::field::text;
use crate::output::Column;

/// What to say of the devices' endpoint.
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// Say where devices connect to
    Show,
    /// Print the certificate that devices trust, PEM
    Ca,
}

const LINES: [Column; 2] = [
    ("address", |answer| text(answer, "endpointAddress")),
    ("mqtt port", |answer| text(answer, "mqttPort")),
];

impl Verb {
    pub(crate) async fn run(self, desk: &Desk) -> Result<(), Failure> {
        let call = Call::get(&["picket", "v1", "endpoint"]);
        match self {
            Self::Show => desk.show(call, &LINES).await,
            Self::Ca => {
                let answer = desk.client.call(&call).await?;
                if desk.output.is_json() {
                    return desk.output.json(&answer);
                }
                desk.output.text(desk::required(&answer, "caCertificatePem")?)
            }
        }
    }
}
