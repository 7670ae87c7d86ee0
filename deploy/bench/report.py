"""Writes the results of the benchmark between two marks of docs/benchmarks.md.

    report.py .local/bench docs/benchmarks.md
"""

import json
import pathlib
import sys

BEGIN, END = "<!-- results: written by deploy/bench.sh -->", "<!-- end of results -->"
MIB = 2**20


def table(header, rows):
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines) + "\n"


def loads(results):
    """Rows a second of each loader, and our ratios to them."""
    rows = []
    for source in results["inputs"]:
        ours = next(iter(source["loaders"].values()))["rowsPerSecond"]
        for loader, medians in source["loaders"].items():
            rounds = sorted(run["rowsPerSecond"] for run in source["runs"] if run["loader"] == loader)
            rate = medians["rowsPerSecond"]
            rows.append([
                f"{source['input']}, {source['rows']:,} rows, {source['bytes'] / 1e6:.0f} MB",
                loader,
                f"{rate:,.0f}",
                f"{rounds[0]:,.0f} to {rounds[-1]:,.0f}",
                f"{medians['reportedRowsPerSecond']:,.0f}",
                f"{medians['peakResidentBytes'] / MIB:.0f} MiB",
                f"{medians['cpuSeconds']:.1f} s",
                "" if rate == ours else f"{ours / rate:.2f}",
            ])  # fmt: skip
    header = ["file", "loader", "rows/s", "of the rounds", "by its own account", "peak memory", "its own CPU time", "ours is times"]
    return table(header, rows)


def decodes(results):
    """Megabytes a second without a database."""
    rows = [
        [
            name,
            f"{one['bareMBps']:.0f}",
            f"{one['decodedMBps']:.0f} ({one['decodedRatio']:.0%})",
            f"{one['encodedMBps']:.0f} ({one['encodedRatio']:.0%})",
        ]
        for name, one in results.items()
    ]
    return table(["file", "bare csv crate, MB/s", "parsed and validated", "and encoded for Cassandra"], rows)


def rests(results):
    """Resident memory of each kind of pod."""
    rows = [[pod["program"], pod["pod"], f"{pod['residentBytes'] / MIB:.1f} MiB"] for pod in results["pods"]]
    return table(["program", "pod", "resident at rest"], rows)


def activations(results):
    """From the first message to its row, and what of it is the start of a pod."""
    bare = results["bare"]["seconds"]
    kinds = [
        ("zero", "from no ingest app"),
        ("kedaShortest", "from none, KEDA asking every second"),
        ("kedaDefault", "from none, KEDA asking every 30 s, its default"),
    ]
    rows = []
    for kind, name in kinds:
        one = results[kind]
        rows.append([
            name,
            f"{one['seconds']:.2f} s",
            f"{one['postSeconds'] * 1000:.0f} ms",
            f"{one['podSeconds']:.2f} s ({one['podSeconds'] / one['seconds']:.0%})",
            f"{one['seconds'] - bare:.2f} s",
        ])  # fmt: skip
    one = results["one"]
    rows.append(["from one", f"{one['seconds']:.2f} s", f"{one['postSeconds'] * 1000:.0f} ms", "", ""])
    rows.append(["a bare pod", f"{bare:.2f} s", "", "", ""])
    return table(["", "until the row is read", "until the POST is answered", "until the pod's process runs", "above a bare pod"], rows)


def neighbour(results):
    """What the neighbour noticed, what was answered, and who took how much memory."""
    rows = []
    for name, key in (("until the POST is answered", "answer"), ("until the row is read", "row")):
        alone, beside = results["alone"][key], results["beside"][key]
        rows.append([
            name,
            *(f"{alone[which]:.0f} ms" for which in ("p50", "p99")),
            *(f"{beside[which]:.0f} ms" for which in ("p50", "p99")),
            f"{beside['p99'] / alone['p99']:.1f}",
        ])  # fmt: skip
    noticed = table(["a message of the neighbour's", "alone, p50", "p99", "beside the load, p50", "p99", "p99 is times"], rows)
    answers = ", ".join(f"{count:,} times {status}" for status, count in sorted(results["answers"].items()))
    grown = [
        [pod["program"], pod["pod"], f"{pod['peakBefore'] / MIB:.0f} MiB", f"{pod['peak'] / MIB:.0f} MiB"] for pod in results["memory"]
    ]
    return f"""\
### A neighbour

{results['samples']} messages, one after the other; beside it {results['connections']} connections and a database that is held for {results['heldShare']:.0%} of the time.

{noticed}
The load got {answers}, the slowest after {results['slowestAnswerSeconds']:.1f} s. Of {results['accepted']:,} messages that were accepted {results['rows']:,} are rows.

{table(["program", "pod", "most memory before", "and after"], grown)}
"""


def text(directory):
    """Everything between the marks."""
    read = lambda name: json.loads(pathlib.Path(directory, name).read_text(encoding="utf-8"))
    machine, load, rest = read("machine.json"), read("load.json"), read("rest.json")
    first = read("activation.json")
    # Not where the node is another machine.
    noise = neighbour(read("noise.json")) if pathlib.Path(directory, "noise.json").exists() else ""
    decode = {name: read(f"decode-{name}.json") for name in ("million", "flights")}
    return f"""\
`make bench`, on {machine['day']} at commit {machine['commit']}, on one machine for everything: {machine['cores']} cores of
{machine['model']}, {machine['memoryBytes'] / 2**30:.0f} GiB, Linux {machine['kernel']}, Rust {machine['rust']}, Java {machine['java']}, dsbulk {machine['dsbulk']}, KEDA {machine['keda']}.

### Loading

Medians of {load['rounds']} rounds.

{loads(load)}
### Decoding alone

On one core; medians of 5 rounds.

{decodes(decode)}
### The first message

Medians of {first['rounds']} rounds.

{activations(first)}
{noise}### Memory at rest

Images of the profile `{rest['profile']}`.

{rests(rest)}"""


def main():
    """Replaces what is between the marks."""
    directory, page = sys.argv[1], pathlib.Path(sys.argv[2])
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        sys.exit(f"error: {page} lacks the marks")
    page.write_text(f"{before}{BEGIN}\n\n{text(directory)}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
