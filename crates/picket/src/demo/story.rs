//! What happens, act by act, while all is well. Each `until` is a fact that has to be observed.

use std::collections::BTreeSet;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::cast::{AgentOf, Cast};
use super::incident;
use super::normal::{Baseline, in_words};
use super::screen::Mark;
use super::stage::Stage;

/// The profile of the story.
pub(super) const PROFILE: &str = "NormalSensor";

pub(super) const PORTS: &str = "ListeningPorts";
pub(super) const BYTES: &str = "BytesOut";
/// What the broker sees of the sensors, whether an agent reports or not.
pub(super) const SIZE: &str = "MessageSize";
pub(super) const THING: &str = "Thing03";
pub(super) const DEVICE: &str = "SensorDevice03";
/// Another client id that the device's policy allows.
pub(super) const OTHER_CLIENT: &str = "SensorDevice03-viewer";

pub(super) const AGENT_LOG: &str = "agent.log";
pub(super) const OTHER_LOG: &str = "agent-other-client.log";
pub(super) const ALERTS: &str = "alerts.log";

/// What is normal about what sensors send, as a fleet's file.
const SENSORS: &str = "\
dimensions:
  Temperatures: {stringValues: [temperature-device-01, temperature-device-02, temperature-device-03]}
profiles:
  NormalMessages:
    behaviors:
      - name: MessageSize
        metric: aws:message-byte-size
        metricDimension: {dimensionName: Temperatures}
        criteria: {comparisonOperator: less-than-equals, value: {count: 100}}
    targets: [all/things]
";

/// How many reports are seen to conform before something happens.
const N_NORMAL: usize = 2;
/// How often the baseline is measured.
const N_DRY_RUNS: usize = 4;
/// How many ports are told by their numbers.
const N_SPELLED_MAX: usize = 8;
/// How often other programs' new ports are added to the baseline, before the baseline is given up.
pub(super) const N_SURPRISES_MAX: usize = 5;

/// Plays all of it; says which port a backdoor may take once more.
pub(super) fn play(stage: &mut Stage) -> anyhow::Result<u16> {
    stage.screen.text(
        "Picket's demo: a device is compromised, noticed, cut off, and let back in. Everything is real, and runs on this\n\
         machine alone; the clock starts now.",
    )?;
    serve(stage)?;
    telemetry(stage)?;
    report(stage)?;
    let mut baseline = learn(stage)?;
    incident::play(stage, &mut baseline)?;
    Ok(baseline.free_port())
}

fn serve(stage: &mut Stage) -> anyhow::Result<()> {
    stage.screen.heading("Server, and somebody who receives alerts")?;
    let data = stage.cast.path("data").display().to_string();
    let listen = "127.0.0.1:0";
    let serve = [
        "serve",
        "--data",
        &data,
        "--endpoint-name",
        "127.0.0.1",
        "--device-key",
        "p256",
    ];
    let ports = ["--api-listen", listen, "--mqtt-listen", listen];
    let arguments = [&serve[..], &ports].concat();
    stage
        .cast
        .start_picket("server", &arguments, "server.out", "server.log")?;
    let ready = stage.until("the server is ready", |cast| Ok(ready(&cast.said("server.out"))))?;
    stage.tell(Mark::Fact, &format!("the server is ready: {ready}"))?;
    let listen = ["webhook", "listen", "--listen", listen];
    stage
        .cast
        .start_picket("webhook receiver", &listen, ALERTS, "webhook.log")?;
    let address = stage.until("the webhook receiver is ready", |cast| {
        Ok(self::ready(&cast.said(ALERTS)))
    })?;
    stage.tell(Mark::Fact, &format!("alerts can be received at http://{address}"))
}

/// What a program says after `ready`, once the line is whole.
pub(super) fn ready(said: &str) -> Option<String> {
    let (line, _) = said.split_once('\n')?;
    line.strip_prefix("ready ").map(str::to_owned)
}

fn telemetry(stage: &mut Stage) -> anyhow::Result<()> {
    stage.screen.heading("Telemetry: three sensors")?;
    for n in ["01", "02", "03"] {
        let (device, thing) = (format!("SensorDevice{n}"), format!("Thing{n}"));
        let topic = format!("temperature-device-{n}");
        let command = format!("picket-sim bootstrap -t {topic} -d {device} --thing {thing}");
        stage.tell(Mark::Command, &command)?;
        stage.cast.bootstrap(&device, &thing, &topic)?;
    }
    for n in ["01", "02", "03"] {
        let device = format!("SensorDevice{n}");
        let reading = stage.until(&format!("{device} publishes"), |cast| flowing(cast, &device, 1))?;
        stage.tell(Mark::Fact, &format!("{device} publishes temperatures: {reading}"))?;
    }
    Ok(())
}

