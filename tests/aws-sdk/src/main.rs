//! Walks registry and Detect with AWS's client for Rust, whose answers are typed: what it cannot read is an error.
//!
//! The server and the key come from the environment, as for AWS's other clients.

use std::error::Error;

use aws_sdk_iot::config::{Credentials, Region};
use aws_sdk_iot::error::ProvideErrorMetadata as _;
use aws_sdk_iot::primitives::DateTime;
use aws_sdk_iot::types::{
    AttributePayload, Behavior, BehaviorCriteria, CertificateStatus, ComparisonOperator, MetricValue,
};
use aws_sdk_iot::{Client, Config};

type Outcome = Result<(), Box<dyn Error>>;

const DENY: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"iot:*","Resource":"*"}]}"#;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    let iot = client()?;
    things(&iot).await?;
    let certificate_arn = certificates(&iot).await?;
    quarantine(&iot, &certificate_arn).await?;
    detect(&iot).await
}

fn client() -> Result<Client, Box<dyn Error>> {
    let variable = std::env::var;
    let (id, secret) = (variable("AWS_ACCESS_KEY_ID")?, variable("AWS_SECRET_ACCESS_KEY")?);
    let config = Config::builder()
        .behavior_version_latest()
        .endpoint_url(variable("AWS_ENDPOINT_URL")?)
        .region(Region::new(variable("AWS_DEFAULT_REGION")?))
        .credentials_provider(Credentials::new(id, secret, None, None, "environment"))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    Ok(Client::from_conf(config))
}

async fn things(iot: &Client) -> Outcome {
    for n in 0..7 {
        let payload = AttributePayload::builder()
            .attributes("site", format!("site{}", n % 2))
            .build();
        let name = format!("sdk:{n}");
        let created = iot
            .create_thing()
            .thing_name(&name)
            .attribute_payload(payload)
            .send()
            .await?;
        assert!(
            created
                .thing_arn()
                .is_some_and(|arn| arn.ends_with(&format!(":thing/{name}")))
        );
    }
    let described = iot.describe_thing().thing_name("sdk:3").send().await?;
    assert_eq!(described.default_client_id(), Some("sdk:3"));
    assert_eq!(described.version(), 1);

    let mut pages = iot
        .list_things()
        .max_results(2)
        .attribute_name("site")
        .attribute_value("site0")
        .into_paginator()
        .send();
    let (mut names, mut n_pages) = (Vec::new(), 0);
    while let Some(page) = pages.next().await {
        n_pages += 1;
        names.extend(
            page?
                .things()
                .iter()
                .filter_map(|thing| thing.thing_name().map(str::to_owned)),
        );
    }
    assert_eq!((names.join(" ").as_str(), n_pages), ("sdk:0 sdk:2 sdk:4 sdk:6", 2));

    let refused = iot
        .describe_thing()
        .thing_name("nobody")
        .send()
        .await
        .unwrap_err()
        .into_service_error();
    assert!(refused.is_resource_not_found_exception(), "{refused:?}");
    let refused = iot
        .create_thing()
        .thing_name("sdk:3")
        .send()
        .await
        .unwrap_err()
        .into_service_error();
    assert!(refused.is_resource_already_exists_exception(), "{refused:?}");
    let refused = iot
        .create_thing()
        .thing_name("a b")
        .send()
        .await
        .unwrap_err()
        .into_service_error();
    assert!(refused.is_invalid_request_exception(), "{refused:?}");
    assert!(
        refused.message().is_some_and(|text| text.contains("'thingName'")),
        "{refused:?}"
    );
    Ok(())
}

