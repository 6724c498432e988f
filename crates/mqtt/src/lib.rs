//! MQTT 3.1.1 and 5 on the wire, and a small client.
//!
//! This room knows no policy and no report. It never chooses a cryptography provider: TLS configurations are passed in.