/// The last temperature of a device that has published more than `n` readings.
pub(super) fn flowing(cast: &Cast, device: &str, n: u64) -> anyhow::Result<Option<f64>> {
    let status = cast.status(device)?;
    let is_connected = status["connection"] == "connected" && n < n_published(&status);
    let reading = status["last_reading"].as_str().and_then(|reading| reading.parse().ok());
    Ok(reading.filter(|_| is_connected))
}

pub(super) fn n_published(status: &Value) -> u64 {
    status["n_acknowledged"].as_u64().unwrap_or_default()
}

fn report(stage: &mut Stage) -> anyhow::Result<()> {
    stage.screen.heading("Agent: what Thing03 does, every second")?;
    stage.tell(
        Mark::Note,
        "An agent counts what leaves and enters the device. This demo lives on the loopback interface, which does",
    )?;
    stage.tell(
        Mark::Note,
        "not count otherwise, so its agent runs with --count-loopback.",
    )?;
    stage.tell(
        Mark::Command,
        "picket-agent -e 127.0.0.1 -id Thing03 -t Thing03 -i 1 --count-loopback ...",
    )?;
    let agent = AgentOf {
        device: DEVICE,
        thing: THING,
        client_id: THING,
    };
    stage.cast.start_agent("agent", &agent, AGENT_LOG)?;
    stage.until("the agent's report is accepted", |cast| {
        Ok((0 < n_accepted(cast)).then_some(()))
    })?;
    stage.tell(Mark::Fact, "its reports are accepted")?;
    start_other_client(stage)?;
    stage.until(&format!("{OTHER_CLIENT} may connect"), |cast| {
        Ok(cast.said(OTHER_LOG).contains("accepted report").then_some(()))
    })?;
    stage.cast.dismiss(OTHER_CLIENT);
    stage.tell(
        Mark::Fact,
        &format!("with the same certificate it may connect as {OTHER_CLIENT}, too: remember that"),
    )
}

pub(super) fn start_other_client(stage: &mut Stage) -> anyhow::Result<()> {
    let agent = AgentOf {
        device: DEVICE,
        thing: THING,
        client_id: OTHER_CLIENT,
    };
    stage.cast.start_agent(OTHER_CLIENT, &agent, OTHER_LOG)
}

/// Reports that the server has taken.
pub(super) fn n_accepted(cast: &Cast) -> usize {
    cast.said(AGENT_LOG)
        .lines()
        .filter(|line| line.contains(" accepted report "))
        .count()
}

/// Waits for `n` more reports.
fn accepted(stage: &mut Stage, n: usize) -> anyhow::Result<()> {
    let before = n_accepted(&stage.cast);
    stage.until("the agent's next report is accepted", |cast| {
        Ok((before + n <= n_accepted(cast)).then_some(()))
    })
}

/// Measures what is normal, and writes it down.
fn learn(stage: &mut Stage) -> anyhow::Result<Baseline> {
    stage.screen.heading("Behaviors: what is normal")?;
    let mut baseline = Baseline::default();
    for _ in 0..N_DRY_RUNS {
        baseline.take(&stage.cast.dry_run()?)?;
    }
    stage.tell(
        Mark::Fact,
        &format!(
            "measured with `picket-agent --dryrun`: {}, {} out per second",
            listening(&baseline.ports),
            in_words(baseline.n_bytes_per_sec())
        ),
    )?;
    let file = write_profile(stage, &baseline)?;
    stage.tell(
        Mark::Command,
        &format!("picket profile create {PROFILE} -f profile.json"),
    )?;
    stage.cast.operator(&["profile", "create", PROFILE, "-f", &file])?;
    stage.tell(
        Mark::Command,
        &format!("picket profile attach {PROFILE} all/registered-things"),
    )?;
    stage
        .cast
        .operator(&["profile", "attach", PROFILE, "all/registered-things"])?;
    let limit = in_words(baseline.n_bytes_max());
    stage.tell(
        Mark::Note,
        &format!("Normal is: no listening TCP port but those, and at most {limit} out in 5 minutes."),
    )?;
    let file = stage.cast.path("fleet.yaml");
    std::fs::write(&file, SENSORS).with_context(|| format!("cannot write {}", file.display()))?;
    stage.tell(Mark::Command, "picket apply -f fleet.yaml")?;
    stage.cast.operator(&["apply", "-f", &file.display().to_string()])?;
    stage.tell(
        Mark::Note,
        "and, as the broker itself sees it: no message with a temperature has more than 100 bytes.",
    )?;
    conform(stage, &mut baseline)?;
    stage.tell(
        Mark::Fact,
        &format!("{N_NORMAL} reports conform: no violations; telemetry flows, reports are accepted"),
    )?;
    Ok(baseline)
}