async fn certificates(iot: &Client) -> Result<String, Box<dyn Error>> {
    let made = iot.create_keys_and_certificate().set_as_active(true).send().await?;
    let (arn, id) = (
        made.certificate_arn().unwrap_or_default(),
        made.certificate_id().unwrap_or_default(),
    );
    assert!(
        made.key_pair()
            .and_then(|pair| pair.private_key())
            .is_some_and(|key| key.contains("PRIVATE KEY"))
    );
    iot.attach_thing_principal()
        .thing_name("sdk:3")
        .principal(arn)
        .send()
        .await?;
    let of_thing = iot.list_thing_principals().thing_name("sdk:3").send().await?;
    assert_eq!(of_thing.principals(), [arn]);
    let of_certificate = iot.list_principal_things().principal(arn).send().await?;
    assert_eq!(of_certificate.things(), ["sdk:3"]);
    let described = iot.describe_certificate().certificate_id(id).send().await?;
    let description = described.certificate_description().ok_or("no description")?;
    assert_eq!(description.status(), Some(&CertificateStatus::Active));
    assert!(
        description
            .validity()
            .is_some_and(|validity| validity.not_after() > validity.not_before())
    );
    Ok(arn.to_owned())
}

async fn quarantine(iot: &Client, certificate_arn: &str) -> Outcome {
    let group = iot.create_thing_group().thing_group_name("SdkIsolated").send().await?;
    let group_arn = group.thing_group_arn().unwrap_or_default();
    iot.create_policy()
        .policy_name("SdkDeny")
        .policy_document(DENY)
        .send()
        .await?;
    for target in [group_arn, certificate_arn] {
        iot.attach_policy().policy_name("SdkDeny").target(target).send().await?;
        let attached = iot.list_attached_policies().target(target).send().await?;
        assert_eq!(attached.policies()[0].policy_name(), Some("SdkDeny"));
    }
    let refused = iot
        .delete_policy()
        .policy_name("SdkDeny")
        .send()
        .await
        .unwrap_err()
        .into_service_error();
    assert!(refused.is_delete_conflict_exception(), "{refused:?}");
    iot.add_thing_to_thing_group()
        .thing_group_name("SdkIsolated")
        .thing_name("sdk:3")
        .send()
        .await?;
    let members = iot
        .list_things_in_thing_group()
        .thing_group_name("SdkIsolated")
        .send()
        .await?;
    assert_eq!(members.things(), ["sdk:3"]);
    Ok(())
}

async fn detect(iot: &Client) -> Outcome {
    let value = MetricValue::builder().ports(22).ports(443).build();
    let criteria = BehaviorCriteria::builder()
        .comparison_operator(ComparisonOperator::InPortSet)
        .value(value)
        .build();
    let ports = Behavior::builder()
        .name("Ports")
        .metric("aws:listening-tcp-ports")
        .criteria(criteria)
        .build()?;
    let created = iot
        .create_security_profile()
        .security_profile_name("Sdk")
        .behaviors(ports)
        .send()
        .await?;
    let target = created
        .security_profile_arn()
        .unwrap_or_default()
        .replace("securityprofile/Sdk", "all/things");
    iot.attach_security_profile()
        .security_profile_name("Sdk")
        .security_profile_target_arn(&target)
        .send()
        .await?;
    let described = iot
        .describe_security_profile()
        .security_profile_name("Sdk")
        .send()
        .await?;
    let behavior = &described.behaviors()[0];
    assert_eq!(
        behavior
            .criteria()
            .and_then(|criteria| criteria.value())
            .map(MetricValue::ports),
        Some(&[22, 443][..])
    );
    assert_eq!(described.creation_date(), described.last_modified_date());

    let stale = iot
        .update_security_profile()
        .security_profile_name("Sdk")
        .expected_version(7)
        .send()
        .await;
    let refused = stale.unwrap_err().into_service_error();
    assert!(refused.is_version_conflict_exception(), "{refused:?}");
    assert!(
        iot.list_active_violations()
            .send()
            .await?
            .active_violations()
            .is_empty()
    );
    let events = iot
        .list_violation_events()
        .start_time(DateTime::from_secs(0))
        .end_time(DateTime::from_secs(1))
        .send();
    assert!(events.await?.violation_events().is_empty());
    Ok(())
}
