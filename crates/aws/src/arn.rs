//! Amazon Resource Names: `arn:aws:iot:<region>:<account>:<resource>`.

use std::fmt;
use std::str::FromStr;

use picket_model::name::{
    CertificateId, DimensionName, MetricName, MitigationActionName, PolicyName, ProfileName, ThingGroupName, ThingName,
    ThingTypeName,
};
use picket_model::profile::Target;

/// What an ARN of this service names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Resource {
    /// `thing/<name>`
    Thing(ThingName),
    /// `thinggroup/<name>`
    Group(ThingGroupName),
    /// `thingtype/<name>`
    ThingType(ThingTypeName),
    /// `cert/<64 hex digits>`
    Certificate(CertificateId),
    /// `cacert/<64 hex digits>`
    CaCertificate(CertificateId),
    /// `policy/<name>`
    Policy(PolicyName),
    /// `securityprofile/<name>`
    Profile(ProfileName),
    /// `custommetric/<name>`
    Metric(MetricName),
    /// `dimension/<name>`
    Dimension(DimensionName),
    /// `mitigationaction/<name>`
    MitigationAction(MitigationActionName),
    /// `all/things`
    AllThings,
    /// `all/registered-things`
    RegisteredThings,
    /// `all/unregistered-things`
    UnregisteredThings,
}

/// A resource with where it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Arn {
    /// The region. Written as the caller's; read without regard to it.
    pub region: String,
    /// The account's 12 digits.
    pub account: String,
    /// What it names.
    pub resource: Resource,
}

/// Why a text is no ARN of this service.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("ARN is {found:?}, expected arn:aws:iot:<region>:<account>:{expected}")]
pub struct BadArn {
    /// The text as found, its beginning.
    pub found: String,
    /// What should have come after the account.
    pub expected: String,
}

impl Resource {
    /// The type, as it stands in the ARN.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Thing(_) => "thing",
            Self::Group(_) => "thinggroup",
            Self::ThingType(_) => "thingtype",
            Self::Certificate(_) => "cert",
            Self::CaCertificate(_) => "cacert",
            Self::Policy(_) => "policy",
            Self::Profile(_) => "securityprofile",
            Self::Metric(_) => "custommetric",
            Self::Dimension(_) => "dimension",
            Self::MitigationAction(_) => "mitigationaction",
            Self::AllThings | Self::RegisteredThings | Self::UnregisteredThings => "all",
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        const KINDS: &str = "thing, thinggroup, thingtype, cert, cacert, policy, securityprofile, custommetric, dimension, \
                             mitigationaction or all";
        fn name<T: FromStr<Err: fmt::Display>>(text: &str) -> Result<T, String> {
            text.parse().map_err(|err: T::Err| format!("<resource>, but {err}"))
        }
        match text.split_once('/').ok_or_else(|| format!("<{KINDS}>/<name>"))? {
            ("thing", rest) => name(rest).map(Self::Thing),
            ("thinggroup", rest) => name(rest).map(Self::Group),
            ("thingtype", rest) => name(rest).map(Self::ThingType),
            ("cert", rest) => name(rest).map(Self::Certificate),
            ("cacert", rest) => name(rest).map(Self::CaCertificate),
            ("policy", rest) => name(rest).map(Self::Policy),
            ("securityprofile", rest) => name(rest).map(Self::Profile),
            ("custommetric", rest) => name(rest).map(Self::Metric),
            ("dimension", rest) => name(rest).map(Self::Dimension),
            ("mitigationaction", rest) => name(rest).map(Self::MitigationAction),
            ("all", "things") => Ok(Self::AllThings),
            ("all", "registered-things") => Ok(Self::RegisteredThings),
            ("all", "unregistered-things") => Ok(Self::UnregisteredThings),
            ("all", _) => Err("all/things, all/registered-things or all/unregistered-things".to_owned()),
            _ => Err(format!("<{KINDS}>/<name>")),
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/", self.kind())?;
        match self {
            Self::Thing(name) => name.fmt(f),
            Self::Group(name) => name.fmt(f),
            Self::ThingType(name) => name.fmt(f),
            Self::Certificate(id) | Self::CaCertificate(id) => id.fmt(f),
            Self::Policy(name) => name.fmt(f),
            Self::Profile(name) => name.fmt(f),
            Self::Metric(name) => name.fmt(f),
            Self::Dimension(name) => name.fmt(f),
            Self::MitigationAction(name) => name.fmt(f),
            Self::AllThings => f.write_str("things"),
            Self::RegisteredThings => f.write_str("registered-things"),
            Self::UnregisteredThings => f.write_str("unregistered-things"),
        }
    }
}

