//! The services that share one listener: a request says by its signature which of them it calls.

use std::fmt;

/// A service of AWS whose operations are answered here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Service {
    /// The control plane: things, certificates, policies, Detect; and what Picket adds to it.
    Iot,
    /// The data plane: messages and connections.
    IotData,
    /// Topics that alerts go to.
    Sns,
}

impl Service {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Iot, Self::IotData, Self::Sns];

    /// The name in the scope of a credential. AWS's clients sign the data plane with `iotdata`, not with its endpoint's
    /// name.
    pub const fn signing_name(self) -> &'static str {
        match self {
            Self::Iot => "iot",
            Self::IotData => "iotdata",
            Self::Sns => "sns",
        }
    }

    /// The service that requests are signed for by that name; `None` when it is not answered here.
    pub fn of_signing_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|service| service.signing_name() == name)
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.signing_name())
    }
}
