//! Everything that is bounded here, and by how much.

use std::time::Duration;

/// The bounds of an endpoint. The defaults are AWS IoT Core's where it has one.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Live connections; further ones are closed after the handshake.
    pub n_connections_max: usize,
    /// TLS handshakes and CONNECTs under way; further peers wait in the operating system's queue.
    pub n_handshakes_max: usize,
    /// The same from one address (of IPv6: from one /64); further ones are closed at once.
    pub n_handshakes_per_address_max: usize,
    /// The most time for a TLS handshake.
    pub handshake_timeout: Duration,
    /// The most time from the end of the handshake to CONNECT.
    pub connect_timeout: Duration,
    /// The largest payload of a PUBLISH, bytes.
    pub payload_size_bytes_max: usize,
    /// The largest packet, bytes after its header: a payload, a topic and what MQTT 5 adds.
    pub packet_size_bytes_max: u32,
    /// The shortest keep-alive; a client that asks for less gets this.
    pub keep_alive_min: Duration,
    /// The longest keep-alive; a client that asks for more, or for none, gets this.
    pub keep_alive_max: Duration,
    /// Filters in one SUBSCRIBE; those beyond are refused.
    pub n_filters_per_subscribe_max: usize,
    /// Subscriptions of one session; those beyond are refused.
    pub n_subscriptions_per_session_max: usize,
    /// QoS 1 messages and reports of one client that are not answered yet. Told to MQTT 5 clients as Receive Maximum.
    pub n_inbound_max: u16,
    /// QoS 1 messages to one client that are not acknowledged yet.
    pub n_outbound_max: u16,
    /// Messages that wait for one session, live or not.
    pub n_queued_max: usize,
    /// The size of the messages that wait for one session, bytes.
    pub queued_size_bytes_max: usize,
    /// The size of all messages that wait somewhere, are not acknowledged or are retained, each counted once, bytes. What
    /// is published beyond is refused.
    pub held_size_bytes_max: usize,
    /// Topic aliases of one MQTT 5 client.
    pub n_topic_aliases_max: u16,
    /// Retained messages of all topics.
    pub n_retained_max: usize,
    /// The size of all retained messages, bytes.
    pub retained_size_bytes_max: usize,
    /// Sessions kept for clients that are away; beyond it, the one that would expire first goes.
    pub n_away_max: usize,
    /// Clients that are gone of whom it is known how they left; beyond it, the one that left first is forgotten.
    pub n_departed_max: usize,
    /// How long a 3.1.1 client's persistent session is kept.
    pub session_expiry_default: Duration,
    /// The longest that any session is kept.
    pub session_expiry_max: Duration,
    /// How often sessions and retained messages that have expired are looked for.
    pub sweep_interval: Duration,
    /// The most time for the last words to a client, and for all of them when the endpoint stops.
    pub goodbye_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            n_connections_max: 100_000,
            n_handshakes_max: 1024,
            n_handshakes_per_address_max: 256,
            handshake_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(10),
            payload_size_bytes_max: 128 * 1024,
            packet_size_bytes_max: 132 * 1024,
            keep_alive_min: Duration::from_secs(30),
            keep_alive_max: Duration::from_secs(1200),
            n_filters_per_subscribe_max: 8,
            n_subscriptions_per_session_max: 50,
            n_inbound_max: 100,
            n_outbound_max: 100,
            n_queued_max: 1000,
            queued_size_bytes_max: 4 * 1024 * 1024,
            held_size_bytes_max: 1024 * 1024 * 1024,
            n_topic_aliases_max: 8,
            n_retained_max: 100_000,
            retained_size_bytes_max: 256 * 1024 * 1024,
            n_away_max: 100_000,
            n_departed_max: 100_000,
            session_expiry_default: Duration::from_secs(60 * 60),
            session_expiry_max: Duration::from_secs(7 * 24 * 60 * 60),
            sweep_interval: Duration::from_secs(1),
            goodbye_timeout: Duration::from_millis(500),
        }
    }
}
