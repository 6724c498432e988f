//! CONNECT: whether a client comes in, and as what.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use picket_model::meter::{ClientMeter, Tally};
use picket_model::name::DeviceName;
use picket_model::topic::is_reserved;
use picket_mqtt::link::{Link, Progress};
use picket_mqtt::topic;
use picket_mqtt::wire::{Answer, Codec, Connect, ConnectAck, ConnectAckReason, Packet, QoS, Version, Will};
use picket_policy::{Action, ConnectAttributes};
use tokio::io::{AsyncRead, AsyncWrite};

use super::Connection;
use super::end::Seat;
use super::reports::Reports;
use crate::doors::Refusal;
use crate::live::{Arrival, Live, NotAdmitted, Peer, with_connection};
use crate::rights::Rights;
use crate::shared::Shared;

/// Speaks CONNECT. `None`: the client did not come in, and the connection is closed.
pub(super) async fn greet<S>(shared: &Arc<Shared>, link: &mut Link<S>, peer: Peer) -> Option<Connection>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut codec = Codec::new(shared.limits.packet_size_bytes_max);
    let connect = tokio::time::timeout(shared.limits.connect_timeout, read_connect(link, &mut codec)).await;
    let Ok(Some(connect)) = connect else {
        shared.counters.handshakes_failed.add_one();
        return None;
    };
    match admit(shared, codec, *connect, peer) {
        Ok((mut connection, ack)) => {
            // It is small: it cannot fail to fit.
            let _ = connection.answer(Answer::ConnectAck(Box::new(ack)), &mut link.outbound);
            Some(connection)
        }
        Err((reason, mut codec)) => {
            let ack = ConnectAck {
                reason_code: reason,
                ..ConnectAck::default()
            };
            let _ = codec.encode(Answer::ConnectAck(Box::new(ack)), &mut link.outbound);
            // The client may be gone: then it hears nothing.
            drop(tokio::time::timeout(shared.limits.goodbye_timeout, link.close()).await);
            None
        }
    }
}

async fn read_connect<S>(link: &mut Link<S>, codec: &mut Codec) -> Option<Box<Connect>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        match codec.decode(&mut link.inbound) {
            Ok(Some(Packet::Connect(connect))) => return Some(connect),
            Ok(None) => {}
            Ok(Some(_)) | Err(_) => return None,
        }
        match link.progress(true).await {
            Ok(Progress::Read | Progress::Sent) => {}
            Ok(Progress::Closed) | Err(_) => return None,
        }
    }
}

type Admitted = Result<(Connection, ConnectAck), (ConnectAckReason, Codec)>;

fn admit(shared: &Arc<Shared>, codec: Codec, connect: Connect, peer: Peer) -> Admitted {
    let checked = check(shared, codec.version(), &connect).and_then(|(client_id, is_assigned)| {
        authorize(shared, &connect, &client_id, &peer)?;
        Ok((client_id, is_assigned))
    });
    let (client_id, is_assigned) = match checked {
        Ok(checked) => checked,
        Err(reason) => {
            if let Ok(client_id) = connect.client_id.parse() {
                note_refusal(shared, client_id, &peer, reason);
            }
            return Err((reason, codec));
        }
    };
    let terms = Terms::of(shared, &connect);
    let attributes = attributes(&connect);
    let at = (shared.clock)();
    let entered = shared
        .table
        .enter(client_id.as_str(), (at, connect.clean_start), |session, version| {
            let arrival = Arrival {
                at,
                connection: shared.ids.next(),
                version,
                keep_alive: terms.keep_alive,
                is_clean: connect.clean_start,
                keep_secs: terms.keep_secs,
            };
            Live::new(client_id.clone(), peer, attributes, session, arrival)
        });
    if let Some(ended) = &entered.ended {
        shared.router.forget(ended);
    }
    if entered.has_taken_over {
        shared.counters.taken_over.add_one();
    }
    let live = entered.live;
    let mut seat = Seat::take(Arc::clone(shared), Arc::clone(&live));
    // Asked again now that a recheck can find the session: what changed since the first time is seen here, what changes
    // from now on is seen by the recheck.
    if let Err(refused) = live.admit(&*shared.doorkeeper, &shared.clock) {
        let reason = refusal(shared, refused);
        note_refusal(shared, client_id, &live.peer, reason);
        return Err((reason, codec));
    }
    seat.announce();
    drop_denied_subscriptions(shared, &live);
    shared.counters.accepted.add_one();
    let ack = terms.ack(shared, &connect, entered.is_present, is_assigned.then_some(&client_id));
    let connection = Connection {
        shared: Arc::clone(shared),
        live,
        seat: Some(seat),
        codec,
        will: connect.will.map(Box::new),
        reports: Reports::default(),
        silence_max: terms.keep_alive.mul_f32(1.5),
        n_outbound_max: usize::from(connect.receive_max.min(shared.limits.n_outbound_max)),
        packet_size_bytes_max: connect
            .packet_size_bytes_max
            .and_then(|max| usize::try_from(max.get()).ok())
            .unwrap_or(usize::MAX),
        aliases: None,
    };
    Ok((connection, ack))
}

