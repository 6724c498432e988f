#!/usr/bin/env python3
"""Measures what SPECIFICATION.md promises: `make bench`; with BENCH_QUICK=1 only whether it can be measured.

Prints a line of JSON for each result, then a table. Fails if something could not be measured; a missed aim is no failure.
"""

import dataclasses
import json
import os
import platform
import sys
import time

import control_plane
import engine
import history
import measure
from processes import Picket, Stage


@dataclasses.dataclass
class Size:
    n_things: int = 2000  # each is an idle connection, and reports once a second beside the alarms
    n_connections: int = 500
    n_reports_each: int = 50
    n_max_rounds: int = 4
    n_rate_rounds: int = 3
    n_sustained_rounds: int = 1  # everybody at once, last: nobody may report so often twice
    n_sustained_each: int = 60
    rate: int = 2000
    rate_secs: int = 5
    n_memory_rounds: int = 3
    n_compromises: int = 60
    compromise_secs: int = 12
    n_registry_things: int = 100_000
    n_registry_groups: int = 1000
    n_registry_profiles: int = 1000
    n_registry_calls: int = 200
    registry_rate: int = 200
    registry_secs: int = 20
    n_history_devices: int = 10_000
    n_history_days: int = 14
    n_engine_devices: int = 1_000_000
    n_sql_devices: int = 50_000


QUICK = Size(
    n_things=100, n_connections=50, n_max_rounds=1, n_rate_rounds=1, n_sustained_each=30, rate=500, rate_secs=1,
    n_memory_rounds=1, n_compromises=5, compromise_secs=2,
    n_registry_things=500, n_registry_groups=20, n_registry_profiles=20, n_registry_calls=20, registry_secs=1,
    n_history_devices=100, n_history_days=2,
    n_engine_devices=2000, n_sql_devices=1000,
)  # fmt: skip


def main(binaries):
    size = QUICK if os.environ.get("BENCH_QUICK", "0") not in ("", "0") else Size()
    began = time.monotonic()
    with Stage(binaries) as stage:
        picket = Picket(stage).start()
        picket.furnish()
        picket.register(measure.things(size))
        results, n_reports = measure.report_path(stage, picket, size)
        check_logged(picket, n_reports)
        told(results)
        results += told(measure.memory(stage, measure.things(size), size.n_memory_rounds))
        picket.start()
        results += told(measure.alarm(stage, picket, size))
    with Stage(binaries) as stage:
        results += told(control_plane.control_plane(stage, size))
    with Stage(binaries) as stage:
        results += told(history.history(stage, size, binaries))
    results += told(engine.engine(binaries, size))
    say(table(results))
    say(f"{machine()}; {time.monotonic() - began:.0f} s")


def told(results):
    for result in results:
        say(json.dumps(result))
    return results


def check_logged(picket, n_reports):
    """A report that was refused is acknowledged, too: only the log knows. Nothing may be in alarm either."""
    violations = picket.operator("violation", "list")["activeViolations"]
    picket.stop()
    n_logged = picket.n_reports_logged()
    if n_logged != n_reports or violations:
        raise RuntimeError(f"{n_reports} reports acknowledged, {n_logged} in the log, violations: {violations[:2]}")


