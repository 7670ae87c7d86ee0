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
    zero, one, bare = results["zero"], results["one"], results["bare"]
    rows = [
        ["from no ingest app", f"{zero['seconds']:.2f} s", f"{zero['postSeconds'] * 1000:.0f} ms",
         f"{zero['podSeconds']:.2f} s ({zero['podSeconds'] / zero['seconds']:.0%})", f"{zero['seconds'] - bare['seconds']:.2f} s"],
        ["from one", f"{one['seconds']:.2f} s", f"{one['postSeconds'] * 1000:.0f} ms", "", ""],
        ["a bare pod", f"{bare['seconds']:.2f} s", "", "", ""],
    ]  # fmt: skip
    return table(["", "until the row is read", "until the POST is answered", "until the pod's process runs", "above a bare pod"], rows)


def text(directory):
    """Everything between the marks."""
    read = lambda name: json.loads(pathlib.Path(directory, name).read_text(encoding="utf-8"))
    machine, load, rest = read("machine.json"), read("load.json"), read("rest.json")
    first = read("activation.json")
    decode = {name: read(f"decode-{name}.json") for name in ("million", "flights")}
    return f"""\
`make bench`, on {machine['day']} at commit {machine['commit']}, on one machine for everything: {machine['cores']} cores of
{machine['model']}, {machine['memoryBytes'] / 2**30:.0f} GiB, Linux {machine['kernel']}, Rust {machine['rust']}, Java {machine['java']}, dsbulk {machine['dsbulk']}.

### Loading

Medians of {load['rounds']} rounds.

{loads(load)}
### Decoding alone

On one core; medians of 5 rounds.

{decodes(decode)}
### The first message

Medians of {first['rounds']} rounds.

{activations(first)}
### Memory at rest

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
