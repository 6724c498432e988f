//! `picket-sim bootstrap`: from a name to a sensor that publishes.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use picket_aws::call::Call;
use picket_model::name::ThingName;
use serde_json::{Value, json};

use crate::api::{self, Api};
use crate::mode::{Connection, Status};
use crate::sensor::positive_secs;
use crate::state::{self, Device, State};
use crate::{control, policy, say};

const ALREADY_EXISTS: &str = "ResourceAlreadyExistsException";
const NOT_FOUND: &str = "ResourceNotFoundException";
const PATIENCE: Duration = Duration::from_secs(5);

/// Which device to make, and how the server is reached.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    state: state::DeviceOptions,
    /// The topic that it publishes temperatures to
    #[arg(short, long, value_parser = topic, value_name = "TOPIC")]
    topic: String,
    /// The thing that the device is [default: as the device is called]
    #[arg(long, value_name = "THING")]
    thing: Option<ThingName>,
    /// Between two readings
    #[arg(long, default_value_t = 10.0, value_parser = positive_secs, value_name = "SECONDS")]
    interval_secs: f64,
    /// Where the device connects to, when that is not what the server says
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// The port that the device connects to, when that is not what the server says
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// Write the files, but do not start the sensor
    #[arg(long)]
    no_start: bool,
    #[command(flatten)]
    api: api::ApiOptions,
}

fn topic(text: &str) -> Result<String, String> {
    picket_mqtt::topic::check_name(text).map_err(|err| err.to_string())?;
    if text.starts_with('$') {
        return Err("expected a topic that does not begin with `$`".to_owned());
    }
    Ok(text.to_owned())
}

/// Makes what is missing and leaves what is there: running it again changes nothing.
pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    let state = State::of(&options.state)?;
    state.create()?;
    let api = Api::open(&options.api)?;
    let device = register(&api, &state, &options).await?;
    let (host, port) = endpoint(&api, &state, &options).await?;
    let folder = state.folder().display();
    say(&format!(
        "device        {} of {}, certificate {}",
        device.device, device.thing, device.certificate_id
    ))?;
    say(&format!(
        "files         {folder}/: {}, {}, {}, {}",
        state::ENDPOINT,
        state::CERTIFICATE,
        state::PRIVATE_KEY,
        state::ROOT_CA
    ))?;
    if options.no_start {
        return Ok(());
    }
    let was_running = state.running()?.is_some();
    if !was_running {
        start(&state, &options)?;
    }
    report(&state, &device, was_running).await?;
    let watch = format!(
        "mosquitto_sub -h {host} -p {port} --cafile {folder}/{} --cert {folder}/{} --key {folder}/{} -i {} -t {}",
        state::ROOT_CA,
        state::CERTIFICATE,
        state::PRIVATE_KEY,
        policy::viewer(&device.device),
        device.topic
    );
    say(&format!("what it says  tail -f {folder}/{}", state::LOG))?;
    say(&format!("what it sends {watch}"))?;
    say(&format!("stop it       picket-sim stop -d {}", device.device))?;
    Ok(())
}

/// Thing, certificate and policy, and everything attached to each other.
async fn register(api: &Api, state: &State, options: &Options) -> anyhow::Result<Device> {
    let name = &options.state.device;
    let thing = options.thing.as_ref().unwrap_or(name);
    let made = api.call(&Call::post(&["things", thing.as_str()])).await?;
    let made = made.unless(ALREADY_EXISTS)?;
    let described = match made {
        Some(answer) => answer,
        None => api.call(&Call::get(&["things", thing.as_str()])).await?.done()?,
    };
    let prefix = text(&described, "thingArn")?
        .strip_suffix(&format!("thing/{thing}"))
        .map(str::to_owned);
    let prefix = prefix.with_context(|| format!("the server's ARN of {thing} does not end with its name"))?;
    let arn_of = |resource: &str| format!("{prefix}{resource}");

    let certificate_id = certificate(api, state).await?;
    let device = Device {
        device: name.to_string(),
        thing: thing.to_string(),
        topic: options.topic.clone(),
        interval_secs: options.interval_secs,
        certificate_id,
    };
    state.write_device(&device)?;

    let certificate_arn = arn_of(&format!("cert/{}", device.certificate_id));
    let principals = Call::put(&["things", thing.as_str(), "principals"]).header("x-amzn-principal", &certificate_arn);
    api.call(&principals)
        .await?
        .done()
        .context("cannot attach the certificate to the thing")?;
    let policy_name = ensure_policy(api, &device, arn_of).await?;
    let attach = Call::put(&["target-policies", &policy_name]).json(&json!({ "target": certificate_arn }));
    api.call(&attach)
        .await?
        .done()
        .context("cannot attach the policy to the certificate")?;
    Ok(device)
}

