"""What a tenant notices of another one in the same Broker that sends as fast as it can into a database that is slow.

`bench` posts messages from several connections while the servers of its database are held for most of the time, until
its queue is full and its gateway answers 429; `calm` posts one message at a time, before that and meanwhile. Nothing but
202 and 429 with Retry-After may be answered, and every message that was must be a row in the end. Servers are held from
the node's own side, so this machine must be the node; `deploy/bench.sh` calls this.
"""

import argparse
import contextlib
import json
import os
import pathlib
import re
import signal
import statistics
import sys
import threading
import time

from cluster import Gateway, get, kubectl
from database import Database

NOISY, CALM = "bench", "calm"
CONNECTIONS, MESSAGES, NOTE = 4, 200, "n" * 500
SAMPLES = 400
# A server of the slow database runs for so long, and is held for so long.
RUNS, HELD = 0.02, 0.08
# How soon a full queue is to be seen, and everything to be a row afterwards.
FULL_SECONDS, SETTLED_SECONDS = 120, 600


def pods(namespace, selector):
    """Pods by their names."""
    listed = json.loads(kubectl(namespace, "get", "pods", "--selector", selector, "--output", "json"))
    return {pod["metadata"]["name"]: pod for pod in listed["items"]}


def processes(pod, program):
    """Numbers on this machine of a pod's processes of a program."""
    uid = pod["metadata"]["uid"]
    found = []
    for process in pathlib.Path("/proc").iterdir():
        try:
            groups = (process / "cgroup").read_text(encoding="ascii")
            if (uid in groups or uid.replace("-", "_") in groups) and (process / "comm").read_text(encoding="utf-8").strip() == program:
                found.append(int(process.name))
        except (FileNotFoundError, NotADirectoryError, ProcessLookupError):
            continue
    return found


