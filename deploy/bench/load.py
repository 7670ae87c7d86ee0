"""Loads the same files into the same tables with our ingest app and with dsbulk, alternating, and counts what arrived.

The database is the one of the Tenant `bench`; `deploy/bench.sh` prepares everything and calls this.
Writes a JSON file with every run, and medians and ratios of rows a second.
"""

import argparse
import csv
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass

from database import Database

OURS, DEFAULTS, REPLICA_SET = "simbdp-ingest", "dsbulk", "dsbulk, batches by replica set"
DSBULK = "com.datastax.oss.dsbulk.runner.DataStaxBulkLoader"
# The last line of dsbulk's table: total | failed | rows/s | ...
DSBULK_TOTALS = re.compile(r"^\s*([\d,]+) \|\s*([\d,]+) \|\s*([\d,]+) \|", re.MULTILINE)
PEAK = re.compile(r"^VmHWM:\s+(\d+) kB", re.MULTILINE)
# The peak only grows: what is missed is what a loader takes in its last moment.
SAMPLING = 0.05


@dataclass
class Input:
    """A file and its table."""

    name: str
    file: str
    rows: int
    keys: int
    options: list

    @classmethod
    def read(cls, name, file, key, options):
        """Counts rows and distinct keys of the file."""
        with open(file, newline="", encoding="utf-8") as lines:
            rows = csv.reader(lines)
            header = next(rows)
            places = [header.index(column) for column in key]
            count, keys = 0, set()
            for row in rows:
                count += 1
                keys.add(tuple(row[place] for place in places))
        return cls(name, file, count, len(keys), options)


@dataclass
class Run:
    """One load, measured."""

    input: str
    loader: str
    round: int
    rows: int
    seconds: float
    rowsPerSecond: float
    reportedRowsPerSecond: float
    peakResidentBytes: int
    userSeconds: float
    systemSeconds: float


def peak_resident(pid):
    """The most memory that a process has had so far; 0 when it has ended.

    What the kernel reports of an ended child counts from its fork, and so has this program's own memory in it.
    """
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        found = PEAK.search(status.read())
    return int(found[1]) * 1024 if found else 0


class Loaders:
    """How each loader is called, and what it says of itself."""

    def __init__(self, arguments):
        self.arguments = arguments

    def command(self, loader, source):
        """The command line; passwords are in files."""
        a = self.arguments
        if loader == OURS:
            return [
                a.ingest, "load", "--file", source.file, "--format", "csv", "--compression", "none",
                "--table", f"{a.directory}/{source.name}.table.json", "--keyspace", "t_bench",
                "--ledger-keyspace", "p_bench", "--endpoints", ",".join(f"{host}:9042" for host in a.hosts),
                "--binding", a.binding, "--log", "warn", "--rejects", f"{a.directory}/{source.name}.rejects.ndjson",
            ]  # fmt: skip
        command = [
            "java", "-cp", f"{a.dsbulk}/*", DSBULK, "load", "-f", f"{a.binding}/dsbulk.conf",
            "-url", source.file, "-k", "t_bench", "-t", source.name, *source.options,
        ]  # fmt: skip
        return command + (["--batch.mode", "REPLICA_SET"] if loader == REPLICA_SET else [])

    def said(self, loader, source, output, errors):
        """Rows a second by the loader's own account; ends the run when it did not load every row."""
        if loader == OURS:
            report = json.loads(output)
            if (report["rows"], report["rejected"]) != (source.rows, 0):
                sys.exit(f"error: {loader} wrote {report['rows']} rows and rejected {report['rejected']}")
            return report["rowsPerSecond"]
        totals = DSBULK_TOTALS.findall(output + errors)
        total, failed, rate = (int(number.replace(",", "")) for number in totals[-1])
        if (total, failed) != (source.rows, 0):
            sys.exit(f"error: {loader} took {total} rows and failed with {failed}")
        return rate

    def run(self, loader, source, number):
        """Runs it to its end and measures it from outside, its start included."""
        with open(f"{self.arguments.directory}/loader.out", "w+", encoding="utf-8") as out, open(
            f"{self.arguments.directory}/loader.err", "w+", encoding="utf-8"
        ) as err:
            start = time.monotonic()
            process = subprocess.Popen(self.command(loader, source), stdout=out, stderr=err)
            peak = 0
            while (ended := os.wait4(process.pid, os.WNOHANG))[0] == 0:
                peak = peak_resident(process.pid) or peak
                time.sleep(SAMPLING)
            _, status, usage = ended
            process.returncode = os.waitstatus_to_exitcode(status)
            seconds = time.monotonic() - start
            out.seek(0)
            err.seek(0)
            output, errors = out.read(), err.read()
        if process.returncode != 0:
            sys.exit(f"error: {loader} ended with {process.returncode}:\n{output[-2000:]}{errors[-2000:]}")
        return Run(
            input=source.name,
            loader=loader,
            round=number,
            rows=source.rows,
            seconds=round(seconds, 2),
            rowsPerSecond=round(source.rows / seconds, 1),
            reportedRowsPerSecond=round(self.said(loader, source, output, errors), 1),
            peakResidentBytes=peak,
            userSeconds=round(usage.ru_utime, 2),
            systemSeconds=round(usage.ru_stime, 2),
        )


