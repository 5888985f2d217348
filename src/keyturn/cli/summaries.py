"""The first sentence of each command, for `keyturn --help`, which imports none of them. A test holds it against their own."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["SUMMARIES"]

SUMMARIES: Mapping[str, str] = {
    "init": "Found a lab here: its keys, yours, and a draft of its trust.",
    "up": "Run the lab's witnesses, service, builder, gates and notifier here; Ctrl-C stops them.",
    "serve": "Serve the lab: take records in, have them witnessed, and give them to people, gates and builders.",
    "request": "Ask for access to a resource.",
    "approve": "Approve requests, each after it was shown whole.",
    "deny": "Deny requests: one human's denial ends a request, as soon as it is witnessed.",
    "ssh": "Come in to HOST by a grant: one that another terminal holds, else ask, wait for approvals, and connect.",
    "psql": "Come in to a database by a grant: ask, wait for approvals, and run psql.",
    "run": "Run a step: inputs are checked, the sandbox holds nothing else, outputs are digested, provenance is logged.",
    "release": "Ask people to release a model: keyturn release MODEL.",
    "verify": "Verify PACK, or with --pack the files of MODEL: who released it, who built it, from what.",
    "dispose": "Delete the files of an artifact: a disposal is logged and witnessed first.",
    "stats": "Measure two-party control from the log: waits, who waits for whom, stuck requests, unused permits.",
    "doctor": "Examine the lab: expiry, witnesses, keys, policy, suspensions, processes, standing access.",
    "login": "Log in at the lab's service, where it asks for that: by a code typed at your provider's page, or by a certificate.",
    "trust": "Members, policy and keys: propose a change, see it whole, sign it, publish it.",
    "policy": "What the policy allows, as the people who together get through.",
    "grant": "Requests and grants: list, show, explain, take back, review.",
    "recovery": "Recovery grants: by holders of root keys, when nothing else works.",
    "gate": "The release gate: lets models out that people granted, and makes their packs.",
    "log": "The witnessed log: everything that the lab knows.",
    "tombstone": "Erase personal data: the text of a record goes, its place in the log stays.",
    "notify": "Notifications: tell people what waits for them.",
    "witness": "Watch a log: cosign only what continues what was cosigned before.",
    "builder": "The process that runs steps in a sandbox and signs their provenance.",
    "step": "Write and check a STEP.toml, follow a step that runs, attach one to a job, and say what an evaluation must reach.",
    "evidence": "Evidence from outside: what others signed about artifacts, verified offline, with bytes and signer's name.",
    "source": "Say who stands behind a git revision: whoever attests it, its reviewers, and the level of SLSA's source track.",
    "lineage": "Where an artifact came from, what became of it, and what is affected by a bad one.",
    "pack": "Packs: everything that an outsider needs to verify a released model offline.",
    "scan": "Standing access: every door that opens without a grant.",
    "sign-page": "The page at which passkeys sign, as another operator serves it.",
}
