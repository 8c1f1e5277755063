"""Hold a directory of salvaged Parquet files, read with pyarrow, against the same
rows as NDJSON.

usage: compare.py DIR ROWS.ndjson TYPES.json
TYPES: collection id -> field name -> [type, element type]; fields without a column
in the files are not in it. Prints what differs and the number of rows; exit 1 when
any does."""
import collections
import glob
import json
import os
import struct
import sys

import pyarrow.parquet as pq


def f32(x):
    return struct.unpack("<f", struct.pack("<f", float(x)))[0]


def numbers(kind, raw):
    """What the bytes of a vector stand for."""
    b = bytes(raw)
    if kind == "Float16Vector":
        return [f32(x) for (x,) in struct.iter_unpack("<e", b)]
    if kind == "BFloat16Vector":
        return [struct.unpack("<f", b"\0\0" + b[i:i + 2])[0] for i in range(0, len(b), 2)]
    return list(raw)


def canon(kind, element, v, stored):
    if v is None:
        return None
    if kind in ("Float", "Double"):
        return f32(v) if kind == "Float" else float(v)
    if kind == "FloatVector":
        return [f32(x) for x in v]
    if kind in ("Float16Vector", "BFloat16Vector"):
        return numbers(kind, v) if stored else [f32(x) for x in v]
    if kind == "SparseFloatVector":
        if stored:
            assert isinstance(v, str), v
            v = json.loads(v)
        return sorted((int(i), f32(x)) for i, x in v.items())
    if kind == "JSON":
        return json.loads(v) if stored else v
    if kind == "Array":
        return [canon(element, None, x, stored) for x in v]
    return v


def main(directory, ndjson, types):
    types = json.load(open(types))
    count = collections.Counter()
    rows = 0
    for path in sorted(glob.glob(os.path.join(directory, "*", "*.parquet"))):
        collection = os.path.basename(os.path.dirname(path))
        of = types[collection]
        partition = os.path.basename(path).split("-")[1]
        table = pq.read_table(path)
        assert set(table.column_names) == set(of), (path, table.column_names, of)
        for row in table.to_pylist():
            rows += 1
            row = {n: canon(*of[n], v, True) for n, v in row.items()}
            count[collection, partition, json.dumps(row, sort_keys=True)] += 1
    for line in open(ndjson):
        r = json.loads(line)
        of = types[str(r["collection"])]
        row = {n: canon(*of[n], r["row"].get(n), False) for n in of}
        count[str(r["collection"]), str(r["partition"]), json.dumps(row, sort_keys=True)] -= 1
    diff = [(n, k) for k, n in count.items() if n]
    for n, k in diff[:3]:
        print("%+d" % n, *k)
    print(rows, "rows", len(diff), "differ")
    sys.exit(1 if diff else 0)


main(*sys.argv[1:])
