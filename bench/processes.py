"""The processes of a benchmark: each in one temporary folder, on ports of this run alone, ended by its id."""

import atexit
import concurrent.futures
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from aws import Api

ACCESS_KEY_ID, SECRET = "AKIDPICKETBENCH00001", "a-secret-that-only-this-run-knows-01"

# What is normal: the reports of the load are, so that each is judged and none alarms.
BEHAVIORS = [
    {
        "name": "TcpPorts",
        "metric": "aws:listening-tcp-ports",
        "criteria": {"comparisonOperator": "in-port-set", "value": {"ports": [22, 8080]}},
    },
    {
        "name": "UdpPorts",
        "metric": "aws:listening-udp-ports",
        "criteria": {"comparisonOperator": "in-port-set", "value": {"ports": [5353]}},
    },
    {
        "name": "BytesOut",
        "metric": "aws:all-bytes-out",
        "criteria": {"comparisonOperator": "less-than-equals", "value": {"count": 10**12}, "durationSeconds": 300},
    },
    {
        "name": "Connections",
        "metric": "aws:num-established-tcp-connections",
        "criteria": {"comparisonOperator": "less-than-equals", "value": {"count": 1000}, "consecutiveDatapointsToAlarm": 2},
    },
]


class Stage:
    """A folder and the processes in it. Leaving the `with` block ends them all."""

    def __init__(self, binaries):
        self.binaries = Path(binaries)
        self.folder = Path(tempfile.mkdtemp(prefix="picket-bench-"))
        self.processes = []
        atexit.register(self.close)
        signal.signal(signal.SIGTERM, lambda *_: exit(143))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        for process in self.processes:
            end(process)
        self.processes.clear()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, command, **options):
        process = subprocess.Popen([str(word) for word in command], **options)
        self.processes.append(process)
        return process

    def program(self, name):
        return self.binaries / name

    def load(self, server, *options, timeout=180):
        """`picket-sim load`; says what it measured. Nothing may have gone wrong."""
        command = [self.program("picket-sim"), "load", *server.address(), "--server-pid", server.pid, *options]
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=timeout)
        if done.returncode:
            raise RuntimeError(f"picket-sim load failed: {done.stderr}")
        outcome = json.loads(done.stdout)
        if outcome["errors"] or outcome["nAcknowledged"] != outcome["nSent"]:
            raise RuntimeError(f"the load was not acknowledged as a whole: {outcome}")
        return outcome


class Server:
    """What both servers have in common: the same certificates, a port, a process."""

    def __init__(self, stage):
        self.stage, self.process, self.port = stage, None, None

    @property
    def pid(self):
        return self.process.pid

    def address(self):
        return ["--host", "localhost", "--port", self.port]

    def identity(self):
        device = self.stage.folder / "device"
        ca = self.stage.folder / "data" / "ca.pem"
        return ["--ca", ca, "--cert", device / "cert.pem", "--key", device / "private.key"]

    def fleet(self, things):
        """A connection for each of these things, which is its client id as well."""
        ca, certificate, key = self.identity()[1::2]
        path = self.stage.folder / f"fleet-{things[0]}"
        path.write_text("".join(f"{thing} {thing} {certificate} {key}\n" for thing in things))
        return ["--ca", ca, "--fleet-file", path]

    def memory(self):
        """Resident and proportional set, kB."""
        lines = Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines()
        sizes = {words[0]: int(words[1]) for words in map(str.split, lines[1:])}
        return {"rss": sizes["Rss:"], "pss": sizes["Pss:"]}

    def cpu_seconds(self):
        """User and system time so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self):
        end(self.process)


class Picket(Server):
    """`picket serve` with its defaults, on a data directory of its own."""

    name = "picket"

    def start(self):
        folder = self.stage.folder
        command = [self.stage.program("picket"), "serve", "--data", folder / "data", "--endpoint-name", "localhost"]
        command += ["--api-listen", "127.0.0.1:0", "--mqtt-listen", "127.0.0.1:0"]
        log = open(folder / "server.log", "a")
        self.process = self.stage.start(command, env=environment(), stdout=subprocess.PIPE, stderr=log, text=True)
        for line in self.process.stdout:
            if line.startswith("ready "):
                break
        else:
            raise RuntimeError("picket ended: " + (folder / "server.log").read_text())
        words = dict(word.split("=", 1) for word in line.split()[1:])
        self.port = int(words["mqtt"].rsplit(":", 1)[1])
        self.api = Api(words["api"], ACCESS_KEY_ID, SECRET)
        return self

    def operator(self, *arguments):
        """An operator's command; says what it printed as JSON."""
        command = [self.stage.program("picket"), "--output", "json", *arguments]
        env = environment() | {"PICKET_ENDPOINT": f"http://{self.api.address}"}
        done = subprocess.run([str(word) for word in command], env=env, capture_output=True, text=True, timeout=60)
        if done.returncode:
            raise RuntimeError(f"picket {arguments}: {done.stderr}")
        return json.loads(done.stdout) if done.stdout.strip() else None

    def furnish(self):
        """A certificate with a policy, and a profile on all registered things."""
        folder = self.stage.folder
        made = self.operator("certificate", "create", "--active", "--out", folder / "device")
        self.certificate_arn = made["certificateArn"]
        allow = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "iot:*", "Resource": "*"}}
        self.api.call("POST", "/policies/AllowAll", {"policyDocument": json.dumps(allow)})
        self.api.call("PUT", "/target-policies/AllowAll", {"target": self.certificate_arn})
        self.api.call("POST", "/security-profiles/Normal", {"behaviors": BEHAVIORS})
        self.operator("profile", "attach", "Normal", "all/registered-things")

    def register(self, things):
        """Makes things that are attached to the certificate."""

        def one(thing):
            self.api.call("POST", f"/things/{thing}", {})
            self.api.call("PUT", f"/things/{thing}/principals", headers={"x-amzn-principal": self.certificate_arn})

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(one, things))

    def n_reports_logged(self):
        """How many reports the log of the stopped server holds."""
        command = [self.stage.program("picket"), "log", "reports", "--data", self.stage.folder / "data"]
        with subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE) as process:
            n_reports = sum(1 for _ in process.stdout)
        if process.returncode:
            raise RuntimeError("the log cannot be read")
        return n_reports


