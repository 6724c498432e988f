//! `picket serve`.

use anyhow::bail;
use picket_server::config::ServeOptions;
use picket_server::serve::Server;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::telemetry;

/// Serves until SIGINT or SIGTERM; another one while it stops ends it at once.
pub(crate) fn run(options: ServeOptions) -> anyhow::Result<()> {
    telemetry::start()?;
    let config = options.checked()?;
    raise_file_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(async {
        let mut signals = Signals::new()?;
        let mut server = tokio::select! {
            started = Server::start(config) => started?,
            () = signals.next() => {
                tracing::info!("stopped before it served");
                return Ok(());
            }
        };
        let (api, mqtt, url) = (server.api_addr(), server.mqtt_addr(), server.api_url());
        let ready = format!("ready api={api} mqtt={mqtt} url={url}");
        if let Err(error) = telemetry::say(&ready) {
            tracing::warn!(%error, "nobody reads that the server is ready");
        }
        let outcome = tokio::select! {
            () = signals.next() => Ok(()),
            failure = server.failed() => Err(failure),
        };
        tracing::info!("stopping");
        tokio::select! {
            stopped = server.stop() => outcome.and(stopped),
            () = signals.next() => bail!("told to stop again while stopping: the next start does what is left"),
        }
    });
    // What still runs, the look-up of a webhook's name perhaps, has no say in when the process ends.
    runtime.shutdown_background();
    outcome
}

/// What asks a server to stop.
struct Signals {
    interrupted: Signal,
    terminated: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupted: signal(SignalKind::interrupt())?,
            terminated: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupted.recv() => {}
            _ = self.terminated.recv() => {}
        }
    }
}

/// Each device takes a file descriptor, and a usual soft limit of 1024 is there for programs that cannot have more.
fn raise_file_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return;
    }
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, ?current, ?maximum, "the limit of open files stays as it is");
    }
}