def alternate(loaders, database, source, rounds):
    """Each loader once a round, each round begun by another one; every row of each is counted."""
    order, runs = [OURS, DEFAULTS, REPLICA_SET], []
    for number in range(1, rounds + 1):
        for loader in order:
            database.empty(source.name)
            run = loaders.run(loader, source, number)
            found = database.count(source.name)
            if found != source.keys:
                sys.exit(f"error: {source.name} has {found} rows after {loader}, not {source.keys}")
            runs.append(run)
            print(
                f"{source.name:8} round {number} {loader:31} {run.rowsPerSecond:8,.0f} rows/s "
                f"{run.seconds:7.1f} s {run.peakResidentBytes / 2**20:5.0f} MiB",
                flush=True,
            )
        order.append(order.pop(0))
    return runs


def summary(source, runs):
    """Medians of the rounds, and their ratios."""
    loaders = {}
    for loader in (OURS, DEFAULTS, REPLICA_SET):
        its = [run for run in runs if run.loader == loader]
        loaders[loader] = {
            "rowsPerSecond": statistics.median(run.rowsPerSecond for run in its),
            "reportedRowsPerSecond": statistics.median(run.reportedRowsPerSecond for run in its),
            "peakResidentBytes": max(run.peakResidentBytes for run in its),
            "cpuSeconds": round(statistics.median(run.userSeconds + run.systemSeconds for run in its), 2),
        }
    rate = {loader: medians["rowsPerSecond"] for loader, medians in loaders.items()}
    return {
        "input": source.name,
        "rows": source.rows,
        "bytes": os.path.getsize(source.file),
        "loaders": loaders,
        "timesDefaults": round(rate[OURS] / rate[DEFAULTS], 2),
        "timesBest": round(rate[OURS] / max(rate[DEFAULTS], rate[REPLICA_SET]), 2),
    }


def parse():
    """The arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hosts", nargs="+", required=True, help="addresses of the members")
    parser.add_argument("--binding", required=True, help="directory with username, password and dsbulk.conf")
    parser.add_argument("--ingest", required=True, help="the program simbdp-ingest")
    parser.add_argument("--dsbulk", required=True, help="directory of dsbulk's jars")
    parser.add_argument("--directory", required=True, help="where files are read and written")
    parser.add_argument("--flights", required=True)
    parser.add_argument("--million", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


def main():
    """Runs every loader on every file."""
    arguments = parse()
    flight = ("origin", "year", "month", "day", "carrier", "flight")
    sources = [
        Input.read("million", arguments.million, ("id",), []),
        Input.read("flights", arguments.flights, flight, ["--codec.nullStrings", "NA"]),
    ]
    partitions = {"million": ["id"], "flights": ["origin", "year", "month", "day"]}
    loaders = Loaders(arguments)
    results = []
    with Database(arguments.hosts, arguments.binding, partitions) as database:
        for source in sources:
            # The members' code is compiled while they run: nobody should be the first.
            for loader in (OURS, DEFAULTS, REPLICA_SET):
                database.empty(source.name)
                loaders.run(loader, source, 0)
            runs = alternate(loaders, database, source, arguments.rounds)
            results.append({**summary(source, runs), "runs": [asdict(run) for run in runs]})
    text = json.dumps({"rounds": arguments.rounds, "inputs": results}, indent=2)
    pathlib.Path(arguments.directory, "load.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
