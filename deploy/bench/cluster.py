"""What the measurements ask of the cluster, and of a tenant's gateway."""

import base64
import http.client
import json
import subprocess
import time

PATIENCE = 180
# The gateway closes a connection that has been idle for some seconds.
IDLE_SECONDS = 5


def kubectl(namespace, *arguments, given=None):
    """Runs kubectl in a namespace; returns what it prints."""
    command = ["kubectl", "--namespace", namespace, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, input=given).stdout


def get(namespace, kind, name):
    """An object."""
    return json.loads(kubectl(namespace, "get", kind, name, "--output", "json"))


def secret(namespace, name):
    """The entries of a Secret."""
    data = get(namespace, "secret", name)["data"]
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


def apply(namespace, *objects):
    """Applies objects."""
    kubectl(namespace, "apply", "--filename", "-", given=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))


def until(what, ask, pause=0.2):
    """Asks until it is so."""
    deadline = time.monotonic() + PATIENCE
    while not (answer := ask()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {PATIENCE} s")
        time.sleep(pause)
    return answer


class Gateway:
    """A tenant's gateway for one of its pipelines, as one of its users, over one connection."""

    def __init__(self, tenant, user, pipeline):
        namespace = f"tenant-{tenant}"
        self.pipeline = pipeline
        self.address = get(namespace, "service", "gateway")["spec"]["clusterIP"]
        self.headers = {"authorization": f"Bearer {secret(namespace, f'user-{user}')['token']}"}
        self.connection = http.client.HTTPConnection(self.address, 8080, timeout=30)
        self.used = time.monotonic()

    def ask(self, method, path, body=None, **headers):
        """Status, headers and body of an answer."""
        if time.monotonic() - self.used > IDLE_SECONDS:
            self.connection.close()
        self.connection.request(method, path, body, {**self.headers, **headers})
        answer = self.connection.getresponse()
        body = answer.read()
        self.used = time.monotonic()
        return answer.status, answer.headers, body

    def post(self, number):
        """Posts the message of a number; seconds that it took."""
        start = time.monotonic()
        path, record = f"/v1/pipelines/{self.pipeline}/messages", json.dumps({"id": number, "note": "first"})
        status, _, body = self.ask("POST", path, record, **{"content-type": "application/json"})
        if status != 202:
            raise RuntimeError(f"POST: {status} {body.decode()}")
        return time.monotonic() - start

    def has(self, number):
        """Whether the row of a number can be read."""
        status, _, body = self.ask("GET", f"/v1/tables/{self.pipeline}/rows?id={number}")
        return status == 200 and f'"id":{number}' in body.decode().replace(" ", "")

    def first(self, number):
        """Posts a message; when, seconds until the answer, and until its row can be read."""
        start = time.monotonic()
        posted = self.post(number)
        until("the row", lambda: self.has(number), 0.01)
        return start, posted, time.monotonic() - start
