"""`formats.built`: a type is taught to msgspec by one thread at a time."""

from __future__ import annotations

import subprocess
import sys

_PROGRAM = """
import sys, threading, types
import msgspec
from keyturn.formats.built import built

sys.setswitchinterval(1e-6)
FIELDS = "".join(f'    f{n}: Annotated[str, Meta(max_length=80)] = ""\\n' for n in range(6))
SOURCE = "from __future__ import annotations\\nfrom typing import Annotated\\nfrom msgspec import Meta, Struct\\n" + "".join(
    f"class C{n}(Struct):\\n{FIELDS}    x: {'int' if n == 0 else f'tuple[C{n - 1}, ...]'} = {'0' if n == 0 else '()'}\\n"
    for n in range(8)
)

def decode(kind, together):
    together.wait()
    for _ in range(20):
        msgspec.json.decode(b'{"x":[{"x":[{"f5":"b"}],"f5":"q"}],"f5":"b"}', type=built(kind))

for number in range(25):
    module = sys.modules[f"m{number}"] = types.ModuleType(f"m{number}")
    exec(SOURCE, module.__dict__)
    together = threading.Barrier(4)
    threads = [threading.Thread(target=decode, args=(module.C7, together)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
"""


def test_threads_that_decode_the_first_text_of_a_type_at_once_do_not_crash() -> None:
    # In a process of its own: without the lock, msgspec reads what is not there and takes the whole process with it.
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
