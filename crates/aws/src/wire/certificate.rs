//! Certificates, and where devices connect to.

use picket_model::name::CertificateId;
use serde::{Deserialize, Serialize};

use super::EpochSecs;
use super::constraint::{
    BOOLEAN, CERTIFICATE_ID, CERTIFICATE_STATUS, ENDPOINT_TYPE, MARKER, PAGE_SIZE, PEM, SIGNING_REQUEST,
};
use crate::shape::operations;

operations! {
    /// Makes a key pair and a certificate for it.
    CreateKeysAndCertificate: "POST" "/keys-and-certificate" {
        set_as_active: Option<bool> = query "setAsActive" BOOLEAN,
    }

    /// Makes a certificate for a key that the caller has.
    CreateCertificateFromCsr: "POST" "/certificates" {
        certificate_signing_request: String = body "certificateSigningRequest" SIGNING_REQUEST,
        set_as_active: Option<bool> = query "setAsActive" BOOLEAN,
    }

    /// Registers a certificate of a registered CA.
    RegisterCertificate: "POST" "/certificate/register" {
        certificate_pem: String = body "certificatePem" PEM,
        ca_certificate_pem: Option<String> = body "caCertificatePem" PEM,
        set_as_active: Option<bool> = query "setAsActive" BOOLEAN,
        status: Option<String> = body "status" CERTIFICATE_STATUS,
    }

    /// Registers a certificate of any CA, or of none.
    RegisterCertificateWithoutCA: "POST" "/certificate/register-no-ca" {
        certificate_pem: String = body "certificatePem" PEM,
        status: Option<String> = body "status" CERTIFICATE_STATUS,
    }

    /// Changes what a certificate is good for.
    UpdateCertificate: "PUT" "/certificates/{certificateId}" {
        certificate_id: CertificateId = path "certificateId" CERTIFICATE_ID,
        new_status: String = query "newStatus" CERTIFICATE_STATUS,
    }

    /// Shows a certificate.
    DescribeCertificate: "GET" "/certificates/{certificateId}" {
        certificate_id: CertificateId = path "certificateId" CERTIFICATE_ID,
    }

    /// Removes a certificate that is not active.
    DeleteCertificate: "DELETE" "/certificates/{certificateId}" {
        certificate_id: CertificateId = path "certificateId" CERTIFICATE_ID,
        force_delete: Option<bool> = query "forceDelete" BOOLEAN,
    }

    /// Lists certificates by age.
    ListCertificates: "GET" "/certificates" {
        page_size: Option<u32> = query "pageSize" PAGE_SIZE,
        marker: Option<String> = query "marker" MARKER,
        ascending_order: Option<bool> = query("isAscendingOrder") "ascendingOrder" BOOLEAN,
    }

    /// Lists the certificates that were registered with a CA, by age.
    ListCertificatesByCA: "GET" "/certificates-by-ca/{caCertificateId}" {
        ca_certificate_id: CertificateId = path "caCertificateId" CERTIFICATE_ID,
        page_size: Option<u32> = query "pageSize" PAGE_SIZE,
        marker: Option<String> = query "marker" MARKER,
        ascending_order: Option<bool> = query("isAscendingOrder") "ascendingOrder" BOOLEAN,
    }

    /// Says where devices connect to.
    DescribeEndpoint: "GET" "/endpoint" {
        endpoint_type: Option<String> = query "endpointType" ENDPOINT_TYPE,
    }
}

/// Answer of [`CreateKeysAndCertificate`].
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeysAndCertificate {
    /// The ARN.
    pub certificate_arn: String,
    /// SHA-256 of its DER.
    pub certificate_id: String,
    /// PEM.
    pub certificate_pem: String,
    /// The keys: said only here.
    pub key_pair: KeyPair,
}

/// A key pair in PEM.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct KeyPair {
    /// SubjectPublicKeyInfo.
    pub public_key: String,
    /// The secret half.
    pub private_key: String,
}

/// Answer of [`CreateCertificateFromCsr`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CertifiedRequest {
    /// The ARN.
    pub certificate_arn: String,
    /// SHA-256 of its DER.
    pub certificate_id: String,
    /// PEM.
    pub certificate_pem: String,
}

/// Answer of [`RegisterCertificate`], [`RegisterCertificateWithoutCA`] and [`super::RegisterCACertificate`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RegisteredCertificate {
    /// The ARN.
    pub certificate_arn: String,
    /// SHA-256 of its DER.
    pub certificate_id: String,
}

/// Answer of [`DescribeCertificate`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DescribedCertificate {
    /// All about it.
    pub certificate_description: CertificateDescription,
}

/// All about a certificate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateDescription {
    /// The ARN.
    pub certificate_arn: String,
    /// SHA-256 of its DER.
    pub certificate_id: String,
    /// The CA that it was registered with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_certificate_id: Option<String>,
    /// What it is good for.
    pub status: String,
    /// PEM.
    pub certificate_pem: String,
    /// The account.
    pub owned_by: String,
    /// When it was registered.
    pub creation_date: EpochSecs,
    /// When it was changed last.
    pub last_modified_date: EpochSecs,
    /// 1 at first.
    pub customer_version: i64,
    /// Nothing: certificates are not transferred here.
    pub transfer_data: super::Done,
    /// Another one if it is deleted and registered again.
    pub generation_id: String,
    /// As the certificate says.
    pub validity: CertificateValidity,
    /// `DEFAULT` or `SNI_ONLY`.
    pub certificate_mode: String,
}

/// From when to when.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateValidity {
    /// First moment.
    pub not_before: EpochSecs,
    /// Last moment.
    pub not_after: EpochSecs,
}

/// Answer of [`ListCertificates`] and [`ListCertificatesByCA`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Certificates {
    /// One page.
    pub certificates: Vec<CertificateSummary>,
    /// Where the next page goes on; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_marker: Option<String>,
}

/// A certificate in a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateSummary {
    /// The ARN.
    pub certificate_arn: String,
    /// SHA-256 of its DER.
    pub certificate_id: String,
    /// What it is good for.
    pub status: String,
    /// `DEFAULT` or `SNI_ONLY`.
    pub certificate_mode: String,
    /// When it was registered.
    pub creation_date: EpochSecs,
}

/// Answer of [`DescribeEndpoint`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// A name, without scheme or port.
    pub endpoint_address: String,
}
