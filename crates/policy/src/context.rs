//! What the policies' variables and condition keys stand for.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use picket_model::time::Timestamp;

/// What is known of a connection. Every field may be left at its default; the doc of each says what that means.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Context {
    /// `${iot:ClientId}`
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

/// The values of `${iot:Certificate.*}` by what follows `iot:Certificate.`, for example `Subject.CommonName`; up to five
/// values each, in the escaped form in which a policy must write them (`O\=Amazon.com`). A value of more than 1024
/// characters, or with one of `* $ + ? #` in it, counts as absent.
pub type CertificateVariables = BTreeMap<Box<str>, Vec<Box<str>>>;

/// What a client asks for at connect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectAttributes {
    /// `PersistentConnect`: clean session is not set.
    pub persistent: bool,
    /// `LastWill`: the client leaves a will.
    pub last_will: bool,
}
