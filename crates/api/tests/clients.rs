//! AWS's own clients, unmodified, against the API.

mod served;

use picket_api::compatibility::answered;
use picket_aws::service::Service;
use served::Served;
use served::violations::put;

#[tokio::test(flavor = "multi_thread")]
async fn botocore_signs_in_every_way() {
    Served::start().await.python("boto3_signatures.py", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn boto3_walks_all_operations() {
    Served::start().await.python("boto3_walk.py", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn boto3_walks_detect() {
    Served::start().await.python("boto3_detect.py", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn aws_sdk_for_rust_walks_registry_and_detect() {
    Served::start().await.aws_sdk().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn boto3_keeps_a_registry() {
    Served::start().await.python("boto3_registry.py", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn boto3_walks_the_operations_of_sns() {
    Served::start().await.python("boto3_sns.py", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn boto3_registers_certificates_of_all_origins() {
    Served::start().await.python("boto3_certificates.py", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn boto3_asks_what_policies_permit() {
    Served::start().await.python("boto3_policies.py", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_constraint_of_the_service_model_is_enforced() {
    let served = Served::start().await;
    for (service, model) in [
        (Service::Iot, "iot"),
        (Service::IotData, "iot-data"),
        (Service::Sns, "sns"),
    ] {
        let operations = answered(service);
        let arguments = [&[model], operations.as_slice()].concat();
        served.python("botocore_constraints.py", &arguments).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_examples_of_the_aws_cli_are_answered_field_by_field() {
    let served = Served::with_rsa_keys().await;
    let printed = served.python("awscli_examples.py", &["violations"]).await;
    put(&served.db, &printed).await;
    served.python("awscli_examples.py", &[]).await;
}