/// What needs no policy: the client id, and whether it was made up here.
fn check(shared: &Shared, version: Version, connect: &Connect) -> Result<(DeviceName, bool), ConnectAckReason> {
    let refused = |reason| {
        shared.counters.refused_protocol.add_one();
        reason
    };
    if connect.is_level_3 {
        return Err(refused(ConnectAckReason::UnsupportedProtocolVersion));
    }
    if connect.has_auth_method {
        return Err(refused(ConnectAckReason::BadAuthenticationMethod));
    }
    if shared.is_full() && shared.table.live(&connect.client_id).is_none() {
        return Err(refused(ConnectAckReason::ServerBusy));
    }
    if connect.will.as_ref().is_some_and(|will| will.qos == QoS::ExactlyOnce) {
        return Err(refused(ConnectAckReason::QosNotSupported));
    }
    let is_assigned = connect.client_id.is_empty() && version == Version::V5;
    let client_id = if is_assigned {
        assigned_client_id().ok_or(ConnectAckReason::ServerUnavailable)?
    } else if is_reserved(&connect.client_id) {
        return Err(refused(ConnectAckReason::ClientIdentifierNotValid));
    } else {
        let named = connect.client_id.parse();
        named.map_err(|_| refused(ConnectAckReason::ClientIdentifierNotValid))?
    };
    Ok((client_id, is_assigned))
}

/// Whether the client may come in, and leave its will: asked before anybody else's session is touched.
fn authorize(shared: &Shared, connect: &Connect, client_id: &DeviceName, peer: &Peer) -> Result<(), ConnectAckReason> {
    let access = shared
        .doorkeeper
        .admit(&peer.certificate, client_id)
        .map_err(|refused| refusal(shared, NotAdmitted::Refused(refused)))?;
    let mut rights = Rights::default();
    rights.grant(with_connection(access, peer, attributes(connect)), &shared.clock);
    if !rights.allows(Action::Connect, client_id.as_str()) {
        return Err(refusal(shared, NotAdmitted::Denied));
    }
    match &connect.will {
        Some(will) => authorize_will(shared, &mut rights, will),
        None => Ok(()),
    }
}

fn authorize_will(shared: &Shared, rights: &mut Rights, will: &Will) -> Result<(), ConnectAckReason> {
    // Reports are not wills: nothing that begins with `$` is.
    if topic::check_name(&will.topic).is_err() || is_reserved(&will.topic) {
        shared.counters.refused_protocol.add_one();
        return Err(ConnectAckReason::TopicNameInvalid);
    }
    if !rights.allows_publish(&will.topic, will.retain) {
        return Err(refusal(shared, NotAdmitted::Denied));
    }
    Ok(())
}

fn refusal(shared: &Shared, refused: NotAdmitted) -> ConnectAckReason {
    let counter = match refused {
        NotAdmitted::Refused(
            Refusal::UnknownCertificate | Refusal::InactiveCertificate | Refusal::ExpiredCertificate,
        ) => &shared.counters.refused_certificate,
        NotAdmitted::Refused(Refusal::Quarantined) => &shared.counters.refused_quarantined,
        NotAdmitted::Denied => &shared.counters.refused_policy,
    };
    counter.add_one();
    ConnectAckReason::NotAuthorized
}

