"""Give a record to several gates at once over HTTP, a thread for each: `ports.Gates`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor, wait

from keyturn.adapters.over_http.http_client import HttpClient
from keyturn.errors import KeyturnError, Unavailable

__all__ = ["WITHIN_S", "GatesAtOnce"]

WITHIN_S = 5.0
"""How long a gate may take to answer."""
_ANSWER_BYTES_MAX = 16 * 1024


class GatesAtOnce:
    """The gates at `addresses`, by URI; a gate without an address answers that it has none."""

    def __init__(self, addresses: Mapping[str, str]) -> None:
        self._addresses = addresses

    def tell(self, gates: Collection[str], envelope: bytes) -> Mapping[str, bytes | KeyturnError]:
        if not gates:
            return {}
        pool = ThreadPoolExecutor(max_workers=min(len(gates), 32))
        try:
            asked = {gate: pool.submit(self._tell, gate, envelope) for gate in gates}
            wait(asked.values())
            return {gate: future.result() for gate, future in asked.items()}
        finally:
            pool.shutdown(wait=False)

    def _tell(self, gate: str, envelope: bytes) -> bytes | KeyturnError:
        url = self._addresses.get(gate)
        if url is None:
            return Unavailable(
                "gate-address",
                "no address of it is known",
                hint="its address belongs in the `[processes]` of the lab's keyturn.toml, as gate-<name>",
            )
        try:
            client = HttpClient(url, timeout_s=WITHIN_S)
            return client.post("/negative", envelope, size_bytes_max=_ANSWER_BYTES_MAX)
        except KeyturnError as err:
            return err
