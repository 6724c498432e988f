"""The control plane with a large registry, beside moto's server, which answers some of the same calls from memory."""

import concurrent.futures
import random
import subprocess
import threading
import time
from pathlib import Path

from aws import Api
from processes import ACCESS_KEY_ID, BEHAVIORS, SECRET, Picket, Server, environment, free_port, listens, until

# Tags and types are left out: what both servers hold is the same.
# A change is answered when it is in the log, so each client waits: many make many changes a second.
N_CLIENTS = 32
ATTRIBUTES = {"site": "north", "model": "pump-7"}


class Moto(Server):
    """moto's server; what is registered is gone with it."""

    name = "moto"

    def start(self):
        self.port = free_port()
        program = Path(__file__).parent.parent / "target/bench-venv/bin/moto_server"
        command = [program, "-H", "127.0.0.1", "-p", self.port]
        self.process = self.stage.start(command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until("moto listens", lambda: listens(self.port))
        self.api = Api(f"127.0.0.1:{self.port}", ACCESS_KEY_ID, SECRET)
        return self


def register(server, n_things, n_groups):
    """Things with two attributes, and groups; says how many were made a second."""
    began = time.monotonic()
    body = {"attributePayload": {"attributes": ATTRIBUTES}}
    with concurrent.futures.ThreadPoolExecutor(N_CLIENTS) as pool:
        list(pool.map(lambda n: server.api.call("POST", f"/things/thing-{n:06}", body), range(n_things)))
        list(pool.map(lambda n: server.api.call("POST", f"/thing-groups/group-{n:04}", {}), range(n_groups)))
    return (n_things + n_groups) / (time.monotonic() - began)


def attach_profiles(server, n_profiles):
    """A profile on each group."""
    prefix = "arn%3Aaws%3Aiot%3Aus-east-1%3A123456789012%3Athinggroup%2F"

    def one(n):
        server.api.call("POST", f"/security-profiles/profile-{n:04}", {"behaviors": BEHAVIORS})
        target = f"securityProfileTargetArn={prefix}group-{n:04}"
        server.api.call("PUT", f"/security-profiles/profile-{n:04}/targets", query=target)

    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(N_CLIENTS) as pool:
        list(pool.map(one, range(n_profiles)))
    return 2 * n_profiles / (time.monotonic() - began)


def paced(server, rate, seconds, call):
    """Calls at this rate whatever the answers take, so that a slow one delays none; milliseconds from when each was due."""
    n, millis, lock = int(rate * seconds), [], threading.Lock()
    began = time.monotonic() + 0.1

    def worker(first, step):
        own = []
        for at in range(first, n, step):
            due = began + at / rate
            time.sleep(max(0.0, due - time.monotonic()))
            call(server.api)
            own.append((time.monotonic() - due) * 1000)
        with lock:
            millis.extend(own)

    n_workers = 8
    workers = [threading.Thread(target=worker, args=(first, n_workers)) for first in range(n_workers)]
    for thread in workers:
        thread.start()
    for thread in workers:
        thread.join()
    if len(millis) != n:
        raise RuntimeError(f"{n} calls were due, {len(millis)} were answered")
    return sorted(millis)


def percentile(values, percent):
    return round(values[min(len(values) - 1, int(len(values) * percent / 100))], 2)


def in_turn(server, n, call):
    """So many calls, one after the other; milliseconds of each."""
    millis = []
    for _ in range(n):
        began = time.monotonic()
        call(server.api)
        millis.append((time.monotonic() - began) * 1000)
    return sorted(millis)


def queries(server, size):
    """What calls take, one after the other; and of ours at a rate, which moto does not reach."""
    things = size.n_registry_things

    def describe(api):
        api.call("GET", f"/things/thing-{random.randrange(things):06}")

    def page(api):
        api.call("GET", "/things", query="maxResults=250")

    paces = [("in turn", lambda call: in_turn(server, size.n_registry_calls, call))]
    if server.name == "picket":
        rate = size.registry_rate
        paces.append((f"{rate} a second", lambda call: paced(server, rate, size.registry_secs, call)))
    for kind, call in (("DescribeThing", describe), ("ListThings", page)):
        for pace, measured in paces:
            cpu = server.cpu_seconds()
            millis = measured(call)
            yield {
                "measured": f"control plane, {kind}, {pace}",
                "server": server.name,
                "millisP50": percentile(millis, 50),
                "millisP99": percentile(millis, 99),
                "cpuMillisPerCall": round((server.cpu_seconds() - cpu) * 1000 / len(millis), 2),
            }


def control_plane(stage, size):
    """Both servers, each with the same registry."""
    results = []
    for server in (Picket(stage), Moto(stage)):
        server.start()
        rate = register(server, size.n_registry_things, size.n_registry_groups)
        found = {"measured": "control plane, creating", "server": server.name, "perSecond": round(rate)}
        if server.name == "picket":
            found["profilesPerSecond"] = round(attach_profiles(server, size.n_registry_profiles))
            server.stop()
            began = time.monotonic()
            server.start()
            found["startMillis"] = round((time.monotonic() - began) * 1000)
        results.append(found)
        results += queries(server, size)
        mib = round(server.memory()["rss"] / 1024)
        results.append({"measured": "control plane, memory", "server": server.name, "rssMib": mib})
        server.stop()
    return results
