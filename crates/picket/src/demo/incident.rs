//! What happens when somebody breaks in: compromise, alarm, quarantine, alert, release. Each `until` is a fact that has to
//! be observed.

use std::collections::BTreeSet;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::alert::Inbox;
use super::cast::Cast;
use super::clock;
use super::normal::{self, Baseline, in_words};
use super::screen::Mark;
use super::stage::Stage;
use super::story::{
    AGENT_LOG, ALERTS, BYTES, DEVICE, OTHER_CLIENT, OTHER_LOG, PORTS, PROFILE, SIZE, THING, find, flowing,
    grow_used_to, n_accepted, n_published, ready, start_other_client,
};

const QUARANTINE: &str = "IsolatedDevices";

/// What an agent says that may not connect: MQTT's `not authorized`.
const NOT_AUTHORIZED: &str = "connection refused with code 5";

/// How often an alarm is looked for in the list, in looks for its alert.
const N_LOOKS: u32 = 20;

/// From the response to the recovery.
pub(super) fn play(stage: &mut Stage, baseline: &mut Baseline) -> anyhow::Result<()> {
    let mut incident = begin(stage, baseline)?;
    alarm(stage, &mut incident, baseline)?;
    quarantine(stage, &mut incident)?;
    alerts(stage, &mut incident)?;
    refusal(stage)?;
    release(stage, &mut incident)?;
    recovery(stage, &mut incident, baseline)?;
    sum_up(stage, &incident)
}

/// What was observed; times in seconds since the epoch.
#[derive(Default)]
struct Incident {
    compromised_at: f64,
    backdoor: u16,
    inbox: Inbox,
    alarmed_at: f64,
    ports_violation: String,
    bytes_violation: String,
    disconnected_at: f64,
    alerted_at: f64,
    released_at: f64,
    flowing_at: f64,
    accepted_at: f64,
}

impl Incident {
    fn look(&mut self, cast: &Cast) -> anyhow::Result<()> {
        self.inbox.look(&cast.said(ALERTS), clock::now_secs())
    }

    fn since_compromise(&self, at_secs: f64) -> String {
        format!("{:.2} s after the compromise", at_secs - self.compromised_at)
    }
}

/// The agent has just reported when this begins, so that all that the intruder does is in its next report, unless this
/// machine is very busy.
fn begin(stage: &mut Stage, baseline: &Baseline) -> anyhow::Result<Incident> {
    stage.screen.heading("Response: what is to be done about an alarm")?;
    let address = ready(&stage.cast.said(ALERTS)).context("the webhook receiver has no address")?;
    let url = format!("http://{address}/alerts");
    let isolate = ["--behavior", BYTES, "--quarantine"];
    for (response, deed) in [("TellPeople", &["--webhook", &url][..]), ("Isolate", &isolate)] {
        let create = [&["response", "create", response, "--profile", PROFILE], deed].concat();
        stage.tell(Mark::Command, &format!("picket {}", create.join(" ")))?;
        stage.cast.operator(&create)?;
    }

    stage
        .screen
        .heading("Compromise: somebody breaks into SensorDevice03")?;
    let (n_bytes, backdoor) = (baseline.n_bytes_of_burst().to_string(), baseline.free_port());
    let port = backdoor.to_string();
    // The door is open before the first byte leaves: so a report has the port or both, and when the bytes have the device
    // cut off, both were reported.
    let attacks = ["--attack", "payload", "--attack", "backdoor", "--port", &port];
    let arguments = [&attacks[..], &["--attack", "exfiltrate", "--bytes", &n_bytes]].concat();
    let command = format!("picket-sim compromise -d {DEVICE} {}", arguments.join(" "));
    stage.tell(Mark::Command, &command)?;
    let incident = Incident {
        compromised_at: clock::now_secs(),
        backdoor,
        ..Incident::default()
    };
    stage.cast.tell_sensor("compromise", DEVICE, &arguments)?;
    for line in [
        "it publishes 3,000 random characters instead of temperatures,".to_owned(),
        format!(
            "listens on port {port} for more orders, and sends {} away",
            in_words(baseline.n_bytes_of_burst())
        ),
    ] {
        stage.tell(Mark::Trouble, &line)?;
    }
    Ok(incident)
}

