//! What a compromised device does on the network: with this machine's loopback only, and bounded.

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::mode::{Attack, Order};
use crate::reading;

/// The most bytes of one exfiltration.
pub(crate) const N_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// The most addresses of one scan: each takes three sockets.
pub(crate) const N_REMOTES_MAX: u16 = 250;
/// The most messages of a flood in a second.
pub(crate) const N_MESSAGES_PER_SEC_MAX: u16 = 1000;
/// The longest attack.
pub(crate) const DURATION_SECS_MAX: u64 = 3600;

/// An attack under way; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Running {
    /// What is done, in words.
    pub(crate) detail: String,
    _tasks: JoinSet<()>,
}

/// Begins what needs no MQTT, and says what is done.
pub(crate) async fn start(order: &Order) -> io::Result<Running> {
    let mut tasks = JoinSet::new();
    let mut details = Vec::new();
    for attack in &order.attacks {
        details.push(match attack {
            Attack::Payload => format!(
                "publishes {} random characters instead of temperatures",
                reading::N_CHARACTERS
            ),
            Attack::Flood => format!("publishes {} messages a second", order.n_messages_per_sec),
            Attack::Exfiltrate => exfiltrate(order.n_bytes.min(N_BYTES_MAX), &mut tasks).await?,
            Attack::Backdoor => backdoor(order.port, &mut tasks).await?,
            Attack::Scan => scan(order.n_remotes.min(N_REMOTES_MAX), &mut tasks).await?,
        });
    }
    Ok(Running {
        detail: details.join(", "),
        _tasks: tasks,
    })
}

/// The receiving end is this process too: nothing leaves the machine.
async fn exfiltrate(n_bytes: u64, tasks: &mut JoinSet<()>) -> io::Result<String> {
    let sink = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = sink.local_addr()?;
    let outward = TcpStream::connect(address).await?;
    let (inward, _) = sink.accept().await?;
    tasks.spawn(async move {
        let _ = tokio::join!(swallow(inward), pour(outward, n_bytes));
    });
    Ok(format!("sends {n_bytes} bytes to {address}"))
}

async fn pour(mut stream: TcpStream, n_bytes: u64) -> io::Result<()> {
    let chunk = [b'x'; 16 * 1024];
    let mut n_left = n_bytes;
    while 0 < n_left {
        let n = usize::try_from(n_left).unwrap_or(usize::MAX).min(chunk.len());
        stream.write_all(chunk.get(..n).unwrap_or_default()).await?;
        n_left -= u64::try_from(n).unwrap_or(n_left);
        // The sensor lives on the same thread, and goes on with its work meanwhile.
        tokio::task::yield_now().await;
    }
    stream.shutdown().await
}

/// Reads to the end; answers how much it was.
async fn swallow(mut stream: TcpStream) -> io::Result<u64> {
    let mut chunk = vec![0; 16 * 1024];
    let mut n_bytes = 0;
    loop {
        match u64::try_from(stream.read(&mut chunk).await?).unwrap_or(u64::MAX) {
            0 => return Ok(n_bytes),
            n => n_bytes += n,
        }
    }
}

/// It lets everybody in and says nothing.
async fn backdoor(port: u16, tasks: &mut JoinSet<()>) -> io::Result<String> {
    let door = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    let address = door.local_addr()?;
    tasks.spawn(async move { while door.accept().await.is_ok() {} });
    Ok(format!("listens on {address}"))
}

/// All of 127.0.0.0/8 is this machine; the connections stay, so that whoever looks sees them.
async fn scan(n_remotes: u16, tasks: &mut JoinSet<()>) -> io::Result<String> {
    let mut connections = Vec::new();
    for address in addresses(n_remotes, &mut fastrand::Rng::new()) {
        let remote = TcpListener::bind(SocketAddr::from((address, 0))).await?;
        let outward = TcpStream::connect(remote.local_addr()?).await?;
        let (inward, _) = remote.accept().await?;
        connections.push((outward, inward));
    }
    tasks.spawn(async move {
        std::future::pending::<()>().await;
        drop(connections);
    });
    Ok(format!("is connected to {n_remotes} addresses in 127.0.0.0/8"))
}

/// Different addresses of the loopback that nothing else uses.
fn addresses(n: u16, random: &mut fastrand::Rng) -> BTreeSet<Ipv4Addr> {
    let mut addresses = BTreeSet::new();
    while addresses.len() < usize::from(n) {
        addresses.insert(Ipv4Addr::new(127, random.u8(1..), random.u8(..), random.u8(1..255)));
    }
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(attack: Attack) -> Order {
        Order {
            at_millis: 0,
            attacks: vec![attack],
            until_millis: 0,
            port: 0,
            n_bytes: 100_000,
            n_remotes: 20,
            n_messages_per_sec: 5,
        }
    }

    #[test]
    fn addresses_are_different_ones_of_the_loopback() {
        let addresses = addresses(N_REMOTES_MAX, &mut fastrand::Rng::with_seed(7));
        assert_eq!(addresses.len(), usize::from(N_REMOTES_MAX));
        assert!(
            addresses
                .iter()
                .all(|address| address.is_loopback() && *address != Ipv4Addr::LOCALHOST)
        );
    }

    #[tokio::test]
    async fn a_backdoor_is_open_until_the_attack_ends() {
        let running = start(&order(Attack::Backdoor)).await.unwrap();
        let address: SocketAddr = running.detail.strip_prefix("listens on ").unwrap().parse().unwrap();
        TcpStream::connect(address).await.unwrap();
        drop(running);
        // Aborting takes effect when the task is next scheduled.
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn exfiltration_sends_what_it_says() {
        let sink = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let outward = TcpStream::connect(sink.local_addr().unwrap()).await.unwrap();
        let (inward, _) = sink.accept().await.unwrap();
        let (n_bytes, sent) = tokio::join!(swallow(inward), pour(outward, 100_001));
        sent.unwrap();
        assert_eq!(n_bytes.unwrap(), 100_001);
        let running = start(&order(Attack::Exfiltrate)).await.unwrap();
        assert!(
            running.detail.starts_with("sends 100000 bytes to 127.0.0.1:"),
            "{}",
            running.detail
        );
    }

    #[tokio::test]
    async fn a_scan_connects_and_stays() {
        let running = start(&order(Attack::Scan)).await.unwrap();
        assert_eq!(running.detail, "is connected to 20 addresses in 127.0.0.0/8");
    }

    #[tokio::test]
    async fn several_attacks_are_one_compromise() {
        let order = Order {
            attacks: vec![Attack::Payload, Attack::Scan, Attack::Backdoor],
            ..order(Attack::Payload)
        };
        let running = start(&order).await.unwrap();
        let details: Vec<&str> = running.detail.split(", ").collect();
        assert_eq!(
            details[..2],
            [
                "publishes 3000 random characters instead of temperatures",
                "is connected to 20 addresses in 127.0.0.0/8"
            ]
        );
        let door: SocketAddr = details[2].strip_prefix("listens on ").unwrap().parse().unwrap();
        TcpStream::connect(door).await.unwrap();
    }

    #[tokio::test]
    async fn a_port_in_use_is_said() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let order = Order {
            port: taken.local_addr().unwrap().port(),
            ..order(Attack::Backdoor)
        };
        assert_eq!(start(&order).await.unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
