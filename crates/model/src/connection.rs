//! Connections of devices.

use std::fmt;

/// Why a connection ended, in AWS's words: those of lifecycle events and of the operations that show a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DisconnectReason {
    /// The client said goodbye.
    ClientInitiated,
    /// The connection was gone without a goodbye.
    ConnectionLost,
    /// The client was silent for one and a half times its keep-alive.
    KeepAliveTimeout,
    /// Another connection came with the same client id.
    DuplicateClientId,
    /// The client may not be, or tried what it may not do.
    AuthError,
    /// The client is shut out: quarantined.
    ForbiddenAccess,
    /// The client broke the protocol or a limit of it.
    ClientError,
    /// The client did not take its messages, or sent more than there was room for.
    Throttled,
    /// The server stopped.
    ServerInitiated,
    /// The server could not go on with the connection.
    ServerError,
    /// Asked for through the API.
    ApiInitiated,
}

impl DisconnectReason {
    /// The name that AWS gives it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClientInitiated => "CLIENT_INITIATED_DISCONNECT",
            Self::ConnectionLost => "CONNECTION_LOST",
            Self::KeepAliveTimeout => "MQTT_KEEP_ALIVE_TIMEOUT",
            Self::DuplicateClientId => "DUPLICATE_CLIENTID",
            Self::AuthError => "AUTH_ERROR",
            Self::ForbiddenAccess => "FORBIDDEN_ACCESS",
            Self::ClientError => "CLIENT_ERROR",
            Self::Throttled => "THROTTLED",
            Self::ServerInitiated => "SERVER_INITIATED_DISCONNECT",
            Self::ServerError => "SERVER_ERROR",
            Self::ApiInitiated => "API_INITIATED_DISCONNECT",
        }
    }
}

impl fmt::Display for DisconnectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
