"""History: what a value takes on the disk, and how fast a device's values are found; beside gzip and DuckDB."""

import gzip
import json
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

# Run in the environment that has DuckDB; the same query over the same files, each device once.
DUCKDB = """
import json, sys, time
import duckdb
files, n_devices = sys.argv[1], int(sys.argv[2])
db = duckdb.connect()
millis = []
for number in range(20):
    device = f"device-{number * n_devices // 20:06}"
    began = time.perf_counter()
    rows = db.execute(f"SELECT time, bytes_out FROM '{files}' WHERE thing_name = ? AND NOT is_duplicate ORDER BY time DESC",
        [device]).fetchall()
    millis.append((time.perf_counter() - began) * 1000)
print(json.dumps([len(rows), sorted(millis)]))
"""


def history(stage, size, binaries):
    """A fleet reports every five minutes, and its files are asked; then the same by others."""
    folder = stage.folder / "history-size"
    folder.mkdir()
    program = [Path(binaries) / "examples/history_size", folder, size.n_history_devices, size.n_history_days]
    said = subprocess.run([str(word) for word in program], check=True, capture_output=True, text=True).stdout
    results = [json.loads(line) | {"server": "picket"} for line in said.splitlines()]
    written = results[0]
    plain = (folder / "plain.jsonl").read_bytes()
    n_lines = plain.count(b"\n")
    zipped = len(gzip.compress(plain, 6))
    points = written["datapoints"] / written["reports"] * n_lines
    results.append({"measured": "history, size", "server": "gzip of JSON lines", "bytesPerDatapoint": zipped / points})
    python = Path(__file__).parent.parent / "target/bench-venv/bin/python"
    files = f"{folder}/history/reports/*/*.parquet"
    command = [python, "-c", DUCKDB, files, str(size.n_history_devices)]
    n_values, millis = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    own = next(one for one in results if "all-bytes-out" in one["measured"])
    if n_values != own["values"]:
        raise RuntimeError(f"DuckDB found {n_values} values, {own['values']} were listed")
    results.append({
        "measured": own["measured"], "server": "DuckDB", "values": n_values,
        "millisP50": statistics.median(millis), "millisP99": millis[-1],
    })
    shutil.rmtree(folder)
    return results


def history_lines(results, line):
    found = [one for one in results if one["measured"].startswith("history")]
    for one in found:
        if "bytesPerDatapoint" in one:
            value = one["bytesPerDatapoint"]
            goal = ("<= 1", value <= 1) if one["server"] == "picket" else ()
            line(f"{one['server']}: bytes a datapoint of history", f"{value:.2f}", *goal)
        if "reportsPerSecond" in one:
            line("reports written to history a second, one core", one["reportsPerSecond"])
        if "millisP99" in one:
            goal = ("< 50", one["millisP99"] < 50) if one["server"] == "picket" else ()
            line(f"{one['server']}: {one['measured'][9:]}: p50, p99 ms", f"{one['millisP50']:.1f}, {one['millisP99']:.1f}", *goal)


if __name__ == "__main__":
    # history.py FOLDER_OF_THE_BINARIES [N_DEVICES [N_DAYS]]: this part alone.
    import tempfile
    import types

    counts = [int(word) for word in sys.argv[2:]] + [10_000, 14][len(sys.argv[2:]) :]
    size = types.SimpleNamespace(n_history_devices=counts[0], n_history_days=counts[1])
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        results = history(types.SimpleNamespace(folder=Path(folder)), size, sys.argv[1])
    for one in results:
        print(json.dumps(one))
    history_lines(results, lambda what, found, aim="", is_met=None: print(f"{what:<70} {found:>14} {aim:>6} {is_met or ''}"))
    print(f"{time.monotonic() - began:.0f} s")