fn alarm(stage: &mut Stage, incident: &mut Incident, baseline: &Baseline) -> anyhow::Result<()> {
    stage.screen.heading("Alarm")?;
    let mut n_looks = 0;
    stage.until("an alarm is raised", |cast| {
        // An alert may come before anybody has asked for a list, and its time is to be noted.
        incident.look(cast)?;
        n_looks += 1;
        let is_listed = || -> anyhow::Result<bool> { Ok(!violations(cast)?.is_empty()) };
        let is_raised = !incident.inbox.arrived.is_empty() || (n_looks % N_LOOKS == 0 && is_listed()?);
        Ok(is_raised.then_some(()))
    })?;
    for behavior in [PORTS, BYTES] {
        stage.until(&format!("the alert about {behavior} is delivered"), |cast| {
            incident.look(cast)?;
            Ok(incident.inbox.find("in-alarm", THING, behavior).map(drop))
        })?;
    }
    let listed = stage.cast.operator(&["violation", "list", "--thing", THING])?;
    let id_of = |behavior: &str| {
        let violation = find(&listed, behavior).with_context(|| format!("no violation of {behavior} is listed"))?;
        id(&violation).with_context(|| format!("the violation of {behavior} has no id"))
    };
    (incident.ports_violation, incident.bytes_violation) = (id_of(PORTS)?, id_of(BYTES)?);
    let named = offending(&stage.cast, &incident.ports_violation)?;
    let backdoor = incident.backdoor;
    ensure!(
        named.contains(&backdoor),
        "the alarm about ports is about {named:?}, not about the backdoor's port {backdoor}: another program on this machine \
         opened ports at the same moment; play the demo again"
    );
    let raised_at = |behavior: &str| {
        let alert = incident.inbox.find("in-alarm", THING, behavior);
        alert.map_or(f64::INFINITY, |(_, alert)| alert.at_secs)
    };
    let (ports_at, bytes_at) = (raised_at(PORTS), raised_at(BYTES));
    incident.alarmed_at = ports_at.min(bytes_at);
    let when = incident.since_compromise(ports_at);
    stage.tell(
        Mark::Trouble,
        &format!("{PORTS}: port {backdoor} is not normal, {when}"),
    )?;
    let when = incident.since_compromise(bytes_at);
    let limit = in_words(baseline.n_bytes_max());
    stage.tell(
        Mark::Trouble,
        &format!("{BYTES}: more than {limit} out in 5 minutes, {when}"),
    )?;
    let sized_at = stage.until("the size of the messages is noticed", |cast| {
        let listed = cast.operator(&["violation", "list", "--thing", DEVICE])?;
        Ok(find(&listed, SIZE).and_then(|violation| violation["violationStartTime"].as_f64()))
    })?;
    let when = incident.since_compromise(sized_at);
    stage.tell(
        Mark::Trouble,
        &format!("{SIZE}: {DEVICE} sent more than 100 bytes at once, {when}"),
    )?;
    stage.tell(
        Mark::Command,
        &format!("picket violation explain {}", incident.ports_violation),
    )
}

/// The ports for which a violation was raised.
fn offending(cast: &Cast, violation: &str) -> anyhow::Result<BTreeSet<u16>> {
    let explained = cast.operator(&["violation", "explain", violation])?;
    let breaches = explained["engine"]["breaches"].as_array().into_iter().flatten();
    let ports = breaches.filter_map(|breach| breach["offending"]["ports"].as_array());
    Ok(ports.flatten().filter_map(normal::port_of).collect())
}

fn id(violation: &Value) -> Option<String> {
    violation["violationId"].as_str().map(str::to_owned)
}

/// The ids of the active violations of the device.
fn violations(cast: &Cast) -> anyhow::Result<Vec<String>> {
    let listed = cast.operator(&["violation", "list", "--thing", THING])?;
    let of = |behavior: &&str| id(&find(&listed, behavior)?);
    Ok([PORTS, BYTES].iter().filter_map(of).collect())
}

