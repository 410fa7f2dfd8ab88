"""In the place of `danlu teach`: says what it was told, waits to be stopped, ends well when taken up."""

from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path

WORDS = sys.argv[1:]


def main() -> int:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in the background ignore it
    out = Path(next(word for word in WORDS if word.startswith("out="))[4:])
    (out / "sft").mkdir(parents=True, exist_ok=True)
    (out / "steps.json").write_text('["collect", "sft", "compare"]')
    (out / "done.json").write_text('{"collect": 1.0}')
    print(f"\x1b[31mhello\x1b[0m \x07{' '.join(WORDS)}", flush=True)
    lines = [json.dumps({"step": step, "loss": 3 / step}) for step in range(1, 9)]
    (out / "sft" / "metrics.jsonl").write_text("\n".join(lines))
    if not (out / "again").exists():
        (out / "again").touch()
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            print("stopped", flush=True)
            return 130
    (out / "sft" / "model").mkdir()
    (out / "result.json").write_text(json.dumps(RESULT))
    return 0


HOSTILE = "<script>alert('sample')</script><img src=x onerror=alert('x')>"
RESULT = {
    "model": "sft/model",
    "table": [
        {"what": "loss", "n": 3, "before": 2.5, "after": 1.25},
        {"what": HOSTILE, "n": 3, "before": 2.5, "after": 1.25},
    ],
    "samples": [
        {
            "messages": [{"role": "user", "content": f"Why? {HOSTILE}"}],
            "answers": {"before": {"text": "No."}, "after": {"text": f"Because. {HOSTILE}"}},
        }
    ],
}

if __name__ == "__main__":
    sys.exit(main())
