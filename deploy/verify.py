"""Counts the distinct keys of the demo's tables with the DataStax driver, at LOCAL_QUORUM.

A client that shares no code with simbdp. The password comes on standard input.

    verify.py --host POD_ADDRESS --user t_flights --keyspace t_flights < password
"""

import argparse
import sys

from cassandra import ConsistencyLevel
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile
from cassandra.policies import WhiteListRoundRobinPolicy
from cassandra.query import SimpleStatement

# table: (its key, the rows that its source has)
EXPECTED = {
    "flights": (("origin", "year", "month", "day", "carrier", "flight"), 336_776),
    "weather": (("origin", "time_hour"), 26_115),
    "planes": (("tailnum",), 3_322),
}


def distinct_keys(session, table, key):
    """Reads every key of a table and counts the distinct ones."""
    columns = ", ".join(f'"{column}"' for column in key)
    select = SimpleStatement(
        f'SELECT {columns} FROM "{table}"',
        consistency_level=ConsistencyLevel.LOCAL_QUORUM,
        fetch_size=5_000,
    )
    return len(set(session.execute(select, timeout=120)))


def main():
    """Prints a line a table; ends with 1 when one has another number of keys than its source."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, default=9042)
    parser.add_argument("--user", required=True)
    parser.add_argument("--keyspace", required=True)
    arguments = parser.parse_args()
    profile = ExecutionProfile(
        # One member asks the others.
        load_balancing_policy=WhiteListRoundRobinPolicy([arguments.host]),
        consistency_level=ConsistencyLevel.LOCAL_QUORUM,
        request_timeout=120,
    )
    cluster = Cluster(
        [arguments.host],
        port=arguments.port,
        auth_provider=PlainTextAuthProvider(arguments.user, sys.stdin.readline().strip()),
        execution_profiles={EXEC_PROFILE_DEFAULT: profile},
        connect_timeout=30,
    )
    wrong = 0
    try:
        session = cluster.connect(arguments.keyspace)
        for table, (key, expected) in EXPECTED.items():
            found = distinct_keys(session, table, key)
            wrong += found != expected
            verdict = "as the source" if found == expected else f"but the source has {expected:,}"
            print(f"    {table:8} {found:>9,} distinct keys ({', '.join(key)}), {verdict}")
    finally:
        cluster.shutdown()
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