class Mosquitto(Server):
    """mosquitto with mutual TLS and the same certificates; forwarding, one subscriber gets every message."""

    def __init__(self, stage, is_forwarding):
        super().__init__(stage)
        self.name = "mosquitto, forwarding" if is_forwarding else "mosquitto, no subscriber"
        self.is_forwarding = is_forwarding

    def start(self):
        folder, self.port = self.stage.folder, free_port()
        data = folder / "data"
        conf = folder / f"mosquitto-{self.port}.conf"
        conf.write_text(
            f"listener {self.port} 127.0.0.1\ncafile {data}/ca.pem\ncertfile {data}/server.pem\n"
            f"keyfile {data}/server.key\nrequire_certificate true\nallow_anonymous true\npersistence false\n"
            "max_queued_messages 0\nmax_inflight_messages 0\nset_tcp_nodelay true\nlog_dest none\n"
            + ("user root\n" if os.geteuid() == 0 else "")
        )
        program = shutil.which("mosquitto", path=os.environ["PATH"] + ":/usr/sbin")
        self.process = self.stage.start([program, "-c", conf], stderr=subprocess.DEVNULL)
        until("mosquitto listens", lambda: listens(self.port))
        if self.is_forwarding:
            self.subscribe()
        return self

    def subscribe(self):
        """One subscriber of everything, QoS 1, over mutual TLS; writes a line for each message."""
        self.received = self.stage.folder / f"received-{self.port}"
        device = self.stage.folder / "device"
        command = ["stdbuf", "-oL", "mosquitto_sub", "-h", "localhost", "-p", self.port, "-q", "1", "-t", "load/#", "-F", "%l"]
        command += ["--cafile", self.stage.folder / "data" / "ca.pem"]
        command += ["--cert", device / "cert.pem", "--key", device / "private.key"]
        self.stage.start(command, stdout=open(self.received, "w"))
        until("the subscriber receives", self._is_received)

    def _is_received(self):
        self.stage.load(self, *self.identity(), "--topic-kind", "plain", "--max", "--reports", 1)
        return self.n_received() > 0

    def n_received(self):
        """How many messages the subscriber has got."""
        with open(self.received, "rb") as lines:
            return sum(1 for _ in lines)


def environment():
    """Nothing of the caller's settings, and a key."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("PICKET_")}
    own = {name: value for name, value in own.items() if not name.lower().endswith("_proxy")}
    return own | {"PICKET_ACCESS_KEY_ID": ACCESS_KEY_ID, "PICKET_SECRET_ACCESS_KEY": SECRET, "PICKET_LOG": "warn"}


def end(process):
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def until(what, fact, seconds=30):
    deadline = time.monotonic() + seconds
    while not fact():
        if deadline < time.monotonic():
            raise RuntimeError(f"waited {seconds} s in vain until {what}")
        time.sleep(0.05)
