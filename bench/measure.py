"""The three measurements."""

import asyncio
import math
import random
import statistics
import subprocess
import time

from device import Alerts, Device, context
from processes import Mosquitto, Picket, until


def report_path(stage, picket, size):
    """Reports that picket judges beside messages that mosquitto takes, or forwards: the same bytes, in turn."""
    servers = [picket, Mosquitto(stage, is_forwarding=False).start(), Mosquitto(stage, is_forwarding=True).start()]
    n_reports = 0
    paces = {"max": size.n_max_rounds, "rate": size.n_rate_rounds, "sustained": size.n_sustained_rounds}
    outcomes = {(server.name, pace): [] for server in servers for pace in paces}
    for pace, n_rounds in paces.items():
        for at in range(n_rounds):
            for server in servers:
                kind = "report" if server is picket else "plain"
                group = things(size) if pace == "sustained" else share(size, at)
                options = [*server.fleet(group), "--topic-kind", kind]
                if pace == "sustained":
                    options += ["--max", "--reports", len(group) * size.n_sustained_each, "--in-flight", 2]
                elif pace == "max":
                    options += ["--max", "--reports", size.n_connections * size.n_reports_each]
                else:
                    options += ["--rate", size.rate, "--duration-secs", size.rate_secs]
                outcome = stage.load(server, *options)
                outcomes[server.name, pace].append(outcome)
                if server is picket:
                    n_reports += outcome["nAcknowledged"]
    check_forwarded(servers[2], outcomes)
    for server in servers[1:]:
        server.stop()
    return [summary(name, pace, rounds) for (name, pace), rounds in outcomes.items()], n_reports


def things(size):
    """Everybody who takes part but the compromised."""
    return [f"thing-{at}" for at in range(size.n_things)]


def share(size, at):
    """Who reports in this round: a thing may report once a second, and 100 times at once, so they take turns."""
    first = at * size.n_connections % size.n_things
    return things(size)[first : first + size.n_connections]


def check_forwarded(forwarding, outcomes):
    rounds = [one for (name, _), rounds in outcomes.items() if name == forwarding.name for one in rounds]
    n_sent = sum(one["nAcknowledged"] for one in rounds)
    until("the subscriber has every message", lambda: forwarding.n_received() >= n_sent)


def summary(name, pace, rounds):
    """The median of the rounds, and how far the CPU time per message was apart in them."""
    median = lambda value: statistics.median(map(value, rounds))
    micros = [one["serverCpu"]["microsPerReport"] for one in rounds]
    return {
        "measured": f"report path, {pace}",
        "server": name,
        "connections": rounds[0]["nConnections"],
        "rounds": len(rounds),
        "messagesPerSecond": round(median(lambda one: one["reportsPerSecond"])),
        "cpuMicrosPerMessage": round(statistics.median(micros), 2),
        "cpuMicrosPerMessageRange": [round(min(micros), 2), round(max(micros), 2)],
        "pubackMillisP50": round(median(lambda one: one["latencyMillis"]["p50"]), 2),
        "pubackMillisP99": round(median(lambda one: one["latencyMillis"]["p99"]), 2),
    }


def memory(stage, things, n_rounds):
    """What a connection that does nothing costs, on a server that was just started."""
    figures, n_connections = {}, len(things)
    for _ in range(n_rounds):
        for server in (Picket(stage), Mosquitto(stage, is_forwarding=False)):
            server.start()
            # One connection was there before: what the first one costs is no matter of their number.
            hold(stage, server, things[:1])
            before = server.memory()
            after = hold(stage, server, things)
            per = {kind: (after[kind] - before[kind]) / n_connections for kind in before}
            figures.setdefault(server.name, []).append(per)
            server.stop()
    results = []
    for name, rounds in figures.items():
        median = {kind: round(statistics.median(one[kind] for one in rounds), 2) for kind in ("rss", "pss")}
        results.append(
            {
                "measured": "memory per idle connection",
                "server": name.split(",")[0],
                "connections": n_connections,
                "rounds": n_rounds,
                "rssKibPerConnection": median["rss"],
                "pssKibPerConnection": median["pss"],
            }
        )
    return results


def hold(stage, server, things):
    """Holds so many connections; says the server's memory meanwhile."""
    command = [stage.program("picket-sim"), "idle", *server.address(), *server.fleet(things)]
    command += ["--keep-alive-secs", 600]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    holder = stage.start(command, **pipes)
    ready = holder.stdout.readline()
    if ready != f"ready {len(things)}\n":
        raise RuntimeError(f"expected {len(things)} connections, found {ready!r}")
    # What a handshake needs is freed when it is over.
    time.sleep(2)
    size = server.memory()
    holder.communicate()
    return size


def alarm(stage, picket, size):
    """From the moment of a compromise to the alarm and to the end of the device's connection."""
    results = []
    # Every thing may report once a second, and does.
    for measured, rate in (("alarm", None), (f"alarm, {size.n_things} reports/s beside", size.n_things)):
        compromised = [f"alarm{rate or 0}-{at}" for at in range(size.n_compromises)]
        picket.register(compromised)
        load = beside(stage, picket, things(size)) if rate else None
        devices, alerts = asyncio.run(compromises(picket, compromised, size))
        if load:
            load.terminate()
            load.wait()
        results.append(story(measured, devices, alerts))
    return results


def beside(stage, picket, things):
    """Reports of other things all the while, one a second from each."""
    command = [stage.program("picket-sim"), "load", *picket.address(), *picket.fleet(things)]
    command += ["--rate", len(things), "--duration-secs", 600]
    load = stage.start(command, stdout=subprocess.DEVNULL)
    # It connects first, and says nothing then.
    time.sleep(2 + len(things) / 400)
    return load


async def compromises(picket, things, size):
    alerts = await Alerts().start()
    name = "Isolate" + things[0].split("-")[0]
    respond = ["response", "create", name, "--quarantine", "--webhook", alerts.url]
    await asyncio.to_thread(picket.operator, *respond)
    tls = context(picket.identity())
    devices = [Device(picket, tls, thing) for thing in things]
    lives = [
        # Any phase of the interval, any moment of the wave.
        device.live(random.uniform(0, 1), random.uniform(2, 2 + size.compromise_secs))
        for device in devices
    ]
    await asyncio.wait_for(asyncio.gather(*lives), 60 + size.compromise_secs)
    while len(alerts.alerts) < len(things):
        await asyncio.sleep(0.05)
    refusal = await Device(picket, tls, things[0]).connect()
    if refusal != 5:
        raise RuntimeError(f"a quarantined device got {refusal}, expected 5: not authorized")
    await asyncio.to_thread(picket.operator, "response", "delete", name)
    return devices, alerts.alerts


def story(measured, devices, alerts):
    alerted, raised, cut = [], [], []
    for device in devices:
        raised_at, alerted_at = alerts[device.thing]
        raised.append(raised_at - device.compromised_at)
        alerted.append(alerted_at - device.compromised_at)
        cut.append(device.disconnected_at - raised_at)
    result = {"measured": measured, "server": "picket", "compromises": len(devices)}
    for name, values in (("compromiseToAlarm", raised), ("compromiseToAlert", alerted), ("alarmToDisconnected", cut)):
        for percent in (50, 99):
            result[f"{name}MillisP{percent}"] = round(1000 * percentile(values, percent), 1)
    return result


def percentile(values, percent):
    """Nearest rank."""
    values = sorted(values)
    return values[max(math.ceil(len(values) * percent / 100), 1) - 1]
