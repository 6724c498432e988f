//! What an idle device costs. The endpoint has a process of its own, which nothing else fills.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use picket_mqtt::Client;
use rustls::ClientConfig;
use tokio::process::{Child, Command};

use crate::world::{PATIENCE, VERSIONS, World, client_config, eventually, write_credentials};

/// The most memory that a connection over TLS 1.3 may take while nothing happens, bytes.
const IDLE_SIZE_BYTES_MAX: usize = 20 * 1024;

/// Connections before the first measurement, so that what is made once is there.
const N_BEFORE: usize = 100;

/// Connections between the two measurements.
const N_MEASURED: usize = 500;

/// Names the folder in which the endpoint of a process of its own leaves how to reach it.
const FOLDER: &str = "PICKET_TEST_MEMORY_FOLDER";

/// Not a test by itself: what the other one starts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_of_its_own() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let world = World::start().await;
    write_credentials(
        Path::new(&folder),
        &world,
        &world.device.certificate_pem,
        &world.device.private_key_pem,
    );
    // Renamed, so that it is never seen half written.
    let port = Path::new(&folder).join("port");
    std::fs::write(port.with_extension("new"), world.address.port().to_string()).unwrap();
    std::fs::rename(port.with_extension("new"), &port).unwrap();
    let collecting = world.handle.clone();
    tokio::spawn(async move {
        let mut second = tokio::time::interval(std::time::Duration::from_secs(1));
        loop {
            second.tick().await;
            collecting.take_meters();
        }
    });
    // Until the other side has gone.
    tokio::task::block_in_place(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink())).unwrap();
}

/// An endpoint in a process of its own, which ends with the value.
pub(crate) struct Apart {
    pub(crate) child: Child,
    pub(crate) port: u16,
    pub(crate) tls: Arc<ClientConfig>,
    _folder: tempfile::TempDir,
}

impl Apart {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "memory::an_endpoint_of_its_own"])
            .env(FOLDER, folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).ok();
        let port = eventually("the endpoint listens", || read("port"))
            .await
            .parse()
            .unwrap();
        let tls = client_config(
            &read("ca.pem").unwrap(),
            &read("cert.pem").unwrap(),
            &read("key.pem").unwrap(),
            VERSIONS,
        );
        Self {
            child,
            port,
            tls,
            _folder: folder,
        }
    }
}

fn resident_size_bytes(child: &Child) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id().unwrap())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

#[tokio::test]
async fn an_idle_connection_takes_little_memory() {
    let Apart {
        child,
        port,
        tls,
        _folder,
    } = Apart::start().await;
    let mut clients = Vec::new();
    let mut sizes_bytes = Vec::new();
    for n in [N_BEFORE, N_MEASURED] {
        for _ in 0..n {
            let mut options = picket_mqtt::ConnectOptions::new("127.0.0.1", port, format!("device-{}", clients.len()));
            options.connect_timeout = PATIENCE;
            let (client, incoming) = Client::connect(&options, tls.clone()).await.unwrap();
            // As agents do: two subscriptions, and then silence.
            let topic = |ending| format!("$aws/things/{}/defender/metrics/json/{ending}", options.client_id);
            let (accepted, rejected) = (topic("accepted"), topic("rejected"));
            let filters = [
                (accepted.as_str(), picket_mqtt::Qos::AtLeastOnce),
                (rejected.as_str(), picket_mqtt::Qos::AtLeastOnce),
            ];
            client.subscribe(&filters).await.unwrap();
            clients.push((client, incoming));
        }
        sizes_bytes.push(resident_size_bytes(&child));
    }
    let each_bytes = (sizes_bytes[1] - sizes_bytes[0]) / N_MEASURED;
    println!("an idle connection takes {each_bytes} bytes");
    assert!(
        each_bytes <= IDLE_SIZE_BYTES_MAX,
        "an idle connection takes {each_bytes} bytes, expected at most {IDLE_SIZE_BYTES_MAX}"
    );
}