/// A few ports by their numbers, many by how many they are.
fn listening(ports: &BTreeSet<u16>) -> String {
    let numbers: Vec<String> = ports.iter().map(u16::to_string).collect();
    match numbers.as_slice() {
        few if few.len() <= N_SPELLED_MAX => format!("TCP ports {} listen", few.join(", ")),
        many => format!("{} TCP ports listen", many.len()),
    }
}

fn write_profile(stage: &Stage, baseline: &Baseline) -> anyhow::Result<String> {
    let path = stage.cast.path("profile.json");
    let text = format!("{:#}\n", baseline.profile(PORTS, BYTES));
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path.display().to_string())
}

/// Waits until reports conform. The agent sees the ports of all programs on this machine: what others open meanwhile is
/// no part of the story, and becomes normal.
fn conform(stage: &mut Stage, baseline: &mut Baseline) -> anyhow::Result<()> {
    let (mut n_normal, mut n_surprises) = (0, 0);
    while n_normal < N_NORMAL {
        accepted(stage, 1)?;
        let violations = stage.cast.operator(&["violation", "list", "--thing", THING])?;
        if find(&violations, BYTES).is_some() {
            n_normal = 0;
            allow_more(stage, baseline)?;
            continue;
        }
        match find(&violations, PORTS) {
            None => n_normal += 1,
            Some(violation) => {
                n_normal = 0;
                n_surprises += 1;
                let ports = baseline.new_ports(&violation["lastViolationValue"]["ports"]);
                grow_used_to(stage, baseline, ports, n_surprises)?;
            }
        }
    }
    Ok(())
}

/// Changes the profile: more bytes are normal, and are counted from now on.
fn allow_more(stage: &mut Stage, baseline: &mut Baseline) -> anyhow::Result<()> {
    let limit = in_words(baseline.n_bytes_max());
    ensure!(
        baseline.double_bytes(),
        "other programs sent more than {limit} over this machine's loopback while nothing was compromised: there is no \
         normal state to begin with"
    );
    let more = in_words(baseline.n_bytes_max());
    stage.tell(
        Mark::Note,
        &format!("Other programs on this machine sent more than {limit}: up to {more} are normal, from now on."),
    )?;
    let file = write_profile(stage, baseline)?;
    stage
        .cast
        .operator(&["profile", "update", PROFILE, "-f", &file])
        .map(drop)
}

/// Changes the profile: these ports are no alarm from now on.
pub(super) fn grow_used_to(
    stage: &mut Stage,
    baseline: &mut Baseline,
    ports: BTreeSet<u16>,
    n_surprises: usize,
) -> anyhow::Result<()> {
    ensure!(
        n_surprises <= 2 * N_SURPRISES_MAX,
        "{PORTS} is in alarm without the backdoor, and stays so after {n_surprises} reports"
    );
    if ports.is_empty() {
        // Judged before the last change was known.
        return Ok(());
    }
    let listed: Vec<String> = ports.iter().map(u16::to_string).collect();
    let listed = listed.join(", ");
    stage.tell(
        Mark::Note,
        &format!("Another program on this machine listens on {listed}: normal as well, from now on."),
    )?;
    baseline.ports.extend(ports);
    if n_surprises == N_SURPRISES_MAX {
        baseline.is_crowded = true;
        let backdoor = baseline.free_port();
        let note = format!("They go on opening ports, so normal is from now on: any port but {backdoor}.");
        stage.tell(Mark::Note, &note)?;
    }
    let file = write_profile(stage, baseline)?;
    stage
        .cast
        .operator(&["profile", "update", PROFILE, "-f", &file])
        .map(drop)
}

/// The active violation of a behavior.
pub(super) fn find(violations: &Value, behavior: &str) -> Option<Value> {
    let mut violations = violations["activeViolations"].as_array()?.iter();
    violations
        .find(|violation| violation["behavior"]["name"] == behavior)
        .cloned()
}
