"""Measures the time from the POST of a message to a resting pipeline until its row can be read, from no ingest app and from one.

Beside it how long a bare pod of the same image and volumes takes, from the change of its Deployment's scale until its
process runs. Expects the IngestPipeline `first` of the Tenant `bench`; `deploy/bench.sh` calls this.
"""

import argparse
import http.client
import json
import pathlib
import statistics
import subprocess
import threading
import time
import urllib.parse

NAMESPACE, PIPELINE, BARE = "tenant-bench", "first", "bare"
PATIENCE = 180
# Waits for an address that nobody has: a process that runs and does nothing.
IDLE = ["/usr/local/bin/simbdp-operator", "prepare", "--wait-for", "127.0.0.1:1", "--pod-name", "bare-1"]
RUNNING = (
    "jsonpath={.metadata.name} {.metadata.labels.app\\.kubernetes\\.io/component} "
    "{.status.containerStatuses[0].state.running.startedAt}{'\\n'}"
)


def kubectl(*arguments, given=None):
    """Runs kubectl in the tenant's namespace; returns what it prints."""
    command = ["kubectl", "--namespace", NAMESPACE, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, input=given).stdout


def until(what, ask, pause=0.2):
    """Asks until it is so."""
    deadline = time.monotonic() + PATIENCE
    while not (answer := ask()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {PATIENCE} s")
        time.sleep(pause)
    return answer


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


class Gateway:
    """The tenant's gateway, over one connection."""

    def __init__(self, url, token):
        self.connection = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc, timeout=30)
        self.headers = {"authorization": f"Bearer {token}"}

    def ask(self, method, path, body=None, media="application/json"):
        """Status and body of an answer."""
        self.connection.request(method, path, body, {**self.headers, "content-type": media})
        answer = self.connection.getresponse()
        return answer.status, answer.read()

    def post(self, number):
        """Posts the message of a number; seconds that it took."""
        start = time.monotonic()
        status, body = self.ask("POST", f"/v1/pipelines/{PIPELINE}/messages", json.dumps({"id": number, "note": "first"}))
        if status != 202:
            raise RuntimeError(f"POST: {status} {body.decode()}")
        return time.monotonic() - start

    def has(self, number):
        """Whether the row of a number can be read."""
        status, body = self.ask("GET", f"/v1/tables/{PIPELINE}/rows?id={number}")
        return status == 200 and f'"id":{number}' in body.decode().replace(" ", "")


def replicas():
    """Ingest apps that are to run, and pods that are there."""
    declared = kubectl("get", "deployment", f"ingest-{PIPELINE}", "--output", "jsonpath={.spec.replicas}")
    selector = f"simbdp.dev/pipeline={PIPELINE}"
    pods = kubectl("get", "pods", "--selector", selector, "--output", "name").split()
    return int(declared), len(pods)


def first(gateway, number):
    """Posts a message; seconds until the answer, and until its row can be read."""
    start = time.monotonic()
    posted = gateway.post(number)
    until("the row", lambda: gateway.has(number), 0.01)
    return start, posted, time.monotonic() - start


def bare_deployment():
    """A Deployment of none, with the very pods of the ingest app, but for what they do."""
    app = json.loads(kubectl("get", "deployment", f"ingest-{PIPELINE}", "--output", "json"))
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


def from_zero(gateway, starts, number):
    """From no ingest app."""
    until("no ingest app runs", lambda: replicas() == (0, 0), 1)
    start, posted, total = first(gateway, number)
    pod = starts.after("ingest", start)
    return {"seconds": total, "postSeconds": posted, "podSeconds": pod}


def bare(starts):
    """From a change of scale to a process that runs."""
    start = time.monotonic()
    kubectl("scale", "deployment", BARE, "--replicas=1")
    seconds = starts.after(BARE, start)
    kubectl("scale", "deployment", BARE, "--replicas=0")
    selector = f"app.kubernetes.io/component={BARE}"
    until("the bare pod is gone", lambda: not kubectl("get", "pods", "--selector", selector, "--output", "name"), 0.5)
    return {"seconds": seconds}


def measure(gateway, rounds):
    """Every round: a bare pod, the first message of none, and another one while the app runs."""
    kubectl("apply", "--filename", "-", given=json.dumps(bare_deployment()))
    starts = Starts()
    runs = {"bare": [], "zero": [], "one": []}
    try:
        for number in range(1, rounds + 1):
            runs["bare"].append(bare(starts))
            runs["zero"].append(from_zero(gateway, starts, 2 * number))
            _, posted, total = first(gateway, 2 * number + 1)
            runs["one"].append({"seconds": total, "postSeconds": posted})
            print(f"round {number}: " + ", ".join(f"{kind} {its[-1]['seconds']:.2f} s" for kind, its in runs.items()), flush=True)
    finally:
        starts.close()
        kubectl("delete", "deployment", BARE, "--wait=false")
    return runs


def main():
    """Measures and writes activation.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", required=True, help="the gateway's address")
    parser.add_argument("--token", required=True, help="file with a user's token")
    parser.add_argument("--directory", required=True, help="where the results go")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    token = pathlib.Path(arguments.token).read_text(encoding="utf-8").strip()
    runs = measure(Gateway(arguments.url, token), arguments.rounds)
    median = lambda kind, key: round(statistics.median(run[key] for run in runs[kind]), 3)
    result = {
        "rounds": arguments.rounds,
        "zero": {key: median("zero", key) for key in ("seconds", "postSeconds", "podSeconds")},
        "one": {key: median("one", key) for key in ("seconds", "postSeconds")},
        "bare": {"seconds": median("bare", "seconds")},
        "runs": runs,
    }
    text = json.dumps(result, indent=2)
    pathlib.Path(arguments.directory, "activation.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
