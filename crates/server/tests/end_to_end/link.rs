//! A device's connection, one step at a time.

use std::sync::Arc;
use std::time::Duration;

use picket_mqtt::Qos;
use picket_mqtt::client::{Client, ConnectError, ConnectOptions, Ended, Incoming, Message, RequestError};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::fleet::{Device, Fleet, PATIENCE};

/// A connection that ends with the value.
pub(crate) struct Link {
    runtime: Runtime,
    client: Client,
    incoming: Incoming,
}

impl Link {
    /// Connects, or says why not.
    pub(crate) fn connect(fleet: &Fleet, device: &Device, client_id: &str) -> Result<Self, ConnectError> {
        let mut options = ConnectOptions::new("127.0.0.1", fleet.mqtt.port(), client_id);
        options.server_name = Some("localhost".to_owned());
        options.connect_timeout = PATIENCE;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (client, incoming) = runtime.block_on(Client::connect(&options, tls(fleet, device)))?;
        Ok(Self {
            runtime,
            client,
            incoming,
        })
    }

    /// Connects as the device's own thing and listens to the answers to its reports.
    pub(crate) fn of(fleet: &Fleet, device: &Device) -> Self {
        let link = Self::connect(fleet, device, &device.thing).unwrap();
        for kind in ["accepted", "rejected"] {
            assert!(link.subscribe(&format!("{}/{kind}", report_topic(&device.thing))));
        }
        link
    }

    /// Whether the subscription was granted.
    pub(crate) fn subscribe(&self, filter: &str) -> bool {
        let granted = self
            .runtime
            .block_on(self.client.subscribe(&[(filter, Qos::AtLeastOnce)]));
        granted.unwrap()[0].is_some()
    }

    /// Publishes with QoS 1: done when it is acknowledged.
    pub(crate) fn publish(&self, topic: &str, payload: impl Into<Vec<u8>>) -> Result<(), RequestError> {
        self.runtime.block_on(
            self.client
                .publish(topic.to_owned(), payload.into(), Qos::AtLeastOnce, false),
        )
    }

    /// Publishes with QoS 0.
    pub(crate) fn publish_unconfirmed(&self, topic: &str, payload: impl Into<Vec<u8>>) {
        self.runtime
            .block_on(
                self.client
                    .publish(topic.to_owned(), payload.into(), Qos::AtMostOnce, false),
            )
            .unwrap();
    }

    /// The next message, or why there will be none.
    pub(crate) fn next(&mut self) -> Result<Message, Ended> {
        let next = async { tokio::time::timeout(PATIENCE, self.incoming.next()).await };
        self.runtime
            .block_on(next)
            .unwrap_or_else(|_| panic!("nothing came in {PATIENCE:?}"))
    }

    /// Publishes a report of the thing and says the answer: (`accepted` or `rejected`, what it says).
    pub(crate) fn report(&mut self, thing: &str, report: impl Into<Vec<u8>>) -> (String, Value) {
        self.publish(&report_topic(thing), report).unwrap();
        let answer = self.next().unwrap();
        let kind = answer.topic.rsplit('/').next().unwrap().to_owned();
        (kind, serde_json::from_slice(&answer.payload).unwrap())
    }

    /// The same, for one that is to be taken.
    pub(crate) fn report_taken(&mut self, thing: &str, report: &Value) {
        let (kind, answer) = self.report(thing, report.to_string());
        assert_eq!(kind, "accepted", "{answer}");
    }

    /// Waits for the end of the connection, whatever comes before it.
    pub(crate) fn ends(&mut self) {
        while self.next().is_ok() {}
    }

    /// Says goodbye.
    pub(crate) fn disconnect(self) {
        self.runtime.block_on(self.client.disconnect());
        self.runtime.shutdown_timeout(Duration::from_secs(1));
    }
}

pub(crate) fn report_topic(thing: &str) -> String {
    format!("$aws/things/{thing}/defender/metrics/json")
}

/// A report of a device that has sent so many bytes since the last one and listens on these ports.
pub(crate) fn report(id: u64, bytes_out: u64, ports: &[u16]) -> Value {
    let listening: Vec<Value> = ports
        .iter()
        .map(|port| json!({ "interface": "eth0", "port": port }))
        .collect();
    json!({
        "header": { "report_id": id, "version": "1.0" },
        "metrics": {
            "listening_tcp_ports": { "ports": listening, "total": ports.len() },
            "network_stats": { "bytes_in": 1, "bytes_out": bytes_out, "packets_in": 1, "packets_out": 1 },
        },
    })
}

fn tls(fleet: &Fleet, device: &Device) -> Arc<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(fleet.ca()).unwrap()).unwrap();
    let own = CertificateDer::pem_file_iter(device.certificate())
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(own, PrivateKeyDer::from_pem_file(device.key()).unwrap())
        .unwrap();
    Arc::new(config)
}
