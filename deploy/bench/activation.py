"""Measures the time from the POST of a message to a resting pipeline until its row can be read, from no ingest app and from one.

Beside it how long a bare pod of the same image and volumes takes, from the change of its Deployment's scale until its
process runs, and how long a message takes where KEDA scales the same pods by the same queue. Expects the IngestPipeline
`first` of the Tenant `bench`; `deploy/bench.sh` calls this.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import threading
import time

from cluster import Gateway, apply, get, kubectl, until
from keda import Keda

TENANT, PIPELINE, BARE = "bench", "first", "bare"
NAMESPACE = f"tenant-{TENANT}"
# Waits for an address that nobody has: a process that runs and does nothing.
IDLE = ["/usr/local/bin/simbdp-operator", "prepare", "--wait-for", "127.0.0.1:1", "--pod-name", "bare-1"]
RUNNING = (
    "jsonpath={.metadata.name} {.metadata.labels.app\\.kubernetes\\.io/component} "
    "{.status.containerStatuses[0].state.running.startedAt}{'\\n'}"
)
# Seconds between two times that KEDA asks: what it does unless told otherwise, and the least that it can be told.
KEDA_INTERVALS = {"kedaDefault": 30, "kedaShortest": 1}


class Starts:
    """When pods of a component were first seen to run, by a watch."""

    def __init__(self):
        self.seen = {}
        command = ["kubectl", "--namespace", NAMESPACE, "get", "pods", "--watch", "--output", RUNNING]
        self.watch = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        """Notes the time of each pod that runs for the first time."""
        for line in self.watch.stdout:
            name, component, *started = line.split(" ")
            if started and started[0].strip():
                self.seen.setdefault((component, name), time.monotonic())

    def after(self, component, moment):
        """Seconds from a moment until the first pod of a component that ran after it."""
        later = lambda: [at for (of, _), at in list(self.seen.items()) if of == component and at >= moment]
        return min(until(f"a pod of {component} runs", later, 0.01)) - moment

    def close(self):
        """Ends the watch."""
        self.watch.terminate()
        self.watch.wait()


def replicas():
    """Ingest apps that are to run, and pods that are there."""
    declared = get(NAMESPACE, "deployment", f"ingest-{PIPELINE}")["spec"]["replicas"]
    selector = f"simbdp.dev/pipeline={PIPELINE}"
    pods = kubectl(NAMESPACE, "get", "pods", "--selector", selector, "--output", "name").split()
    return declared, len(pods)


def bare_deployment():
    """A Deployment of none, with the very pods of the ingest app, but for what they do."""
    app = get(NAMESPACE, "deployment", f"ingest-{PIPELINE}")
    template = app["spec"]["template"]
    labels = {"app.kubernetes.io/component": BARE}
    template["metadata"] = {"labels": labels}
    container = template["spec"]["containers"][0]
    container["command"] = IDLE
    for probe in ("livenessProbe", "readinessProbe"):
        container.pop(probe, None)
    template["spec"]["terminationGracePeriodSeconds"] = 0
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": BARE, "labels": labels},
        "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": template},
    }


def from_none(gateway, starts, number):
    """The first message, while no app runs."""
    start, posted, total = gateway.first(number)
    return {"seconds": total, "postSeconds": posted, "podSeconds": starts.after("ingest", start)}


def bare(starts):
    """From a change of scale to a process that runs."""
    start = time.monotonic()
    kubectl(NAMESPACE, "scale", "deployment", BARE, "--replicas=1")
    seconds = starts.after(BARE, start)
    kubectl(NAMESPACE, "scale", "deployment", BARE, "--replicas=0")
    selector = f"app.kubernetes.io/component={BARE}"
    until("the bare pod is gone", lambda: not kubectl(NAMESPACE, "get", "pods", "--selector", selector, "--output", "name"), 0.5)
    return {"seconds": seconds}


def with_operator(gateway, starts, runs, number):
    """One round: a bare pod, the first message to none, and another one while the app runs."""
    runs["bare"].append(bare(starts))
    until("no ingest app runs", lambda: replicas() == (0, 0), 1)
    runs["zero"].append(from_none(gateway, starts, number))
    _, posted, total = gateway.first(number + 1)
    runs["one"].append({"seconds": total, "postSeconds": posted})


def with_keda(keda, gateway, starts, runs, number):
    """One round: the first message to none, for each interval."""
    for step, (kind, interval) in enumerate(KEDA_INTERVALS.items()):
        keda.poll(interval)
        keda.at_none()
        runs[kind].append(from_none(gateway, starts, number + step))


def tell(number, runs):
    """Shows a round."""
    print(f"round {number}: " + ", ".join(f"{kind} {its[-1]['seconds']:.2f} s" for kind, its in runs.items() if its), flush=True)


def measure(gateway, arguments):
    """Every round of the operator's, then every one of KEDA's: one of both takes what comes in."""
    runs = {kind: [] for kind in ("bare", "zero", "one", *KEDA_INTERVALS)}
    apply(NAMESPACE, bare_deployment())
    starts = Starts()
    try:
        for number in range(1, arguments.rounds + 1):
            with_operator(gateway, starts, runs, 2 * number)
            tell(number, runs)
        log = pathlib.Path(arguments.directory, "keda.log")
        with Keda(arguments.keda_module, arguments.keda, log, NAMESPACE, PIPELINE) as keda:
            for number in range(1, arguments.rounds + 1):
                with_keda(keda, gateway, starts, runs, 2 * (arguments.rounds + number))
                tell(number, runs)
    finally:
        starts.close()
        kubectl(NAMESPACE, "delete", "deployment", BARE, "--wait=false")
    return runs


def main():
    """Measures and writes activation.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keda", required=True, help="KEDA's operator")
    parser.add_argument("--keda-module", required=True, help="directory of KEDA's module")
    parser.add_argument("--directory", required=True, help="where the results go")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    runs = measure(Gateway(TENANT, "bench", PIPELINE), arguments)
    median = lambda kind, key: round(statistics.median(run[key] for run in runs[kind]), 3)
    from_zero = ("zero", *KEDA_INTERVALS)
    result = {
        "rounds": arguments.rounds,
        **{kind: {key: median(kind, key) for key in ("seconds", "postSeconds", "podSeconds")} for kind in from_zero},
        "one": {key: median("one", key) for key in ("seconds", "postSeconds")},
        "bare": {"seconds": median("bare", "seconds")},
        "runs": runs,
    }
    text = json.dumps(result, indent=2)
    pathlib.Path(arguments.directory, "activation.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
