"""What the use cases need from the world, as Protocols: the only way for effects to reach `app`.

One file for each subject; every name is imported from here. Each method's docstring states its atomicity. Every adapter, the
in-memory ones included, passes the contract suite in tests/contracts/. Nothing here has a body, and the core below never
imports it.
"""

from __future__ import annotations

from keyturn.ports.bastion import BastionRules, Hop, HopKeys, Kept, Watching
from keyturn.ports.evidence import EvidenceVerifier
from keyturn.ports.gates import BreakGlassJournal, Decisions, Gates, PushedStore, ReleaseJournal, ReleaseOrders
from keyturn.ports.lineage import LineageGraph, StatementNode, Unread
from keyturn.ports.log import (
    Confirming,
    IndexedRecord,
    LogAppender,
    LogEraser,
    LogKeeper,
    LogNotes,
    LogReader,
    LogWriter,
    RecordIndex,
    RecordOutbox,
)
from keyturn.ports.notices import NoticeOutbox, NoticeReceiver, OutgoingNotice
from keyturn.ports.steps import (
    Earlier,
    EndedCommand,
    HeldInput,
    RunJournal,
    Sandbox,
    SandboxJob,
    SandboxRun,
    SandboxTrace,
    Seen,
    SignedRun,
    StepFiles,
    StepMount,
)
from keyturn.ports.trust import RegistrationVerifier, TrustStore
from keyturn.ports.witnesses import Cosigner, CosignStore, Witnesses
from keyturn.ports.world import Clock, Entropy, KeyStore, Pause, Running

__all__ = [
    "BastionRules",
    "BreakGlassJournal",
    "Clock",
    "Confirming",
    "CosignStore",
    "Cosigner",
    "Decisions",
    "Earlier",
    "EndedCommand",
    "Entropy",
    "EvidenceVerifier",
    "Gates",
    "HeldInput",
    "Hop",
    "HopKeys",
    "IndexedRecord",
    "Kept",
    "KeyStore",
    "LineageGraph",
    "LogAppender",
    "LogEraser",
    "LogKeeper",
    "LogNotes",
    "LogReader",
    "LogWriter",
    "NoticeOutbox",
    "NoticeReceiver",
    "OutgoingNotice",
    "Pause",
    "PushedStore",
    "RecordIndex",
    "RecordOutbox",
    "RegistrationVerifier",
    "ReleaseJournal",
    "ReleaseOrders",
    "RunJournal",
    "Running",
    "Sandbox",
    "SandboxJob",
    "SandboxRun",
    "SandboxTrace",
    "Seen",
    "SignedRun",
    "StatementNode",
    "StepFiles",
    "StepMount",
    "TrustStore",
    "Unread",
    "Watching",
    "Witnesses",
]
