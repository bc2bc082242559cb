"""`python -m benchmarks`: run all parts, or some, and write docs/benchmarks/."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

from benchmarks.parts import PARTS
from benchmarks.processes import ROOT
from benchmarks.report import Results, write


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    arguments.add_argument("--only", nargs="+", choices=list(PARTS), metavar="PART", help=f"of: {', '.join(PARTS)}")
    arguments.add_argument("--keep", action="store_true", help="keep the results of parts that are not run now")
    arguments.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks", help="default: %(default)s")
    chosen = arguments.parse_args()
    results: Results = {}
    loads: dict[str, str] = {}
    earlier = chosen.out / "results.json"
    if chosen.keep and earlier.exists():
        known = json.loads(earlier.read_text())
        results, loads = known["results"], known["loads"]
    for name in chosen.only or PARTS:
        loads[name] = f"{os.getloadavg()[0]:.1f}"
        began = time.monotonic()
        try:
            results[name] = PARTS[name]()
        except Exception as error:  # the others are worth having
            print(f"{name} failed: {error}", file=sys.stderr)
            results[name] = {name: {"absent": f"failed: {str(error).splitlines()[0][:150]}"}}
        print(f"{name} (load {loads[name]}, {time.monotonic() - began:.0f} s)", flush=True)
        for who, one in results[name].items():
            shown = {key: round(value, 2) for key, value in one.items() if isinstance(value, int | float)}
            print(f"  {who}: {shown or one}", flush=True)
        results = {part: results[part] for part in PARTS if part in results}
        write(results, loads, chosen.out)


if __name__ == "__main__":
    main()
