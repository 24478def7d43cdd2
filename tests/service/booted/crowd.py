"""Print clients of the machine: print files over and over until they are told to stop. Run in the machine by the tests.

Says, as JSON, the numbers of the jobs that were accepted and what was said to those that were not.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from itertools import cycle
from pathlib import Path

from printerd import client

ADDRESS, FOLDER, STOP, CLIENTS = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
PAUSE = float(sys.argv[5])
"""Seconds between two prints of a client: the lists of the command line end at 1000 jobs."""
accepted: list[int] = []
refused: list[str] = []


def print_on(number: int) -> None:
    for file in cycle(sorted(one for one in FOLDER.iterdir() if one.suffix in client.FORMATS)):
        if STOP.exists():
            return
        time.sleep(PAUSE)
        try:
            accepted.append(client.print_file(ADDRESS, file, user=f"client{number}", title=file.name).number)
        except Exception as error:
            refused.append(repr(error))


threads = [threading.Thread(target=print_on, args=(number,)) for number in range(CLIENTS)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(json.dumps({"accepted": accepted, "refused": refused}))