fn quarantine(stage: &mut Stage, incident: &mut Incident) -> anyhow::Result<()> {
    stage.screen.heading("Quarantine")?;
    let cause = incident.bytes_violation.clone();
    stage.until("the device is quarantined", |cast| {
        let decided = cast.operator(&["response", "decisions"])?;
        let mut decisions = decided["decisions"].as_array().into_iter().flatten();
        let is_about_it =
            |decision: &Value| decision["thingName"] == THING && decision["violationId"].as_str() == Some(&cause);
        Ok((decisions.any(is_about_it) && is_isolated(cast)?).then_some(()))
    })?;
    stage.tell(
        Mark::Fact,
        &format!("{THING} is quarantined, and shows in group {QUARANTINE}"),
    )?;
    let since_millis = stage.until("the sensor is disconnected", |cast| {
        let status = cast.status(DEVICE)?;
        Ok(status["since_millis"]
            .as_f64()
            .filter(|_| status["connection"] == "refused"))
    })?;
    incident.disconnected_at = since_millis / 1000.0;
    let when = incident.since_compromise(incident.disconnected_at);
    stage.tell(Mark::Fact, &format!("{DEVICE} is disconnected, {when}"))?;
    stage.until("the agent is disconnected", |cast| {
        Ok(cast.said(AGENT_LOG).contains("connection ended").then_some(()))
    })?;
    stage.tell(Mark::Fact, "so is the agent")
}

fn is_isolated(cast: &Cast) -> anyhow::Result<bool> {
    let members = cast.operator(&["group", "members", QUARANTINE])?;
    Ok(members["things"]
        .as_array()
        .is_some_and(|things| things.iter().any(|thing| thing == THING)))
}

fn alerts(stage: &mut Stage, incident: &mut Incident) -> anyhow::Result<()> {
    stage.screen.heading("Alert")?;
    let mut first = f64::INFINITY;
    for (behavior, violation) in [(PORTS, &incident.ports_violation), (BYTES, &incident.bytes_violation)] {
        let found = incident.inbox.find("in-alarm", THING, behavior);
        let (arrived_at, alert) = found.with_context(|| format!("no alert about {behavior} was delivered"))?;
        ensure!(
            alert.violation == *violation,
            "the alert about {behavior} is about violation {}, expected {violation}",
            alert.violation
        );
        first = first.min(*arrived_at);
        let when = incident.since_compromise(*arrived_at);
        stage.tell(Mark::Fact, &format!("{behavior} in-alarm is delivered, {when}"))?;
    }
    incident.alerted_at = first;
    stage.tell(Mark::Fact, "each has exactly the members that AWS documents")
}

fn refusal(stage: &mut Stage) -> anyhow::Result<()> {
    stage.screen.heading("The device comes back, and is refused")?;
    let reason = stage.until("the sensor is refused", |cast| {
        let status = cast.status(DEVICE)?;
        let reason = status["reason"]
            .as_str()
            .filter(|reason| reason.contains(NOT_AUTHORIZED));
        Ok(reason.map(str::to_owned))
    })?;
    stage.tell(Mark::Fact, &format!("{DEVICE}: {reason} (not authorized)"))?;
    stage.until("the agent is refused", |cast| {
        Ok(cast.said(AGENT_LOG).contains(NOT_AUTHORIZED).then_some(()))
    })?;
    stage.tell(Mark::Fact, &format!("{THING}, its agent: {NOT_AUTHORIZED}"))?;
    start_other_client(stage)?;
    stage.until("the other client id is refused", |cast| {
        Ok(cast.said(OTHER_LOG).contains(NOT_AUTHORIZED).then_some(()))
    })?;
    stage.cast.dismiss(OTHER_CLIENT);
    stage.tell(
        Mark::Fact,
        &format!("{OTHER_CLIENT}, which its policy allows: {NOT_AUTHORIZED}"),
    )?;
    for device in ["SensorDevice01", "SensorDevice02"] {
        let before = n_published(&stage.cast.status(device)?);
        stage.until(&format!("{device} still publishes"), |cast| {
            flowing(cast, device, before)
        })?;
    }
    stage.tell(Mark::Fact, "SensorDevice01 and SensorDevice02 publish as before")
}