def table(results):
    """Each aim with what was found; ratios first."""

    def of(measured, server="picket"):
        found = (one for one in results if one["measured"] == measured and one["server"].startswith(server))
        return next(found)

    lines = []

    def line(what, found, aim="", is_met=None):
        verdict = {None: "", True: "met", False: "MISSED"}[is_met]
        lines.append(f"{what:<62} {found:>12} {aim:>10} {verdict}".rstrip())

    line("what", "found", "aim")
    for pace in ("max", "sustained", "rate"):
        own = of(f"report path, {pace}")
        for other in ("mosquitto, forwarding", "mosquitto, no subscriber"):
            ratio = own["cpuMicrosPerMessage"] / of(f"report path, {pace}", other)["cpuMicrosPerMessage"]
            line(f"CPU of a judged report / {other}, {pace}", f"{ratio:.2f}", "<= 2", ratio <= 2)
    idle = [of("memory per idle connection", server)["pssKibPerConnection"] for server in ("picket", "mosquitto")]
    line("memory of an idle connection / mosquitto", f"{idle[0] / idle[1]:.2f}", "<= 1", idle[0] <= idle[1])
    own = of("report path, sustained")["messagesPerSecond"]
    line("reports/s", f"{own}", ">= 5000", own >= 5000)
    for one in (one for one in results if one["measured"].startswith("report path")):
        pace = one["measured"].split(", ")[1]
        line(f"{one['server']}, {pace}: messages/s", one["messagesPerSecond"])
        line(f"{one['server']}, {pace}: CPU us/message", one["cpuMicrosPerMessage"])
        line(f"{one['server']}, {pace}: PUBACK p50, p99 ms", f"{one['pubackMillisP50']}, {one['pubackMillisP99']}")
    for one in (one for one in results if one["measured"].startswith("memory")):
        line(f"{one['server']}: RSS, PSS KiB/connection", f"{one['rssKibPerConnection']}, {one['pssKibPerConnection']}")
    for one in (one for one in results if one["measured"].startswith("alarm")):
        for name, aim in (("compromiseToAlarm", 1500), ("compromiseToAlert", None), ("alarmToDisconnected", 200)):
            p50, p99 = one[f"{name}MillisP50"], one[f"{name}MillisP99"]
            goal = (f"< {aim}", p99 < aim) if aim else ()
            line(f"{one['measured']}: {name} p50, p99 ms", f"{p50}, {p99}", *goal)
    registry_lines(of, line)
    history.history_lines(results, line)
    engine_lines(of, line)
    return "\n".join(lines)


def registry_lines(of, line):
    """The control plane: each call beside moto's, and its own aims."""
    for kind, aim in (("DescribeThing", 10), ("ListThings", 30)):
        own, other = (of(f"control plane, {kind}, in turn", server) for server in ("picket", "moto"))
        line(f"{kind}: CPU / moto's", f"{own['cpuMillisPerCall'] / max(other['cpuMillisPerCall'], 0.01):.3f}")
        for one in (own, other):
            line(f"{one['server']}, {kind} in turn: p50, p99 ms", f"{one['millisP50']}, {one['millisP99']}")
        p99 = of(f"control plane, {kind}, 200 a second")["millisP99"]
        line(f"{kind} at 200 a second: p99 ms", p99, f"< {aim}", p99 < aim)
    made = of("control plane, creating")
    line("start with that registry, ms", made["startMillis"], "< 2000", made["startMillis"] < 2000)
    rss = of("control plane, memory")["rssMib"]
    line("memory, MiB", rss, "< 400", rss < 400)
    line("moto: memory, MiB", of("control plane, memory", "moto")["rssMib"])
    line("things made a second", made["perSecond"])
    line("moto: things made a second", of("control plane, creating", "moto")["perSecond"])
    line("profiles made and attached a second", made["profilesPerSecond"])


def engine_lines(of, line):
    """The engine alone: judging, memory, snapshots."""
    own = of("engine")
    rate, memory, snapshot = own["reportsPerCoreSecond"], own["bytesPerDevice"], own["snapshotMillis"]
    live, replayed = own["liveReportsPerCoreSecond"], own["replayedReportsPerCoreSecond"]
    line("reports a second of a core, ten behaviors", rate, ">= 300000", rate >= 300_000)
    line("DuckDB: the same rules as SQL", of("engine", "duckdb")["reportsPerCoreSecond"])
    line("memory of a device's state, bytes", memory, "<= 2000", memory <= 2000)
    line(f"snapshot of {own['devices']} devices, ms", snapshot, "< 5000", snapshot < 5000)
    line("reading it, ms", own["restoreMillis"])
    line("longest end of a window, all devices, ms", own["windowEndMillis"])
    line("replayed / live reports a second, a round", f"{replayed / live:.2f}", ">= 1", replayed >= live)


def machine():
    with open("/proc/meminfo") as lines:
        gib = int(next(lines).split()[1]) / 2**20
    return f"{time.strftime('%Y-%m-%d')}; {os.cpu_count()} cores, {gib:.0f} GiB, Linux {platform.release()}"


def say(text):
    print(text, flush=True)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: run.py FOLDER_OF_THE_BINARIES")
    main(sys.argv[1])
