//! Who gets through TLS, and what happens to those whose certificate changes while they are there.

use std::process::Command;
use std::sync::Arc;

use picket_endpoint::{BindError, Endpoint, Recheck};
use picket_mqtt::{Client, ConnectError, ConnectOptions, Ended, Qos};
use picket_pki::{Authority, Issued, KeyKind};
use rustls::ClientConfig;

use crate::raw::{Hello, Raw, V3, V5};
use crate::world::{
    VERSIONS, World, certificate_id, client_builder, client_config, closed, endpoint_config, patient, within,
};

/// Whether a client with this configuration gets in.
async fn gets_in(world: &World, tls: Arc<ClientConfig>) -> bool {
    match Client::connect(&world.options("c"), tls).await {
        Ok((client, _incoming)) => {
            client.disconnect().await;
            true
        }
        // The alert comes within the handshake, or with TLS 1.3 right behind it.
        Err(ConnectError::Tls(_) | ConnectError::Ended(Ended::Lost(_) | Ended::Closed)) => false,
        Err(error) => panic!("{error}: {error:?}"),
    }
}

#[tokio::test]
async fn a_certificate_is_let_in_while_it_is_registered_and_active() {
    let world = World::start().await;
    let other = Authority::create("somebody else's", 1_767_225_600_000).unwrap();
    for (what, issued) in [
        ("of the fleet's CA", world.issue("new")),
        (
            "of another CA",
            other.issue_device("new", KeyKind::P256, 1_767_225_600_000).unwrap(),
        ),
    ] {
        let id = certificate_id(&issued.certificate_pem);
        for versions in [&VERSIONS[..1], &VERSIONS[1..]] {
            let tls = client_config(
                world.authority.certificate_pem(),
                &issued.certificate_pem,
                &issued.private_key_pem,
                versions,
            );
            for (is_active, expected) in [(None, false), (Some(true), true), (Some(false), false)] {
                if let Some(is_active) = is_active {
                    world.gate.set_active(&id, is_active);
                }
                assert_eq!(
                    gets_in(&world, Arc::clone(&tls)).await,
                    expected,
                    "{what}, active {is_active:?}, {versions:?}"
                );
            }
            world.gate.forget(&id);
        }
    }
    let without = client_builder(world.authority.certificate_pem(), VERSIONS).with_no_client_auth();
    assert!(!gets_in(&world, Arc::new(without)).await, "no certificate at all");
    assert!(gets_in(&world, Arc::clone(&world.tls)).await);
}

#[tokio::test]
async fn a_certificate_without_its_key_is_worth_nothing() {
    let world = World::start().await;
    let own = world.issue("thief");
    for versions in [&VERSIONS[..1], &VERSIONS[1..]] {
        for (shown, expected) in [(&world.device.certificate_pem, false), (&own.certificate_pem, true)] {
            world.gate.register(&own.certificate_pem);
            let tls = client_config(world.authority.certificate_pem(), shown, &own.private_key_pem, versions);
            assert_eq!(gets_in(&world, tls).await, expected, "{versions:?}");
        }
    }
}

/// What plain `openssl x509 -req` makes: X.509 version 1, here with RSA.
pub(crate) fn version_1_certificate(folder: &std::path::Path) -> Issued {
    let run = |line: &str| {
        let output = Command::new("openssl")
            .args(line.split(' '))
            .current_dir(folder)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{line}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    };
    run("req -newkey rsa:2048 -nodes -keyout key.pem -subj /CN=old -out request.pem");
    run("x509 -req -in request.pem -signkey key.pem -days 7300 -out certificate.pem");
    let read = |name| std::fs::read_to_string(folder.join(name)).unwrap();
    let certificate_pem = read("certificate.pem");
    let facts = picket_pki::CertificateFacts::from_pem(&certificate_pem).unwrap();
    assert_eq!(facts.version, 1);
    Issued {
        public_key_pem: facts.public_key_pem(),
        fingerprint: facts.fingerprint,
        private_key_pem: read("key.pem"),
        certificate_pem,
    }
}

#[tokio::test]
async fn a_version_1_certificate_with_rsa_works_once_registered() {
    let world = World::start().await;
    let folder = tempfile::tempdir().unwrap();
    let old = version_1_certificate(folder.path());
    let configs = [&VERSIONS[..1], &VERSIONS[1..]].map(|versions| {
        client_config(
            world.authority.certificate_pem(),
            &old.certificate_pem,
            &old.private_key_pem,
            versions,
        )
    });
    for tls in &configs {
        assert!(!gets_in(&world, Arc::clone(tls)).await);
    }
    world.gate.register(&old.certificate_pem);
    for tls in &configs {
        assert!(gets_in(&world, Arc::clone(tls)).await);
    }
}

