"""The benchmark's tables: emptied before each run, counted after it, with a client that shares no code with either loader."""

import pathlib
import subprocess
import time

from cassandra import ConsistencyLevel
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile
from cassandra.concurrent import execute_concurrent_with_args
from cassandra.policies import DCAwareRoundRobinPolicy, TokenAwarePolicy

KEYSPACE = "t_bench"
NAMESPACE = "tenant-bench"
# Counts of parts of the ring: a count of a whole table would take longer than a request may.
PARTS = 256
LOWEST, HIGHEST = -(2**63), 2**63 - 1
QUIET_SECONDS = 300
# Heads the compactions that run in `nodetool compactionstats`. What it calls pending is an estimate, which stays as it
# was when the table is truncated.
COMPACTS = "compaction type"


def nodetool(member, *arguments):
    """Runs nodetool in a member's pod; returns what it prints."""
    command = ["kubectl", "--namespace", NAMESPACE, "exec", member, "--container", "cassandra", "--", "nodetool"]
    return subprocess.run([*command, *arguments], check=True, capture_output=True, text=True).stdout


class Database:
    """A session as the platform's role."""

    def __init__(self, hosts, binding, partitions):
        read = lambda name: pathlib.Path(binding, name).read_text(encoding="utf-8").strip()
        profile = ExecutionProfile(
            load_balancing_policy=TokenAwarePolicy(DCAwareRoundRobinPolicy("dc1")),
            consistency_level=ConsistencyLevel.LOCAL_QUORUM,
            request_timeout=120,
        )
        self.members = [f"coredms-{ordinal}" for ordinal in range(len(hosts))]
        self.partitions = partitions
        self.cluster = Cluster(
            hosts,
            auth_provider=PlainTextAuthProvider(read("username"), read("password")),
            execution_profiles={EXEC_PROFILE_DEFAULT: profile},
            connect_timeout=30,
        )

    def __enter__(self):
        self.session = self.cluster.connect(KEYSPACE)
        return self

    def __exit__(self, *_):
        self.cluster.shutdown()

    def empty(self, table):
        """Truncates a table, drops the snapshot that members make of it, and waits until they rest."""
        self.session.execute(f'TRUNCATE "{table}"', timeout=120)
        for member in self.members:
            nodetool(member, "clearsnapshot", "--all")
        deadline = time.monotonic() + QUIET_SECONDS
        while any(COMPACTS in nodetool(member, "compactionstats") for member in self.members):
            if time.monotonic() > deadline:
                raise TimeoutError(f"members still compact after {QUIET_SECONDS} s")
            time.sleep(1)

    def count(self, table):
        """Rows of a table, at LOCAL_QUORUM."""
        token = "token({})".format(", ".join(f'"{column}"' for column in self.partitions[table]))
        select = self.session.prepare(f'SELECT count(*) FROM "{table}" WHERE {token} > ? AND {token} <= ?')
        step = (HIGHEST - LOWEST) // PARTS
        bounds = [LOWEST + part * step for part in range(PARTS)] + [HIGHEST]
        results = execute_concurrent_with_args(self.session, select, zip(bounds, bounds[1:]), concurrency=4)
        return sum(rows.one()[0] for _, rows in results)
