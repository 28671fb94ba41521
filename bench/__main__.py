"""`make bench [ONLY=name]`: run the benchmarks, print a table, leave build/bench.json."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import (
    api,
    campaign_email,
    campaigns,
    events,
    idle,
    imports,
    kpis,
    latency,
    letters,
    rendering,
    segments,
    smtp,
    streams,
    tracking,
)

BENCHMARKS: dict[str, Callable[[], list[dict[str, Any]]]] = {
    "ready": api.ready,
    "idle": idle.run,
    "update-endpoint": api.update_endpoint,
    "get-endpoint": api.get_endpoint,
    "send-messages": api.send_messages,
    "put-events": events.put_events,
    "event-log": events.log,
    "tracking": tracking.run,
    "rendering": rendering.run,
    "segments": segments.run,
    "letters": letters.run,
    "smtp": smtp.run,
    "campaign-email": campaign_email.run,
    "campaign": campaigns.run,
    "latency": latency.run,
    "imports": imports.imports,
    "kpis": kpis.run,
    "streams": streams.run,
}


def line(result: dict[str, Any]) -> str:
    ratio = f"{result['ratio']:.2f}" if result["ratio"] is not None else "-"
    value, reference = f"{result['value']:,.6g}", result["reference_value"]
    shown = f"{reference:,.6g}" if reference is not None else "-"
    return f"{result['name']:<28} {value:>12} {result['unit']:<10} {ratio:>6} of {shown:>9}  {result['reference']}"


def main() -> int:
    only = sys.argv[1:]
    unknown = [name for name in only if name not in BENCHMARKS]
    if unknown:
        print(f"no benchmark {unknown[0]}; there are {', '.join(BENCHMARKS)}")
        return 2
    print(f"Python {sys.version}")  # builds of one version differ in speed: only figures of the same one compare
    results = []
    for name in only or BENCHMARKS:
        for result in BENCHMARKS[name]():
            results.append(result)
            print(line(result), flush=True)
    folder = Path("build")
    folder.mkdir(exist_ok=True)
    (folder / "bench.json").write_text(json.dumps(results, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