#[tokio::test]
async fn a_certificate_set_inactive_cuts_its_sessions_and_no_others() {
    let world = World::start().await;
    let other = world.issue("other");
    world.gate.register(&other.certificate_pem);
    let (spared, _incoming) = Client::connect(&world.options("spared"), world.tls_of(&other))
        .await
        .unwrap();
    let (_a, mut of_a) = world.connect("a").await;
    let mut b = Raw::connect(&world, V5, Hello::new("b")).await;
    let id = certificate_id(&world.device.certificate_pem);
    world.gate.set_active(&id, false);
    world.handle.recheck(Recheck::Certificate(id)).await;
    assert_eq!(b.end().await, Some(0x87));
    closed(&mut of_a).await;
    world.until_connected("a", false).await;
    spared.publish("t", "x", Qos::AtLeastOnce, false).await.unwrap();
    assert_eq!(world.count(|counters| counters.cut), 2);
}

#[tokio::test]
async fn a_resumed_handshake_is_asked_about_at_connect() {
    let world = World::start().await;
    for (versions, what) in [(&VERSIONS[..1], "1.3"), (&VERSIONS[1..], "1.2")] {
        let id = certificate_id(&world.device.certificate_pem);
        world.gate.set_active(&id, true);
        let tls = client_config(
            world.authority.certificate_pem(),
            &world.device.certificate_pem,
            &world.device.private_key_pem,
            versions,
        );
        let mut tls = Arc::unwrap_or_clone(tls);
        tls.resumption = rustls::client::Resumption::in_memory_sessions(8);
        let tls = Arc::new(tls);
        let mut first = Raw::open(&world, &tls, V3).await.unwrap();
        first.send(&Hello::new("c").bytes(V3)).await;
        assert_eq!(first.packet().await.unwrap().body, [0, 0]);
        world.gate.set_active(&id, false);
        let mut second = Raw::open(&world, &tls, V3).await.unwrap();
        assert!(second.is_resumed(), "TLS {what}");
        second.send(&Hello::new("d").bytes(V3)).await;
        assert_eq!(second.packet().await.unwrap().body, [0, 5], "TLS {what}");
        assert_eq!(second.packet().await, None);
    }
}

#[tokio::test]
async fn stopping_tells_every_client_and_leaves_no_will() {
    let world = World::with(patient()).await;
    let mut clients = Vec::new();
    for n in 0..20 {
        let name = format!("c{n}");
        let hello = Hello {
            will: Some(("will", "x")),
            ..Hello::new(&name)
        };
        let mut client = Raw::connect(&world, V5, hello).await;
        assert_eq!(client.subscribe(&["will"]).await, [1]);
        clients.push(client);
    }
    world.stop().await;
    for mut client in clients {
        let rest = within("the end", client.rest()).await;
        assert_eq!(rest.len(), 1, "{rest:?}");
        assert_eq!((rest[0].head, rest[0].body[0]), (0xe0, 0x8b));
    }
}

#[tokio::test]
async fn a_second_address_serves_those_who_must_name_the_protocol() {
    let world = World::start().await;
    for (protocols, expected) in [
        (vec![], true),
        (vec![b"x-amzn-mqtt-ca".to_vec()], true),
        (vec![b"h2".to_vec(), b"x-amzn-mqtt-ca".to_vec()], true),
        (vec![b"h2".to_vec()], false),
    ] {
        for address in [world.address, world.alpn_address] {
            let mut tls = (*world.tls).clone();
            tls.alpn_protocols.clone_from(&protocols);
            let options = ConnectOptions::new("127.0.0.1", address.port(), "c");
            let connected = Client::connect(&options, Arc::new(tls)).await;
            assert_eq!(connected.is_ok(), expected, "{protocols:?}");
        }
    }
}

#[tokio::test]
async fn an_address_that_is_taken_and_a_key_of_another_are_told() {
    let world = World::start().await;
    let bind = async |address, private_key_pem: &str| {
        let config = endpoint_config(address, &world.device.certificate_pem, private_key_pem, patient());
        let (gate, inbox, book) = (&world.gate, &world.inbox, &world.book);
        Endpoint::bind(config, Arc::clone(gate), Arc::clone(inbox), Arc::clone(book))
            .await
            .map(|_| ())
    };
    let taken = bind(world.address, &world.device.private_key_pem).await;
    assert!(matches!(taken, Err(BindError::Listen { address, .. }) if address == world.address));
    let any = ([127, 0, 0, 1], 0).into();
    let other = bind(any, &world.issue("other").private_key_pem).await;
    assert!(matches!(other, Err(BindError::Tls(_))));
    bind(any, &world.device.private_key_pem).await.unwrap();
}
