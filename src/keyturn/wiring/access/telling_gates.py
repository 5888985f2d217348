"""Tell the lab's gates of what takes access away while it goes to the log: a `LogWriter` before the lab's own.

The gates hear it as soon as it is signed, from whoever signed it: neither the service nor its witnesses can delay that.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor

from keyturn.adapters.over_http.gates_at_once import GatesAtOnce
from keyturn.app.gates.tell_gates import AtGate, gates_concerned, tell_gates
from keyturn.errors import KeyturnError
from keyturn.grants.known import Known
from keyturn.ports import Clock, LogWriter
from keyturn.trust.roster import TrustState
from keyturn.wiring.lab.places import LabPlace

__all__ = ["TellingGates"]


class TellingGates:
    """`ports.LogWriter`; `told` is how the record that was appended last stands at each gate that it concerns."""

    def __init__(self, log: LogWriter, place: LabPlace, trust: TrustState, known: Known, clock: Clock) -> None:
        self._log = log
        self._place = place
        self._trust = trust
        self._known = known
        self._clock = clock
        self._telling: Future[tuple[AtGate, ...]] | None = None

    def append(self, envelope: bytes) -> int:
        self._telling = None
        gates = gates_concerned(envelope, self._trust, self._known)
        if gates:
            pool = ThreadPoolExecutor(max_workers=1)
            self._telling = pool.submit(self._tell, envelope, gates)
            pool.shutdown(wait=False)
        return self._log.append(envelope)

    def told(self) -> tuple[AtGate, ...]:
        """Wait for the gates' answers, which takes seconds at most; nothing for a record that takes nothing away."""
        return () if self._telling is None else self._telling.result()

    def _tell(self, envelope: bytes, gates: tuple[str, ...]) -> tuple[AtGate, ...]:
        return tell_gates(envelope, gates, self._trust, GatesAtOnce(self._addresses(gates)), clock=self._clock)

    def _addresses(self, gates: tuple[str, ...]) -> Mapping[str, str]:
        try:
            running = self._place.processes()
        except KeyturnError:  # whoever has only the service's address learns from it where the gates are
            return {}
        named = {gate: f"gate-{self._trust.gates[gate].uri.name}" for gate in gates}
        return {gate: running[name] for gate, name in named.items() if name in running}