/// The one of an earlier run if the server still has it, else a new one.
async fn certificate(api: &Api, state: &State) -> anyhow::Result<String> {
    if let Some(device) = state.device()?
        && state.read(state::PRIVATE_KEY)?.is_some()
        && state.read(state::CERTIFICATE)?.is_some()
    {
        let known = api
            .call(&Call::get(&["certificates", &device.certificate_id]))
            .await?
            .unless(NOT_FOUND)?;
        if known.is_some() {
            return Ok(device.certificate_id);
        }
    }
    let answer = api
        .call(&Call::post(&["keys-and-certificate"]).query("setAsActive", "true"))
        .await?
        .done()?;
    state.write(state::PRIVATE_KEY, text(&answer["keyPair"], "PrivateKey")?.as_bytes())?;
    state.write(state::CERTIFICATE, text(&answer, "certificatePem")?.as_bytes())?;
    Ok(text(&answer, "certificateId")?.to_owned())
}

/// A policy of an earlier run is used again if it says the same.
async fn ensure_policy(api: &Api, device: &Device, arn_of: impl Fn(&str) -> String) -> anyhow::Result<String> {
    // What a thing's name may have and a policy's may not.
    let name = format!("picket-sim-{}", device.device.replace(':', "."));
    let thing = device
        .thing
        .parse()
        .context("the thing has no name that a device can have")?;
    let document = policy::document(&device.device, &thing, &device.topic, arn_of);
    let create = Call::post(&["policies", &name]).json(&json!({ "policyDocument": document.to_string() }));
    if api.call(&create).await?.unless(ALREADY_EXISTS)?.is_none() {
        let answer = api.call(&Call::get(&["policies", &name])).await?.done()?;
        let found: Option<Value> = serde_json::from_str(text(&answer, "policyDocument")?).ok();
        ensure!(
            found == Some(document),
            "policy {name} is for another thing or topic: detach and delete it, or choose another device"
        );
    }
    Ok(name)
}

/// Asks where devices connect to, and writes it down with the certificate that they trust.
async fn endpoint(api: &Api, state: &State, options: &Options) -> anyhow::Result<(String, u16)> {
    let answer = api.call(&Call::get(&["picket", "v1", "endpoint"])).await?.done()?;
    let host = match &options.host {
        Some(host) => host.clone(),
        None => text(&answer, "endpointAddress")?.to_owned(),
    };
    let port = options
        .port
        .or_else(|| answer["mqttPort"].as_u64().and_then(|port| port.try_into().ok()));
    let port = port.unwrap_or(state::MQTT_PORT_DEFAULT);
    state.write(state::ROOT_CA, text(&answer, "caCertificatePem")?.as_bytes())?;
    let is_bare_ipv6 = host.contains(':') && !host.starts_with('[');
    let endpoint = match (port, is_bare_ipv6) {
        (state::MQTT_PORT_DEFAULT, _) => host.clone(),
        (port, false) => format!("{host}:{port}"),
        (port, true) => format!("[{host}]:{port}"),
    };
    state.write(state::ENDPOINT, format!("{endpoint}\n").as_bytes())?;
    Ok((host, port))
}

/// This program again, in the background: it holds no terminal and no folder of the caller.
fn start(state: &State, options: &Options) -> anyhow::Result<()> {
    let base = state.folder().parent().context("the state directory has no parent")?;
    let base = std::path::absolute(base)?;
    // What an earlier process said is of no meaning for the new one.
    if let Err(err) = std::fs::remove_file(state.path(state::STATUS))
        && err.kind() != std::io::ErrorKind::NotFound
    {
        bail!("cannot remove {}: {err}", state.path(state::STATUS).display());
    }
    let (log, also_log) = (state.log()?, state.log()?);
    Command::new(std::env::current_exe()?)
        .args([
            "sensor",
            "--detached",
            "--device",
            options.state.device.as_str(),
            "--state-dir",
        ])
        .arg(base)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(also_log)
        .spawn()
        .context("cannot start the sensor")?;
    Ok(())
}

async fn report(state: &State, device: &Device, was_running: bool) -> anyhow::Result<()> {
    let since = if was_running {
        "runs already"
    } else {
        "runs in the background"
    };
    let is_settled = |status: &Status| status.connection != Connection::Connecting;
    let status = control::wait_for_status(state, PATIENCE, is_settled).await?;
    let Some(pid) = state.running()? else {
        bail!(
            "{} ended at once, see {}",
            device.device,
            state.path(state::LOG).display()
        );
    };
    let connection = match status {
        Some(Status {
            connection: Connection::Connected,
            ..
        }) => "connected".to_owned(),
        Some(Status {
            reason: Some(reason), ..
        }) => format!("not connected, it goes on trying: {reason}"),
        _ => "not connected yet".to_owned(),
    };
    Ok(say(&format!("process       {pid}, {since}, {connection}"))?)
}

fn text<'a>(answer: &'a Value, member: &str) -> anyhow::Result<&'a str> {
    answer[member]
        .as_str()
        .with_context(|| format!("the server's answer has no `{member}`"))
}
