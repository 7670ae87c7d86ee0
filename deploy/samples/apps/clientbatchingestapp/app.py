"""A batch ingest app that writes to Cassandra by a driver of its own.

Started once per file, with its path as last argument. Rows are written with the version that the platform gave the file, so
that a file written twice shows once. The last line on standard output reports the rows.
"""
import csv
import json
import os
import sys
from pathlib import Path

from cassandra import ConsistencyLevel
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile
from cassandra.concurrent import execute_concurrent_with_args
from cassandra.policies import DCAwareRoundRobinPolicy

IN_FLIGHT = 64
TIMEOUT = 30


def binding(name):
    """An entry of the Service Binding of the tenant's database."""
    return (Path(os.environ["SERVICE_BINDING_ROOT"]) / "coredms" / name).read_text().strip()


def connect():
    profile = ExecutionProfile(
        load_balancing_policy=DCAwareRoundRobinPolicy(local_dc=binding("datacenter")),
        consistency_level=ConsistencyLevel.LOCAL_QUORUM,
        request_timeout=TIMEOUT,
    )
    cluster = Cluster(
        contact_points=binding("host").split(","),
        port=int(binding("port")),
        auth_provider=PlainTextAuthProvider(binding("username"), binding("password")),
        execution_profiles={EXEC_PROFILE_DEFAULT: profile},
        connect_timeout=TIMEOUT,
    )
    return cluster, cluster.connect(os.environ["SIMBDP_KEYSPACE"])


def readings(path, version):
    """Rows as the table has them; None for a line that is none. The n-th record has the file's version plus n."""
    with open(path, newline="", encoding="utf-8") as file:
        for ordinal, line in enumerate(csv.DictReader(file)):
            try:
                celsius = (float(line["fahrenheit"]) - 32) / 1.8
                yield line["sensor"], int(line["second"]), celsius, version + ordinal
            except (KeyError, TypeError, ValueError) as error:
                print(f"record {ordinal}: {error}", file=sys.stderr)
                yield None


def main(path):
    cluster, session = connect()
    insert = session.prepare(
        f"INSERT INTO {os.environ['SIMBDP_TABLE']} (sensor, second, celsius) VALUES (?, ?, ?) USING TIMESTAMP ?"
    )
    rejected = 0

    def good():
        nonlocal rejected
        for row in readings(path, int(os.environ["SIMBDP_FILE_VERSION"])):
            if row is None:
                rejected += 1
            else:
                yield row

    results = execute_concurrent_with_args(
        session, insert, good(), concurrency=IN_FLIGHT, raise_on_first_error=True, results_generator=True
    )
    accepted = sum(1 for _ in results)
    cluster.shutdown()
    print(json.dumps({"accepted": accepted, "rejected": rejected}))


if __name__ == "__main__":
    main(sys.argv[-1])
