//! CA certificates: whose signature registers a device's certificate.

use picket_model::name::CertificateId;
use serde::{Deserialize, Serialize};

use super::constraint::{ANY, BOOLEAN, CERTIFICATE_ID, MARKER, PAGE_SIZE, PEM, ROLE_ARN, TAGS, text};
use super::{CertificateValidity, EpochSecs, Tag};
use crate::shape::{Pattern, Shape, operations, structures};

structures! {
    /// What is made of a device that is registered when it connects first.
    RegistrationConfig, REGISTRATION_CONFIG {
        template_body: Option<String> = "templateBody" text(0, 10_240, &ANY),
        role_arn: Option<String> = "roleArn" ROLE_ARN,
        template_name: Option<String> = "templateName" TEMPLATE_NAME,
    }
}

const TEMPLATE_NAME: Shape = text(
    1,
    36,
    &Pattern {
        expression: "^[0-9A-Za-z_-]+$",
        fits: |text| text.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c)),
    },
);
const MODE: Shape = Shape::Choice(&["DEFAULT", "SNI_ONLY"]);
const STATUS: Shape = Shape::Choice(&["ACTIVE", "INACTIVE"]);
const AUTO_REGISTRATION_STATUS: Shape = Shape::Choice(&["ENABLE", "DISABLE"]);

operations! {
    /// Registers a CA certificate.
    RegisterCACertificate: "POST" "/cacertificate" {
        ca_certificate: String = body "caCertificate" PEM,
        verification_certificate: Option<String> = body "verificationCertificate" PEM,
        set_as_active: Option<bool> = query "setAsActive" BOOLEAN,
        allow_auto_registration: Option<bool> = query "allowAutoRegistration" BOOLEAN,
        registration_config: Option<RegistrationConfig> = body "registrationConfig" REGISTRATION_CONFIG,
        tags: Option<Vec<Tag>> = body "tags" TAGS,
        certificate_mode: Option<String> = body "certificateMode" MODE,
    }

    /// Changes a CA certificate.
    UpdateCACertificate: "PUT" "/cacertificate/{caCertificateId}" {
        certificate_id: CertificateId = path("caCertificateId") "certificateId" CERTIFICATE_ID,
        new_status: Option<String> = query "newStatus" STATUS,
        new_auto_registration_status: Option<String> = query "newAutoRegistrationStatus" AUTO_REGISTRATION_STATUS,
        registration_config: Option<RegistrationConfig> = body "registrationConfig" REGISTRATION_CONFIG,
        remove_auto_registration: Option<bool> = body "removeAutoRegistration" BOOLEAN,
    }

    /// Shows a CA certificate.
    DescribeCACertificate: "GET" "/cacertificate/{caCertificateId}" {
        certificate_id: CertificateId = path("caCertificateId") "certificateId" CERTIFICATE_ID,
    }

    /// Removes a CA certificate that is not active.
    DeleteCACertificate: "DELETE" "/cacertificate/{caCertificateId}" {
        certificate_id: CertificateId = path("caCertificateId") "certificateId" CERTIFICATE_ID,
    }

    /// Lists CA certificates by age.
    ListCACertificates: "GET" "/cacertificates" {
        page_size: Option<u32> = query "pageSize" PAGE_SIZE,
        marker: Option<String> = query "marker" MARKER,
        ascending_order: Option<bool> = query("isAscendingOrder") "ascendingOrder" BOOLEAN,
        template_name: Option<String> = query "templateName" TEMPLATE_NAME,
    }

    /// Says the code that a verification certificate must carry as its common name.
    GetRegistrationCode: "GET" "/registrationcode" {}

    /// Forgets the code.
    DeleteRegistrationCode: "DELETE" "/registrationcode" {}
}

/// Answer of [`DescribeCACertificate`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DescribedCaCertificate {
    /// All about it.
    pub certificate_description: CaCertificateDescription,
    /// What was given as such: the members of [`RegistrationConfig`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registration_config: Option<serde_json::Value>,
}

/// All about a CA certificate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CaCertificateDescription {
    /// The ARN.
    pub certificate_arn: String,
    /// SHA-256 of its DER.
    pub certificate_id: String,
    /// `ACTIVE` or `INACTIVE`.
    pub status: String,
    /// PEM.
    pub certificate_pem: String,
    /// The account.
    pub owned_by: String,
    /// When it was registered.
    pub creation_date: EpochSecs,
    /// `ENABLE` or `DISABLE`.
    pub auto_registration_status: String,
    /// When it was changed last.
    pub last_modified_date: EpochSecs,
    /// 1 at first, one more with each change.
    pub customer_version: i64,
    /// Another one if it is deleted and registered again.
    pub generation_id: String,
    /// From when to when it says it is valid.
    pub validity: CertificateValidity,
    /// `DEFAULT` or `SNI_ONLY`.
    pub certificate_mode: String,
}

/// Answer of [`ListCACertificates`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CaCertificates {
    /// One page.
    pub certificates: Vec<CaCertificateSummary>,
    /// Where the next page goes on; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_marker: Option<String>,
}

/// A CA certificate in a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CaCertificateSummary {
    /// The ARN.
    pub certificate_arn: String,
    /// SHA-256 of its DER.
    pub certificate_id: String,
    /// `ACTIVE` or `INACTIVE`.
    pub status: String,
    /// When it was registered.
    pub creation_date: EpochSecs,
}

/// Answer of [`GetRegistrationCode`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RegistrationCode {
    /// 64 hex digits.
    pub registration_code: String,
}
