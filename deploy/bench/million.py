"""Writes the file of the benchmark: rows of a bigint key, a text of 25 characters, an int, a uuid and a timestamp.

Every row has 102 bytes. It depends on nothing but the row's number, so that each machine makes the same file.

    million.py ROWS > million.csv
"""

import hashlib
import sys
import uuid

LETTERS = "abcdefghijklmnopqrstuvwxyz012345"
FIRST_KEY = 1_000_000


def row(number):
    """The row of a number, without its end of line."""
    digest = hashlib.sha512(number.to_bytes(8, "big")).digest()
    name = "".join(LETTERS[byte & 31] for byte in digest[:25])
    amount = 10_000 + int.from_bytes(digest[25:29], "big") % 90_000
    reference = uuid.UUID(bytes=digest[29:45], version=4)
    second = int.from_bytes(digest[45:49], "big")
    day, second = 1 + second % 28, second // 28
    hour, minute, milli = second % 24, second // 24 % 60, second // 1_440
    seen_at = f"2026-01-{day:02}T{hour:02}:{minute:02}:{milli // 1_000 % 60:02}.{milli % 1_000:03}Z"
    return f"{FIRST_KEY + number},{name},{amount},{reference},{seen_at}"


def main():
    """Prints header and rows."""
    rows = int(sys.argv[1])
    if not 0 < rows <= 9 * FIRST_KEY:
        sys.exit(f"error: {rows} rows; write 1 to {9 * FIRST_KEY}")
    print("id,name,amount,reference,seen_at")
    for number in range(rows):
        print(row(number))


if __name__ == "__main__":
    main()
