"""A stream ingest app that prints rows for the platform to write.

Reads messages as NDJSON on standard input, each with its id, and answers each by one line with that id: with rows, or
with an error, which puts the message into the dead-letter queue. Its log goes to standard error.
"""
import json
import sys


def rows(record):
    """One row for each measurement of a message."""
    for name, value in record["measurements"].items():
        yield {"station": record["station"], "at": record["at"], "name": name, "value": value}


def answer(message):
    try:
        return {"id": message["id"], "rows": list(rows(message["record"]))}
    except (AttributeError, KeyError, TypeError) as error:
        return {"id": message["id"], "error": f"no measurements: {error!r}"}


def main():
    print("ready", file=sys.stderr, flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
