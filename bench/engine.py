"""The engine alone, on decoded records, beside the same rules as SQL over the same data in DuckDB, on one thread."""

import json
import subprocess
import sys
import time
from pathlib import Path

N_ROUNDS = 24

# The reports of examples/engine_rate.rs: each device every 300 s, spread over the round.
REPORTS = """
create table reports as
select device, round * 300 + device * 300.0 / {n_devices} as received, 29358693495 as bytes_in,
    20000000 + hash(device, round) % 1048576 as bytes_out, 10000000 + hash(round, device) % 349525 as packets_out,
    40 + hash(device, round) % 400 / 10.0 as temperature, [22, 443, 8080] as tcp, [68, 5353] as udp,
    ['10.0.0.7', '10.0.9.7', '192.168.1.1', '2001:db8::1'] as remotes
from range({n_devices}) as devices(device), range({n_rounds}) as rounds(round)
"""

# Whether each report breaches each rule. No alarms, no runs, no duplicates, no explanations: only what is compared.
AT_REPORTS = """
select count(*) filter (where ports or udp_ports or many_ports or remotes or hot or sum300 > 9e12 or sum900 > 9e12 or sum3600 > 9e12)
from (
    select len(list_filter(tcp, lambda port: port not in (22, 80, 443, 8080))) > 0 as ports,
        list_contains(udp, 161) as udp_ports, len(tcp) > 9 as many_ports, temperature > 90 as hot,
        len(list_filter(remotes, lambda remote: not (remote like '10.%' or remote like '192.168.%' or remote like '2001:db8:%'))) > 0
            as remotes,
        sum(bytes_out) over (partition by device order by received range between 285 preceding and current row) as sum300,
        sum(bytes_in) over (partition by device order by received range between 855 preceding and current row) as sum900,
        sum(bytes_out) over (partition by device order by received range between 3420 preceding and current row) as sum3600
    from reports
)
"""

# Who is above the fleet's percentile in each window.
AT_WINDOWS = """
with sums as (select device, received // {secs} as nth, sum({column}) as total from reports group by all),
    thresholds as (select nth, quantile_disc(total, {quantile}) as threshold from sums group by nth)
select count(*) filter (where total > threshold) from sums join thresholds using (nth)
"""


def engine(binaries, size):
    """What the engine was measured to do, and how fast DuckDB answers the same of a fleet that it can hold."""
    program = Path(binaries) / "examples/engine_rate"
    found = json.loads(subprocess.run([program, str(size.n_engine_devices)], check=True, capture_output=True).stdout)
    return [{"measured": "engine", "server": "picket"} | found, sql(size.n_sql_devices)]


def sql(n_devices):
    # In a process of its own: the benchmark's Python has no DuckDB, and the time on a processor is its alone.
    python = Path(__file__).parent.parent / "target/bench-venv/bin/python"
    told = subprocess.run([python, __file__, str(n_devices)], check=True, capture_output=True).stdout
    return {"measured": "engine", "server": "duckdb"} | json.loads(told)


def main(n_devices):
    import duckdb

    database = duckdb.connect(config={"threads": 1})
    database.execute(REPORTS.format(n_devices=n_devices, n_rounds=N_ROUNDS))
    began = time.process_time()
    database.execute(AT_REPORTS).fetchall()
    at_reports = time.process_time() - began
    for secs, column, quantile in ((300, "bytes_out", 0.9), (3600, "packets_out", 0.99)):
        database.execute(AT_WINDOWS.format(secs=secs, column=column, quantile=quantile)).fetchall()
    took = time.process_time() - began
    n_reports = n_devices * N_ROUNDS
    found = {"devices": n_devices, "reportsPerCoreSecond": round(n_reports / took)}
    found["reportsPerCoreSecondWithoutPercentiles"] = round(n_reports / at_reports)
    print(json.dumps(found))


if __name__ == "__main__":
    main(int(sys.argv[1]))
