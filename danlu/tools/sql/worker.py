"""The process that touches a database: reads one request, answers it, and can do nothing else.

It is started as a file of its own and imports little more than the standard library, so it starts fast and
shares no memory with whoever asks. Whatever the statement says, the connection is read-only, and memory,
steps, rows and bytes are capped (`confinement.py`). The packages of other databases than SQLite are loaded
when they are asked for.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]  # in isolated mode nothing of the program is on the path


def main() -> None:
    if str(ROOT) not in sys.path:
        sys.path.append(str(ROOT))
    from danlu.tools.sql.confinement import RefusedError

    request: dict[str, Any] = json.loads(sys.stdin.buffer.read())
    try:
        answer = _answer(request)
    except RefusedError as error:
        answer = {"error": str(error)}
    except MemoryError:
        answer = {"error": "the statement needs more memory than is granted"}
    sys.stdout.buffer.write(json.dumps(answer).encode())


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    if request["engine"] == "sqlite":
        from danlu.tools.sql.sqlite_file import answer_sqlite

        return answer_sqlite(request)
    from danlu.tools.sql.other_engines import answer_other

    return answer_other(request)


if __name__ == "__main__":
    main()