/// Takes down an attempt that failed. Of one that names nobody there is nothing to say.
fn note_refusal(shared: &Shared, client_id: DeviceName, peer: &Peer, reason: ConnectAckReason) {
    if is_reserved(client_id.as_str()) {
        return;
    }
    let is_denied = reason == ConnectAckReason::NotAuthorized;
    if is_denied {
        shared.tell_refused(&client_id, peer);
    }
    let mut total = Tally::default();
    total.note_address(peer.address);
    shared.ledger.refused(ClientMeter {
        is_genuine: shared.doorkeeper.is_genuine(&peer.certificate, &client_id),
        client_id,
        certificate: peer.certificate,
        n_refused_attempts: 1,
        n_authorization_failures: u32::from(is_denied),
        total,
        dimensions: Vec::new(),
    });
}

/// A session that goes on keeps only the subscriptions that policy allows now.
fn drop_denied_subscriptions(shared: &Shared, live: &Live) {
    for subscription in live.session.subscriptions() {
        let written = &*subscription.written;
        let filter = topic::split_share(written).map_or(written, |(_, filter)| filter);
        if !live.rights().allows_subscribe(written, filter) {
            shared.counters.denied.add_one();
            live.session.remove(written);
            shared.router.unsubscribe(&live.session, written);
        }
    }
}

fn attributes(connect: &Connect) -> ConnectAttributes {
    ConnectAttributes {
        // What MQTT 5 starts cleanly may be kept afterwards all the same.
        persistent: !connect.clean_start || connect.session_expiry_secs.is_none_or(|secs| 0 < secs),
        last_will: connect.will.is_some(),
    }
}

/// What the client gets of what it asked for.
struct Terms {
    keep_alive: Duration,
    keep_secs: u32,
}

impl Terms {
    fn of(shared: &Shared, connect: &Connect) -> Self {
        let limits = &shared.limits;
        let keep_alive = match connect.keep_alive_secs {
            0 => limits.keep_alive_max,
            secs => Duration::from_secs(u64::from(secs)).clamp(limits.keep_alive_min, limits.keep_alive_max),
        };
        let default_secs = u32::try_from(limits.session_expiry_default.as_secs()).unwrap_or(u32::MAX);
        let keep_secs = connect
            .session_expiry_secs
            .unwrap_or(default_secs)
            .min(shared.session_expiry_secs_max());
        Self { keep_alive, keep_secs }
    }

    fn ack(&self, shared: &Shared, connect: &Connect, is_present: bool, assigned: Option<&DeviceName>) -> ConnectAck {
        let keep_alive_secs = u16::try_from(self.keep_alive.as_secs()).unwrap_or(u16::MAX);
        let limits = &shared.limits;
        ConnectAck {
            session_present: is_present,
            session_expiry_interval_secs: connect
                .session_expiry_secs
                .filter(|asked| *asked != self.keep_secs)
                .map(|_| self.keep_secs),
            receive_max: std::num::NonZeroU16::new(limits.n_inbound_max).unwrap_or(std::num::NonZeroU16::MIN),
            max_qos: QoS::AtLeastOnce,
            max_packet_size: Some(limits.packet_size_bytes_max),
            assigned_client_id: assigned.map(|name| name.as_str().into()),
            topic_alias_max: limits.n_topic_aliases_max,
            subscription_identifiers_available: false,
            server_keepalive_sec: (keep_alive_secs != connect.keep_alive_secs).then_some(keep_alive_secs),
            ..ConnectAck::default()
        }
    }
}

/// A client id that nobody has: 128 random bits. `None` if there is no randomness.
fn assigned_client_id() -> Option<DeviceName> {
    let mut bytes = [0; 16];
    rustls::crypto::aws_lc_rs::default_provider()
        .secure_random
        .fill(&mut bytes)
        .ok()?;
    let mut text = String::from("auto-");
    for byte in bytes {
        write!(text, "{byte:02x}").ok()?;
    }
    text.parse().ok()
}