impl From<Target> for Resource {
    fn from(target: Target) -> Self {
        match target {
            Target::AllThings => Self::AllThings,
            Target::RegisteredThings => Self::RegisteredThings,
            Target::UnregisteredThings => Self::UnregisteredThings,
            Target::Group(name) => Self::Group(name),
        }
    }
}

impl Resource {
    /// The same as what a profile can be attached to, if it is such a thing.
    pub fn into_target(self) -> Option<Target> {
        match self {
            Self::AllThings => Some(Target::AllThings),
            Self::RegisteredThings => Some(Target::RegisteredThings),
            Self::UnregisteredThings => Some(Target::UnregisteredThings),
            Self::Group(name) => Some(Target::Group(name)),
            _ => None,
        }
    }
}

impl fmt::Display for Arn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "arn:aws:iot:{}:{}:{}", self.region, self.account, self.resource)
    }
}

impl FromStr for Arn {
    type Err = BadArn;

    fn from_str(text: &str) -> Result<Self, BadArn> {
        let bad = |expected: String| BadArn {
            found: text.chars().take(300).collect(),
            expected,
        };
        let mut parts = text.splitn(6, ':');
        let mut part = || parts.next().unwrap_or_default();
        let ("arn", partition, "iot", region, account, resource) = (part(), part(), part(), part(), part(), part())
        else {
            return Err(bad("<resource>".to_owned()));
        };
        // `aws-cn` and `aws-us-gov` are written by people who move here from those parts of AWS.
        if !partition.starts_with("aws") || account.len() != 12 || !account.bytes().all(|digit| digit.is_ascii_digit())
        {
            return Err(bad("<resource> with an account of 12 digits".to_owned()));
        }
        Ok(Self {
            region: region.to_owned(),
            account: account.to_owned(),
            resource: Resource::parse(resource).map_err(bad)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arns_are_read_and_written() {
        for resource in [
            "thing/pump:7",
            "thinggroup/IsolatedDevices",
            "thingtype/LightBulb",
            "cert/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
            "cacert/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
            "policy/a+=,.@-b",
            "securityprofile/p",
            "custommetric/m",
            "dimension/d",
            "mitigationaction/a",
            "all/things",
            "all/registered-things",
            "all/unregistered-things",
        ] {
            let text = format!("arn:aws:iot:eu-central-1:123456789012:{resource}");
            let arn: Arn = text.parse().unwrap();
            assert_eq!((arn.to_string(), arn.account.as_str()), (text, "123456789012"));
        }
    }

    #[test]
    fn what_is_no_arn_is_refused() {
        for (text, expected) in [
            ("", "<resource>"),
            ("pump-7", "<resource>"),
            ("arn:aws:sns:us-east-1:123456789012:thing/a", "<resource>"),
            ("arn:aws:iot:us-east-1:12:thing/a", "12 digits"),
            ("arn:aws:iot:us-east-1:123456789012:thing/", "thing name has 0 bytes"),
            ("arn:aws:iot:us-east-1:123456789012:thing/a/b", "thing name has '/'"),
            ("arn:aws:iot:us-east-1:123456789012:cert/abc", "certificate"),
            ("arn:aws:iot:us-east-1:123456789012:all/devices", "all/things"),
            ("arn:aws:iot:us-east-1:123456789012:client/a", "<thing, thinggroup"),
        ] {
            let found = text.parse::<Arn>().unwrap_err().to_string();
            assert!(found.contains(expected), "{text}: {found}");
        }
    }
}
