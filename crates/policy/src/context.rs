//! What the policies' variables and condition keys stand for.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use picket_model::time::Timestamp;

/// What is known of a connection. Every field may be left at its default; the doc of each says what that means.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Context {
    /// `${iot:ClientId}`. No client has an empty one: that is "not told", see the crate's documentation.
    pub client_id: Box<str>,
    /// `${iot:Connection.Thing.ThingName}`: the registered thing that the connection is. `None` leaves it without value.
    pub thing_name: Option<Box<str>>,
    /// What the registry says of that thing. `None` is "not told", if there is a thing: see the crate's documentation.
    pub thing: Option<Arc<ThingFacts>>,
    /// `iot:Connection.Thing.IsAttached`: whether the certificate is attached to the thing.
    pub is_attached: bool,
    /// `${aws:SourceIp}`: where the connection comes from. `None` is "not told": see the crate's documentation.
    pub source_ip: Option<IpAddr>,
    /// `iot:ConnectAttributes`, known to [`crate::Action::Connect`] alone.
    pub connect: ConnectAttributes,
    /// `${iot:Certificate.*}`, see [`CertificateVariables`]. `None` is "not told": see the crate's documentation.
    pub certificate: Option<Arc<CertificateVariables>>,
    /// `iot:DomainName`: the name that the client asked for in the handshake.
    pub domain_name: Option<Box<str>>,
    /// The account that resources must be in; an ARN's account is not looked at when this is `None`.
    pub account_id: Option<Box<str>>,
    /// `aws:CurrentTime` and `aws:EpochTime`. `None` is "not told": see the crate's documentation.
    pub now: Option<Timestamp>,
}

/// What the registry says of a thing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ThingFacts {
    /// `${iot:Connection.Thing.ThingTypeName}`. `None` leaves it without value.
    pub type_name: Option<Box<str>>,
    /// `${iot:Connection.Thing.Attributes[name]}`. An absent attribute has no value.
    pub attributes: BTreeMap<Box<str>, Box<str>>,
}

/// The values of `${iot:Certificate.*}`, in the escaped form in which a policy must write them (`O\=Amazon.com`). A value of
/// more than 1024 characters, or with one of `* $ + ? #` in it, counts as absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateVariables(Box<[(&'static str, Box<str>)]>);

impl CertificateVariables {
    /// The most values of one name that count: AWS looks at no more.
    pub const N_VALUES_MAX: usize = 5;

    /// The names that have values, each once.
    pub(crate) fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for (name, _) in &self.0 {
            if !names.contains(name) {
                names.push(name);
            }
        }
        names
    }

    /// The values of a name, whatever its case, in their order.
    pub(crate) fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        let named = self.0.iter().filter(move |(found, _)| found.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_ref()).take(Self::N_VALUES_MAX)
    }
}

/// By what follows `iot:Certificate.`, for example `Subject.CommonName`; a name with several values comes once for each.
impl FromIterator<(&'static str, Box<str>)> for CertificateVariables {
    fn from_iter<T: IntoIterator<Item = (&'static str, Box<str>)>>(values: T) -> Self {
        Self(values.into_iter().collect())
    }
}

/// What a client asks for at connect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectAttributes {
    /// `PersistentConnect`: clean session is not set.
    pub persistent: bool,
    /// `LastWill`: the client leaves a will.
    pub last_will: bool,
}
