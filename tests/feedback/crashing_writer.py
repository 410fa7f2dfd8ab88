"""A writer that is killed: children hand in judgements until they die, and it tells what was acknowledged.

Called with a database and a way of dying: `before` each thing that is sent to the database, or `after` it,
one step later each time; `working` never dies by itself.
"""

from __future__ import annotations

import os
import signal
import sys

from sqlalchemy import event

from danlu.feedback.store import Store


def main(place: str, way: str, number: int) -> None:
    store = Store.open(place)
    sent = 0

    def count(*_: object) -> None:
        nonlocal sent
        sent += 1
        if sent == number:
            os.kill(os.getpid(), signal.SIGKILL)

    if way == "before":
        for name in ("before_cursor_execute", "commit"):
            event.listen(store.database.engine, name, count)
    elif way == "after":
        event.listen(store.database.engine, "after_cursor_execute", count)
    while given := store.next_tasks("ann"):
        accepted = store.add("ann", given[0].ranking([1, 2]))
        os.write(1, f"{accepted.id}\n".encode())
        if way == "after":
            count()
    os.write(1, b"end\n")


def fork(place: str, way: str, number: int) -> tuple[list[str], bool]:
    """What a child acknowledged, and whether it came to its end."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.dup2(writing, 1)
        main(place, way, number)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        lines = pipe.read().split()
    os.waitpid(child, 0)
    return [line for line in lines if line != "end"], lines[-1:] == ["end"]


if __name__ == "__main__":
    place, way = sys.argv[1:3]
    if way == "working":
        main(place, way, 0)
    else:
        for number in range(1, 1000):
            acknowledged, ended = fork(place, way, number)
            print(number, int(ended), *acknowledged, flush=True)
            if ended:
                break
