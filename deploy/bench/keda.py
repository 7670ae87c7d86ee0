"""KEDA, beside the operator: it scales a Deployment with the very pods of an ingest app, by the same queue.

The pipeline is paused meanwhile, so that what comes in waits for whoever takes it. KEDA's operator runs on this machine
and not in a pod; to start from nothing it needs neither its metrics server nor its webhooks.
"""

import os
import pathlib
import random
import subprocess
import tempfile
import time

from cluster import apply, get, kubectl, secret, until

NAME = "keda"
# The way back to none is not measured.
COOLDOWN_SECONDS = 5


class Keda:
    """KEDA's operator, and what it scales, for as long as this is open."""

    def __init__(self, module, program, log, namespace, pipeline):
        self.crds = str(pathlib.Path(module, "config/crd/bases"))
        self.program, self.log = program, log
        self.namespace, self.pipeline = namespace, pipeline
        self.interval = 0
        self.random = random.Random(1)

    def __enter__(self):
        self.directory = tempfile.TemporaryDirectory()
        template = get(self.namespace, "deployment", f"ingest-{self.pipeline}")["spec"]["template"]
        template["metadata"]["labels"][NAME] = "true"
        self.pause(True)
        kubectl(self.namespace, "apply", "--server-side", "--filename", self.crds)
        kubectl(self.namespace, "wait", "--for=condition=Established", "crd/scaledobjects.keda.sh", "crd/triggerauthentications.keda.sh")
        apply(self.namespace, self.login(), self.authentication(), self.deployment(template))
        self.start()
        return self

    def __exit__(self, *_):
        # While KEDA's operator runs: it takes its finalizers away.
        kinds = "scaledobjects.keda.sh,triggerauthentications.keda.sh,deployments,secrets"
        kubectl(self.namespace, "delete", kinds, "--selector", f"{NAME}=true", "--wait", "--timeout=60s")
        self.process.terminate()
        self.process.wait()
        kubectl(self.namespace, "delete", "--filename", self.crds, "--wait=false")
        self.pause(False)
        self.directory.cleanup()

    def pause(self, paused):
        """Pauses the pipeline, or ends that, and waits until its own app has gone."""
        patch = f'{{"spec": {{"paused": {str(paused).lower()}}}}}'
        kubectl(self.namespace, "patch", "ingestpipeline", self.pipeline, "--type", "merge", "--patch", patch)
        if paused:
            until("the pipeline is paused", lambda: not self.pods(f"simbdp.dev/pipeline={self.pipeline}"))

    def pods(self, selector):
        """Names of pods."""
        return kubectl(self.namespace, "get", "pods", "--selector", selector, "--output", "name").split()

    def start(self):
        """Starts KEDA's operator, with certificates for the port that its metrics server would ask."""
        certificates = pathlib.Path(self.directory.name)
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
             "-subj", "/CN=keda", "-keyout", certificates / "tls.key", "-out", certificates / "tls.crt"],
            check=True, capture_output=True,
        )  # fmt: skip
        (certificates / "ca.crt").write_bytes((certificates / "tls.crt").read_bytes())
        environment = {"WATCH_NAMESPACE": self.namespace, "POD_NAMESPACE": self.namespace, "KEDA_CLUSTER_OBJECT_NAMESPACE": self.namespace}
        command = [
            self.program, "--metrics-bind-address=0", "--health-probe-bind-address=0", "--metrics-service-bind-address=127.0.0.1:0",
            f"--cert-dir={certificates}", "--zap-encoder=json",
        ]  # fmt: skip
        with open(self.log, "w", encoding="utf-8") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **environment})

    def labelled(self, kind, version, **parts):
        """An object that is deleted at the end."""
        return {"apiVersion": version, "kind": kind, "metadata": {"name": NAME, "labels": {NAME: "true"}}, **parts}

    def login(self):
        """The ingest app's own login, by an address that this machine reaches."""
        binding = secret(self.namespace, "broker-binding")
        service, namespace, *_ = binding["host"].split(".")
        address = get(namespace, "service", service)["spec"]["clusterIP"]
        url = f"amqp://{binding['username']}:{binding['password']}@{address}:5672/{binding['vhost']}"
        return self.labelled("Secret", "v1", stringData={"host": url})

    def authentication(self):
        """Where KEDA finds the login."""
        reference = [{"parameter": "host", "name": NAME, "key": "host"}]
        return self.labelled("TriggerAuthentication", "keda.sh/v1alpha1", spec={"secretTargetRef": reference})

    def deployment(self, template):
        """None of the ingest app's pods."""
        labels = {NAME: "true"}
        return self.labelled("Deployment", "apps/v1", spec={"replicas": 0, "selector": {"matchLabels": labels}, "template": template})

    def poll(self, seconds):
        """Lets KEDA ask the queue that often."""
        self.interval = seconds
        trigger = {
            "type": "rabbitmq",
            "metadata": {"protocol": "amqp", "queueName": f"ingest.{self.pipeline}", "mode": "QueueLength", "value": "1"},
            "authenticationRef": {"name": NAME},
        }
        spec = {
            "scaleTargetRef": {"name": NAME},
            "minReplicaCount": 0,
            "maxReplicaCount": 1,
            "pollingInterval": seconds,
            "cooldownPeriod": COOLDOWN_SECONDS,
            "triggers": [trigger],
        }
        apply(self.namespace, self.labelled("ScaledObject", "keda.sh/v1alpha1", spec=spec))
        until("KEDA has read the ScaledObject", self.ready)

    def ready(self):
        """Whether KEDA says that it watches the queue."""
        status = get(self.namespace, "scaledobjects.keda.sh", NAME).get("status", {})
        return any(one["type"] == "Ready" and one["status"] == "True" for one in status.get("conditions", []))

    def at_none(self):
        """Waits until none runs; the next one is started by what comes in."""
        until("no pod of KEDA's runs", lambda: not self.pods(f"{NAME}=true"), 1)
        # A message comes at any point of KEDA's interval.
        time.sleep(self.random.uniform(0, self.interval))