fn release(stage: &mut Stage, incident: &mut Incident) -> anyhow::Result<()> {
    stage
        .screen
        .heading("Release: the device is repaired, and an operator lets it back in")?;
    stage.tell(Mark::Command, &format!("picket-sim heal -d {DEVICE}"))?;
    stage.cast.tell_sensor("heal", DEVICE, &[])?;
    let n_readings = n_published(&stage.cast.status(DEVICE)?);
    let n_reports = n_accepted(&stage.cast);
    stage.tell(Mark::Command, &format!("picket response undo --thing {THING}"))?;
    incident.released_at = clock::now_secs();
    stage.cast.operator(&["response", "undo", "--thing", THING])?;
    let reading = stage.until("telemetry flows again", |cast| flowing(cast, DEVICE, n_readings))?;
    incident.flowing_at = clock::now_secs();
    stage.tell(
        Mark::Fact,
        &format!("telemetry flows again: {DEVICE} publishes {reading}"),
    )?;
    stage.until("the agent's reports are accepted again", |cast| {
        Ok((n_reports < n_accepted(cast)).then_some(()))
    })?;
    incident.accepted_at = clock::now_secs();
    stage.until(&format!("{THING} is in {QUARANTINE} no more"), |cast| {
        Ok((!is_isolated(cast)?).then_some(()))
    })?;
    stage.tell(Mark::Fact, "the agent's reports are accepted again")
}

fn recovery(stage: &mut Stage, incident: &mut Incident, baseline: &mut Baseline) -> anyhow::Result<()> {
    let mut n_surprises = 0;
    loop {
        let surprise = stage.until("the alarm about the port is cleared", |cast| {
            incident.look(cast)?;
            let explained = cast.operator(&["violation", "explain", &incident.ports_violation])?;
            if explained["engine"]["state"]["inAlarm"] != true {
                return Ok(Some(BTreeSet::new()));
            }
            Ok(surprise(&explained, incident, baseline))
        })?;
        if surprise.is_empty() {
            break;
        }
        n_surprises += 1;
        grow_used_to(stage, baseline, surprise, n_surprises)?;
    }
    let ports_violation = incident.ports_violation.clone();
    stage.until("the alarm about the port is listed no more", |cast| {
        Ok((!violations(cast)?.contains(&ports_violation)).then_some(()))
    })?;
    stage.until("the alert about the end of the alarm is delivered", |cast| {
        incident.look(cast)?;
        Ok(incident.inbox.find("alarm-cleared", THING, PORTS).map(drop))
    })?;
    stage.tell(
        Mark::Fact,
        &format!("{PORTS}: the alarm cleared with the next report, and that alert is delivered, too"),
    )?;
    ensure!(
        violations(&stage.cast)?.contains(&incident.bytes_violation),
        "the alarm about bytes is over before its window has emptied"
    );
    stage.tell(
        Mark::Note,
        &format!("{BYTES} stays in alarm until its window of 300 s has emptied: nobody waits for that here,"),
    )?;
    stage.tell(
        Mark::Note,
        "and it does not quarantine a device again that an operator has released.",
    )
}

/// Ports for which the device is in alarm still, when the backdoor is none of them: another program's.
fn surprise(explained: &Value, incident: &Incident, baseline: &Baseline) -> Option<BTreeSet<u16>> {
    let is_new = incident.released_at < explained["lastViolationTime"].as_f64()?;
    let ports = baseline.new_ports(&explained["lastViolationValue"]["ports"]);
    (is_new && !ports.is_empty() && !ports.contains(&incident.backdoor)).then_some(ports)
}

fn sum_up(stage: &mut Stage, incident: &Incident) -> anyhow::Result<()> {
    stage.screen.heading("Measured")?;
    for (what, from, to) in [
        ("compromise to alarm", incident.compromised_at, incident.alarmed_at),
        (
            "compromise to disconnected",
            incident.compromised_at,
            incident.disconnected_at,
        ),
        (
            "compromise to alert delivered",
            incident.compromised_at,
            incident.alerted_at,
        ),
        ("release to telemetry", incident.released_at, incident.flowing_at),
        ("release to accepted report", incident.released_at, incident.accepted_at),
    ] {
        stage.screen.text(&format!("  {what:<30} {:5.2} s", to - from))?;
    }
    stage
        .screen
        .text("  The agent reports every second, and had just done so when the device was compromised.")
}
