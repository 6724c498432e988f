//! What the engine makes of clients: their connections, and what the endpoint measured of them.

use picket_model::meter::{Meter, Presence};
use picket_model::metric::BrokerMetric;
use picket_model::name::{CertificateId, DeviceName};
use picket_model::time::Timestamp;

use crate::engine::Engine;
use crate::fleet::DeviceKey;
use crate::moment::Moment;
use crate::outcome::Outcome;
use crate::presence;
use crate::rule::Rule;
use crate::rulebook::Membership;
use crate::slot::Occasion;
use crate::source::{Amount, Source};

impl Engine {
    pub(crate) fn meter(&mut self, (at, now): (Timestamp, Moment), meter: &Meter, outcome: &mut Outcome) {
        for client in &meter.clients {
            let key = self.client(&client.client_id, at);
            if let Some(device) = self.fleet.device_mut(key) {
                let presence = device
                    .presence
                    .get_or_insert_with(|| Box::new(presence::Presence::begun(now)));
                presence.act(client.is_genuine, now);
            }
            let amount = |rule: &Rule| rule.source.metered(client);
            self.measure(key, (at, now), (client.is_genuine, client.certificate), amount, outcome);
        }
        self.drop_surplus((at, now), &mut outcome.changes);
    }

    pub(crate) fn arrive(&mut self, (at, now): (Timestamp, Moment), arrival: &Presence, outcome: &mut Outcome) {
        let key = self.client(&arrival.client_id, at);
        if let Some(device) = self.fleet.device_mut(key) {
            let presence = device
                .presence
                .get_or_insert_with(|| Box::new(presence::Presence::begun(now)));
            presence.arrive(arrival, now);
        }
        let amount = |rule: &Rule| rule.source.moved(true, arrival.address);
        self.measure(
            key,
            (at, now),
            (arrival.is_genuine, arrival.certificate),
            amount,
            outcome,
        );
        self.age(key, (at, now), arrival.is_genuine, outcome);
        self.drop_surplus((at, now), &mut outcome.changes);
    }

    pub(crate) fn leave(&mut self, (at, now): (Timestamp, Moment), departed: &Presence, outcome: &mut Outcome) {
        let key = self.client(&departed.client_id, at);
        if let Some(device) = self.fleet.device_mut(key) {
            let presence = device
                .presence
                .get_or_insert_with(|| Box::new(presence::Presence::begun(now)));
            presence.leave(departed, now);
        }
        let amount = |rule: &Rule| rule.source.moved(false, departed.address);
        self.measure(
            key,
            (at, now),
            (departed.is_genuine, departed.certificate),
            amount,
            outcome,
        );
        self.schedule(key);
        self.drop_surplus((at, now), &mut outcome.changes);
    }

    /// The server began anew: whoever was connected is not any more, for no fault of its own.
    pub(crate) fn end_sessions(&mut self, now: Moment) {
        for key in self.fleet.keys().collect::<Vec<_>>() {
            let Some(presence) = self.fleet.device_mut(key).and_then(|device| device.presence.as_mut()) else {
                continue;
            };
            presence.end(now);
            self.schedule(key);
        }
    }

    /// The device that goes by this client id.
    fn client(&mut self, client_id: &DeviceName, at: Timestamp) -> DeviceKey {
        let key = match self.fleet.find(client_id) {
            Some(key) => key,
            None => self.admit(client_id.clone(), Membership::default(), at),
        };
        if self.fleet.is_stranger(key) {
            self.fleet.estrange(key);
        }
        key
    }

    /// Puts what a record holds of a client into the windows of the rules that it concerns.
    fn measure<'r>(
        &mut self,
        key: DeviceKey,
        (at, now): (Timestamp, Moment),
        (is_genuine, certificate): (bool, CertificateId),
        amount: impl Fn(&Rule) -> Option<Amount<'r>>,
        outcome: &mut Outcome,
    ) {
        let Some(device) = self.fleet.device_mut(key) else {
            return;
        };
        let occasion = Occasion {
            thing: &device.name,
            at,
            now,
        };
        let n_before = outcome.changes.len();
        let rules = self.rulebook.rules(device.cohort);
        for (slot, rule) in device.slots.iter_mut().zip(rules.iter()) {
            if let Some(amount) = amount(rule) {
                let both = (amount, is_genuine.then_some(amount));
                let is_datapoint = slot.measure(rule, both, Some(certificate), occasion, &mut outcome.changes);
                self.counters.n_datapoints += u64::from(is_datapoint);
            }
        }
        if n_before < outcome.changes.len() {
            self.schedule(key);
        }
    }

    /// Gives the rules about the time away their datapoint: the client is back.
    fn age(&mut self, key: DeviceKey, (at, now): (Timestamp, Moment), is_genuine: bool, outcome: &mut Outcome) {
        let Some(device) = self.fleet.device_mut(key) else {
            return;
        };
        let rules = self.rulebook.rules(device.cohort);
        let is_it = |rule: &Rule| matches!(&rule.source, Source::Broker(BrokerMetric::DisconnectDuration, _));
        for (nth, rule) in rules.iter().enumerate().filter(|(_, rule)| is_it(rule)) {
            let is_datapoint = device.note_age(nth, rule, (at, now), is_genuine, outcome);
            self.counters.n_datapoints += u64::from(is_datapoint);
        }
        self.schedule(key);
    }
}