def resident(pids):
    """The most memory that processes have had so far."""
    peaks = [re.search(r"^VmHWM:\s+(\d+) kB", pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii"), re.MULTILINE) for pid in pids]
    return sum(int(peak[1]) * 1024 for peak in peaks if peak)


class Slowness:
    """Holds processes for most of the time, as long as this is open."""

    def __init__(self, pids):
        self.pids = pids
        self.ends = threading.Event()
        self.thread = threading.Thread(target=self.hold)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ends.set()
        self.thread.join()

    def hold(self):
        """Stops and continues them by turns; at the end they run."""
        while not self.ends.wait(RUNS):
            self.send(signal.SIGSTOP)
            time.sleep(HELD)
            self.send(signal.SIGCONT)

    def send(self, number):
        """Sends them a signal."""
        for pid in self.pids:
            # One that has ended keeps no other from going on.
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


class Load:
    """Connections that post as fast as they are answered; a batch that is refused is sent again."""

    def __init__(self):
        self.ends = threading.Event()
        self.full = threading.Event()
        self.lock = threading.Lock()
        self.answers = {}
        self.wrong = []
        self.accepted = 0
        self.slowest = 0
        self.threads = [threading.Thread(target=self.post, args=(number,)) for number in range(CONNECTIONS)]

    def start(self):
        """Starts all connections."""
        for thread in self.threads:
            thread.start()

    def stop(self):
        """Ends them once what they have sent is accepted."""
        self.ends.set()
        for thread in self.threads:
            thread.join()

    def post(self, connection):
        """Posts batches, each with ids of its own."""
        gateway = Gateway(NOISY, "bench", "noise")
        batch = 0
        while not self.ends.is_set() and not self.wrong:
            first = (batch * CONNECTIONS + connection) * MESSAGES
            lines = "".join(json.dumps({"id": first + n, "note": NOTE}) + "\n" for n in range(MESSAGES))
            while not self.wrong and not self.accept(gateway, f"{connection}-{batch}", lines):
                continue
            batch += 1

    def accept(self, gateway, key, lines):
        """Posts a batch once; whether it was accepted."""
        start = time.monotonic()
        try:
            headers = {"content-type": "application/x-ndjson", "idempotency-key": key}
            status, told, body = gateway.ask("POST", "/v1/pipelines/noise/messages", lines, **headers)
        except OSError as error:
            status, told, body = 0, {}, str(error).encode()
        seconds = time.monotonic() - start
        with self.lock:
            self.answers[status] = self.answers.get(status, 0) + 1
            self.slowest = max(self.slowest, seconds)
            if status == 202:
                self.accepted += MESSAGES
                return True
            if status != 429 or not told.get("retry-after"):
                self.wrong.append(f"{status} {dict(told)} {body[:300].decode(errors='replace')}")
                return False
        self.full.set()
        time.sleep(int(told["retry-after"]))
        return False


def sample(gateway, begin):
    """Milliseconds of each message until it is answered, and until its row is read."""
    answers, rows = [], []
    for number in range(begin, begin + SAMPLES):
        _, posted, total = gateway.first(number)
        answers.append(posted * 1000)
        rows.append(total * 1000)
    percentiles = lambda values: {
        "p50": round(statistics.median(values), 1),
        "p99": round(statistics.quantiles(values, n=100)[98], 1),
        "most": round(max(values), 1),
    }
    return {"answer": percentiles(answers), "row": percentiles(rows)}


def settled(hosts, binding, accepted):
    """Waits until every accepted message is a row; how many rows there are."""
    deadline = time.monotonic() + SETTLED_SECONDS
    with Database(hosts, binding, {"noise": ["id"]}) as database:
        while (rows := database.count("noise")) < accepted and time.monotonic() < deadline:
            time.sleep(2)
        return rows


def watched():
    """Pods whose memory must stay bounded, with the program that runs in each."""
    broker = get(f"tenant-{NOISY}", "tenant", NOISY)["status"]["broker"]
    kinds = [
        ("simbdp-system", f"simbdp.dev/broker={broker}", "beam.smp"),
        (f"tenant-{NOISY}", "app.kubernetes.io/component=gateway", "simbdp-gateway"),
        (f"tenant-{NOISY}", "simbdp.dev/pipeline=noise", "simbdp-ingest"),
    ]
    return [(name, program, processes(pod, program)) for namespace, selector, program in kinds for name, pod in pods(namespace, selector).items()]


def measure(arguments):
    """The neighbour alone, then beside the load; then everything that was accepted is counted."""
    servers = [pid for pod in pods(f"tenant-{NOISY}", "simbdp.dev/coredms=coredms").values() for pid in processes(pod, "java")]
    if not servers:
        sys.exit("error: the servers of the database do not run on this machine")
    memory = watched()
    before = [resident(pids) for _, _, pids in memory]
    calm = Gateway(CALM, "bench", "calm")
    calm.first(0)
    alone = sample(calm, 1)
    load = Load()
    with Slowness(servers):
        load.start()
        try:
            if not load.full.wait(FULL_SECONDS):
                sys.exit(f"error: no queue was full within {FULL_SECONDS} s: {load.answers}")
            beside = sample(calm, 1 + SAMPLES)
        finally:
            load.stop()
    if load.wrong:
        sys.exit(f"error: neither 202 nor 429 with Retry-After: {load.wrong}")
    rows = settled(arguments.hosts, arguments.binding, load.accepted)
    if rows != load.accepted:
        sys.exit(f"error: {load.accepted} messages were accepted, {rows} are rows")
    return {
        "connections": CONNECTIONS,
        "samples": SAMPLES,
        "heldShare": round(HELD / (RUNS + HELD), 2),
        "alone": alone,
        "beside": beside,
        "answers": load.answers,
        "slowestAnswerSeconds": round(load.slowest, 2),
        "accepted": load.accepted,
        "rows": rows,
        "memory": [
            {"pod": name, "program": program, "peakBefore": most, "peak": resident(pids)}
            for (name, program, pids), most in zip(memory, before)
        ],
    }


def main():
    """Measures and writes noise.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hosts", nargs="+", required=True, help="addresses of the noisy tenant's database")
    parser.add_argument("--binding", required=True, help="directory with its username and password")
    parser.add_argument("--directory", required=True, help="where the results go")
    arguments = parser.parse_args()
    text = json.dumps(measure(arguments), indent=2)
    print(text)
    pathlib.Path(arguments.directory, "noise.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
