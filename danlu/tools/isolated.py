"""The process of one call of an isolated tool: module, function and arguments in, the value as JSON out."""

from __future__ import annotations

import importlib
import json
import math
import resource
import sys
from functools import reduce
from typing import Any


def main() -> None:
    request: dict[str, Any] = json.loads(sys.stdin.buffer.read())
    answers, sys.stdout = sys.stdout, sys.stderr  # what the function prints is no answer
    memory, seconds = request["memory_bytes"], math.ceil(request["cpu_s"])
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.path[:] = request["path"]
    module = importlib.import_module(request["module"])
    function: Any = reduce(getattr, request["function"].split("."), module)
    try:
        answer = {"value": function(**request["arguments"])}
        text = json.dumps(answer)
    except Exception as error:  # whatever a user's function raises is the answer
        text = json.dumps({"error": [type(error).__name__, str(error)]})
    answers.write(text)
    answers.flush()


if __name__ == "__main__":
    main()
