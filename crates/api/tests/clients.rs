//! AWS's own clients, unmodified, against the API.

mod served;

use served::Served;

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
async fn boto3_asks_what_policies_permit() {
    Served::start().await.python("boto3_policies.py", &[]).await;
}
