//! The errors that AWS's services for devices answer with.

use std::fmt;

use crate::service::Service;

/// The header of an answer that names the error; its value is the code, sometimes followed by `:` and a URL.
pub const ERROR_TYPE_HEADER: &str = "x-amzn-errortype";

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $status:literal,)*) => {
        /// The name of an error, as clients know it, with its HTTP status. The names are those of the AWS IoT service model
        /// (2015-05-28) and, for what is wrong before an operation is reached, of AWS's front ends.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ApiErrorCode {
            $($(#[$doc])* $name,)*
        }

        impl ApiErrorCode {
            /// All there are.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The name, as in `x-amzn-ErrorType`: SDKs make an exception class of it. See [`Self::name_for`].
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }

            /// The HTTP status in the control plane. See [`Self::status_for`].
            pub const fn status(self) -> u16 {
                match self {
                    $(Self::$name => $status,)*
                }
            }
        }
    };
}

codes! {
    /// The verification certificate does not carry the registration code.
    RegistrationCodeValidationException = 400,
    /// The certificate cannot be read, or is not valid.
    CertificateValidationException = 400,
    /// Bad input, or not possible as things are.
    InvalidRequestException = 400,
    /// The document is no policy.
    MalformedPolicyException = 400,
    /// The id of the task is taken.
    TaskAlreadyExistsException = 400,
    /// Too many calls.
    ThrottlingException = 400,
    /// The caller may not do this.
    UnauthorizedException = 401,
    /// The request is signed, but not as it should be.
    IncompleteSignatureException = 403,
    /// The signature does not match, or is too old.
    InvalidSignatureException = 403,
    /// The request is not signed.
    MissingAuthenticationTokenException = 403,
    /// The access key is not known here.
    UnrecognizedClientException = 403,
    /// The caller may call this, but not for what it names.
    ForbiddenException = 403,
    /// There cannot be more topics.
    TopicLimitExceededException = 403,
    /// There cannot be more subscriptions.
    SubscriptionLimitExceededException = 403,
    /// What was asked for was never configured.
    NotConfiguredException = 404,
    /// What the path names does not exist.
    ResourceNotFoundException = 404,
    /// There is no such operation.
    UnknownOperationException = 404,
    /// The topic takes no messages from clients.
    MethodNotAllowedException = 405,
    /// The certificate's status forbids it.
    CertificateStateException = 406,
    /// The request does not arrive.
    RequestTimeoutException = 408,
    /// Several CA certificates could have signed it.
    CertificateConflictException = 409,
    /// Something else still needs it.
    DeleteConflictException = 409,
    /// The name is taken, with other settings.
    ResourceAlreadyExistsException = 409,
    /// The policy has all the versions that it may have.
    VersionsLimitExceededException = 409,
    /// Somebody else has changed it since.
    VersionConflictException = 409,
    /// A quota is used up. SDKs try again after this one.
    LimitExceededException = 410,
    /// The body is larger than any request needs.
    RequestEntityTooLargeException = 413,
    /// Our fault.
    InternalFailureException = 500,
    /// Not now.
    ServiceUnavailableException = 503,
}

impl ApiErrorCode {
    /// The name that this service's clients know it by. SNS has codes of its own, which SDKs map to exception classes.
    pub fn name_for(self, service: Service) -> &'static str {
        match (service, self) {
            (Service::Iot | Service::IotData, _) => self.name(),
            (Service::Sns, Self::InvalidRequestException | Self::ResourceAlreadyExistsException) => "InvalidParameter",
            (Service::Sns, Self::ResourceNotFoundException) => "NotFound",
            (Service::Sns, Self::UnauthorizedException | Self::ForbiddenException) => "AuthorizationError",
            (Service::Sns, Self::ThrottlingException) => "Throttled",
            (Service::Sns, Self::InternalFailureException) => "InternalError",
            (Service::Sns, Self::UnrecognizedClientException) => "InvalidClientTokenId",
            (Service::Sns, Self::InvalidSignatureException) => "SignatureDoesNotMatch",
            (Service::Sns, Self::UnknownOperationException) => "InvalidAction",
            (Service::Sns, _) => self.name().trim_end_matches("Exception"),
        }
    }

    /// The HTTP status that goes with it in this service.
    pub const fn status_for(self, service: Service) -> u16 {
        match (service, self) {
            (Service::IotData | Service::Sns, Self::ThrottlingException) => 429,
            (Service::Sns, Self::UnauthorizedException) => 403,
            (Service::Sns, Self::UnknownOperationException | Self::ResourceAlreadyExistsException) => 400,
            _ => self.status(),
        }
    }
}

impl fmt::Display for ApiErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
