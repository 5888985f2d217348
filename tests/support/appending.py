"""A process that appends to a log in PostgreSQL from some threads, and says what was acknowledged: for tests that kill it.

python -m support.appending URL FIRST COUNT      # prints "<index> <number of the record>", each once it is acknowledged
"""

from __future__ import annotations

import sys
import threading
from contextlib import closing

from keyturn.adapters.postgres.connections import Connections
from keyturn.adapters.postgres.log import LogInPostgres
from keyturn.adapters.postgres.place import StorePlace
from support.log_records import make_record

THREADS = 4


def main(url: str, first: int, count: int) -> None:
    said = threading.Lock()
    with closing(Connections(StorePlace.parse(url))) as connections, LogInPostgres(connections) as log:

        def append(thread: int) -> None:
            for number in range(first + thread, first + count, THREADS):
                index = log.append(make_record(number))
                with said:
                    sys.stdout.write(f"{index} {number}\n")
                    sys.stdout.flush()

        threads = [threading.Thread(target=append, args=(thread,)) for thread in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    sys.stdout.write("done\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
