"""What to do next after an error that was raised where nobody can know: the rooms that verify know no commands.

An error whose place knows better says so in its `hint`, and this is not asked. docs/errors.md lists both.
"""

from __future__ import annotations

from collections.abc import Mapping

from keyturn.errors import Conflict, KeyturnError, Malformed, Tampered

__all__ = ["AFTER", "AFTER_KIND", "SILENT", "next_step"]

_NOT_YOURS = "do not act on it; tell whoever made it, and have it made again"
_PACK = "do not use the model; keep the pack, and ask the lab that made it"
_WITNESS = "`keyturn up` starts a lab's own witnesses; ask the operator of another one"
_DISK = "free space, look at the owner and mode of what it names, then run it again"
_DRAFT = "edit the draft in the lab's trust/draft, then `keyturn trust propose`"
_POLICY = "mend the policy (a lab's draft has it in trust/draft/policy), then run the same command again"
_STEP = "mend the STEP.toml; `keyturn step check` says what else is wrong with it"
_EVIDENCE = "ask who signed it for another, or keyholders to say in evidence.toml of the targets what the lab expects"
_STEP_AGAIN = "run the command again: it signs a new request"
_LOG = "`keyturn log verify` where the log lies says how far it is whole; its operator restores the rest"
_REQUEST = "`keyturn grant explain` says what the request still needs, and who could give it"
_ASK_AGAIN = "whoever needs it asks again: `keyturn request`"
_PKCS11 = "look at the token with `pkcs11-tool --login --list-objects`, then run it again"
_ENROL = "a signed change of the roster adds keys: `keyturn trust invite MEMBER --new-keys beside`"
_OWN_KEY = "sign with a key that the lab's roster lists for you: `--key`, or another KEYTURN_HOME"
_OWN_TRUST_KEY = "sign with a trust key that the lab's root lists for you: `--trust-key`, or another KEYTURN_HOME"
_INVITE = "make a new invitation, and have it accepted: `keyturn trust invite`"
_GATE = "its operator looks at gate.toml: `keyturn gate show`"
_RETRY = "try again; if it stays, its operator looks at what the process says"

_HOST = "ask for what this host opens: `keyturn request host:shell host/NAME --account USER`"

_STEPS: tuple[tuple[str, str], ...] = (
    (
        "clone it with `git clone --ref-format=files`, and take large files out of it",
        "source-repository source-object-large",
    ),
    (_NOT_YOURS, "source-subjects"),
    (_HOST, "host-action host-other account-unknown account-root account-closed"),
    (_ASK_AGAIN, "request-over session-over"),
    (
        "`keyturn ssh HOST` asks, waits for the approvals, and connects with a key of its own",
        "session-key-unknown bastion-other source-other",
    ),
    ("ask through another bastion, or when it is open again: `keyturn trust suspended`", "bastion-closed"),
    (
        "the bastion's operator looks at its gate.toml, its directory, and what it says",
        "bastion-host bastion-port bastion-secret",
    ),
    (
        "it opens with as many keyholders as its header says, each with his own key",
        "share-none share-other-key share-other-replay share-quorum",
    ),
    (
        "ask for this recording: `keyturn grant replay RECORDING --reason WHY`",
        "replay-action replay-elsewhere replay-other",
    ),
    (_NOT_YOURS, "replay-misnamed replay-key"),
    ("somebody else watches, whom `keyturn grant show` says that the request wants", "watcher-concerned watcher-other"),
    ("whoever watches says why he ended it; coming in again needs somebody who watches", "watcher-ended"),
    ("find somebody who watches before you come in again: `keyturn grant watch`", "watcher-absent watcher-left"),
    ("`keyturn ssh HOST --bastion NAME --watched-by group:NAME` asks for somebody who watches", "watch-none"),
    ("the bastion's operator looks at who watches there", "watchers-many"),
    ("what is there is shown; `keyturn log show` has the bastion's word for it, as cut", "recording-cut"),
    (_DISK, "recording-unwritable"),
    (
        "ask for what this gate opens: its operator says which database and schemas gate.toml names",
        "database-other database-schema",
    ),
    (
        "make the certificate request with the key that it is for: `openssl req -new -key KEY`",
        "certificate-request-signature",
    ),
    ("sshd alone asks the verifier: `sshd -T` says whether AuthorizedKeysCommand is the gate's", "asked-by-no-sshd"),
    ("`keyturn gate host install NAME` without --observe-until: then it enforces", "came-in-otherwise gate-observes"),
    (_DISK, "inbox-unwritable carried-unwritable carried-unreadable"),
    ("carry the gate's next question, when there is something new: `keyturn gate host ask`", "answer-taken"),
    (
        _PACK,
        "pack-index-ahead pack-request-missing pack-use-missing",
    ),
    (_PACK, "release-withdrawn release-level profile-other resource-other"),
    (_PACK, "pack-refused past-after-checkpoint past-index one-shot-approvals"),
    (
        _NOT_YOURS,
        "signature-not-canonical signature-count signature-key signature-missing signature-invalid sshsig-namespace",
    ),
    (_NOT_YOURS, "signer-other signer-unknown signer-no-builder lab-other record-not-admitted leaf-missing"),
    (
        _EVIDENCE,
        "evidence-statement evidence-subjects evidence-builder evidence-method",
    ),
    (_EVIDENCE, "vsa-verifier vsa-resource vsa-failed vsa-level outside-changed outside-unknown"),
    (
        _NOT_YOURS,
        "evidence-differs evidence-digest evidence-bound evidence-subject",
    ),
    (
        _NOT_YOURS,
        "evidence-other-subject in-toto-expired in-toto-refused",
    ),
    (_NOT_YOURS, "evidence-signature"),
    (_EVIDENCE, "evidence-files"),
    ("type more of its digits: `keyturn evidence verify` lists them", "record-ambiguous"),
    ("`pip install 'keyturn[evidence]'`, then run it again", "evidence-not-verified"),
    ("`keyturn trust suspended` says who is, and who can lift it", "chain-signer-suspended"),
    (_NOT_YOURS, "chain-before-trust chain-other-lab chain-signer-unknown chain-foreign-statement step-subjects"),
    (
        _NOT_YOURS,
        "approver-unknown approver-key-unknown requester-key-unknown approval-other-request approval-other-trust",
    ),
    (
        _NOT_YOURS,
        "approval-from-the-future trust-key-two-ids trust-keyid trust-role-keys trust-key-type trust-key-two-humans",
    ),
    (_NOT_YOURS, "trust-consistent-snapshot trust-key-not-canonical trust-delegations release-action"),
    ("use a device that asks for its owner each time, and touch it when it blinks", "signature-untouched"),
    ("make a key that verifies its user: `ssh-keygen -t ed25519-sk -O verify-required`", "signature-user-unverified"),
    (
        "sign on the lab's signing page, and on no other site",
        "webauthn-relying-party webauthn-cross-origin webauthn-challenge",
    ),
    (_ENROL, "webauthn-backup-changed registration-invalid registration-other"),
    (_OWN_TRUST_KEY, "trust-key-unknown"),
    (_OWN_KEY, "request-other-key ssh-key-other step-member key-kind key-place-missing"),
    (
        "KEYTURN_PASSPHRASE_FILE names the file with the passphrase of an encrypted key",
        "key-passphrase passphrase-empty",
    ),
    ("software, passkey, fido2, ssh:PUBLIC_KEY_FILE, or pkcs11:token=T;object=L?module-path=/path.so", "key-spec"),
    ("`ssh-add -l` lists what the agent has; what ssh-keygen says is in the message", "ssh-keygen-refused"),
    (_PKCS11, "pkcs11-token-twice pkcs11-key-purpose pkcs11-failed"),
    ("run it at a terminal, and type the PIN", "pin-empty"),
    ("run it where the browser is: the page is served on localhost", "signing-page-elsewhere"),
    (
        _DISK,
        "key-unwritable journal-unreadable journal-unwritable trust-unreadable trust-unwritable destination-unwritable",
    ),
    (
        _DISK,
        "file-unreadable output-unreadable runtime-unreadable person-unreadable policy-unreadable disk-full",
    ),
    (
        _DISK,
        "log-note-unreadable",
    ),
    (
        _LOG,
        "log-no-checkpoint envelope-unknown envelope-damaged log-range log-pack-missing log-tile log-behind",
    ),
    (_LOG, "request-unread bundle-unread criteria-unreadable trust-version-unread log-behind-witnesses view-size"),
    (_WITNESS, "witness-refused witness-answer witness-late witness-moves witness-ahead gate-witnesses view-empty"),
    ("its operator sets it up for this log: `keyturn witness init NAME`", "witness-log-unknown"),
    ("after the lab's targets changed the key: `keyturn witness log-key NAME`", "witness-log-signature"),
    ("give the witness a key of its own: move its key away, then `keyturn witness init NAME`", "witness-key-shared"),
    (
        "get the log's checkpoint again; if it stays, keep it, and tell the lab's operator",
        "checkpoint-other-log checkpoint-unsigned",
    ),
    (
        "get the log's checkpoint again; if it stays, keep it, and tell the lab's operator",
        "checkpoint-empty-root checkpoint-signature",
    ),
    (
        _DRAFT,
        "trust-profile-changed trust-online-key-shared trust-holders trust-key-unused trust-human-two-keys trust-recovery-key",
    ),
    (
        _DRAFT,
        "production-root-keys production-recovery-key production-witness-operator production-witness-operators key-purpose",
    ),
    (_DRAFT, "trust-threshold-one trust-holder-not-human member-id-reused member-key-reassigned trust-lab-changed"),
    (
        "`keyturn trust propose` stages it anew, from what is in force",
        "trust-version-skipped trust-version-known trust-not-shown",
    ),
    (
        "do not believe this copy: get the lab's trust from its log, and compare its root",
        "trust-rollback targets-file-extra",
    ),
    (
        "do not believe this copy: get the lab's trust from its log, and compare its root",
        "targets-file-missing targets-file-hash",
    ),
    (
        "do not believe this copy: get the lab's trust from its log, and compare its root",
        "trust-root-first trust-root-not-pinned",
    ),
    ("keyturn trust propose, unless that was done; then each founder signs, and it is published", "trust-founding"),
    (_INVITE, "invitation-unknown acceptance-other acceptance-keys invitation-invalid invitation-twice"),
    ("invite the human who answers for it first, or name another: --responsible", "member-responsible"),
    (
        _POLICY,
        "policy-empty policy-too-many policy-template policy-invalid policy-quorum policy-action policy-limit-missing",
    ),
    (
        _POLICY,
        "policy-limit policy-syntax policy-id policy-annotation policy-unknown-group policy-operator policy-id-twice",
    ),
    (
        _POLICY,
        "policy-break-glass",
    ),
    ("`keyturn grant show` and `keyturn trust show` say which gate it is, and which there are", "gate-unknown"),
    (_REQUEST, "request-unknown quorum-not-met request-twice"),
    (
        _ASK_AGAIN,
        "request-denied one-shot-used window-missed approval-expired trust-version-unknown session-key-missing",
    ),
    ("wait until then", "window-not-yet"),
    (
        "have it made anew, for one resource and one session, by holders of keys of the root in force: `keyturn recovery new`",
        "recovery-root recovery-signer recovery-action recovery-resource recovery-time recovery-closed",
    ),
    ("take it to a gate that has break-glass; nothing else may treat it as any other request", "break-glass-request"),
    (
        "set the clocks of whoever asked and approved, and ask again: `keyturn request ... --break-glass`",
        "break-glass-time",
    ),
    ("open the session with the key that the request names: `keyturn grant show`", "session-key-other"),
    ("take it to the gate that it names: `keyturn grant show`", "gate-other"),
    ("ask one of the humans whom the request can do with: `keyturn grant explain`", "signer-not-human"),
    ("`keyturn trust suspended` says by whom, why and until when; two humans lift it", "suspended gate-closed"),
    ("ask somebody of the group `security`", "suspension-not-allowed suspension-again"),
    ("say a shorter time: --duration", "suspension-too-long"),
    (
        "nothing changed at the gate: what gives, or is over, it hears of from the log alone",
        "pushed-not-negative pushed-over suspension-lifted",
    ),
    ("something else answers in the gate's place: look at `[processes]` in keyturn.toml", "gate-answer-other"),
    ("ask two other humans to lift it", "lift-own"),
    (_GATE, "use-not-logged not-a-one-shot release-index-ahead"),
    ("open the release again: `keyturn release`", "release-subjects request-other-model"),
    (
        _STEP,
        "step-command sandbox-runtime sandbox-device step-check step-output-name step-criteria step-evaluation step-differs",
    ),
    (_STEP, "from-step criteria-invalid runtime-empty runtime-missing runtime-special path-private"),
    (
        "mend what the step's command writes, then run it again",
        "output-not-a-file measurement-lacks step-failed",
    ),
    ("an artifact holds plain files: copy what a link names, leave the rest out", "file-symlink file-special"),
    ("pack them into fewer files, or less deep", "directory-too-deep files-too-many"),
    (_STEP_AGAIN, "step-lab step-builder"),
    ("name two directories, or two files", "compare-kinds"),
    (_STEP, "step-untraced"),
    ("write each file of a checkpoint on one rank", "checkpoint-file-twice"),
    (
        "the bastion's operator finds out why: a recording that its log does not have as it is opens for nobody",
        "recording-unlogged recording-other recording-signer recording-keyholders",
    ),
    ("name a human of the lab: keyholders answer for what they open", "keyholder-not-human"),
    ("look at the files that sshd includes: `sshd -T` says what they come to", "sshd-config"),
    ("a builder that people signed runs it: `keyturn run`", "builder-not-allowed builder-key"),
    ("`keyturn builder show` says how it is set up; targets say at most which level", "builder-level"),
    ("look for its processes on the builder's machine", "sandbox-not-ended"),
    ("the log has its provenance if it ended: `keyturn log show`", "job-unknown"),
    (_RETRY, "http-error process-not-started"),
    ("look at the address: it is to be that of the lab's service", "not-found"),
    ("run it where the lab's directory is", "lab-remote"),
    ("remove what lies there, if it is no key of yours", "key-no-file"),
    ("`--help` behind the command says what it takes", "name-invalid option-invalid text-empty text-encoding"),
    ("`--help` behind the command says what it takes", "config-invalid config-too-large"),
    ("run it at a terminal; --yes signs what is shown", "input-ended"),
)

AFTER: Mapping[str, str] = {code: said for said, codes in _STEPS for code in codes.split()}
"""Code -> what to do next, when the error itself does not say."""

AFTER_KIND: Mapping[type[KeyturnError], str] = {
    Malformed: "get it again, or ask who made it; docs/formats says what it must be",
    Tampered: "stop, keep it as evidence, and tell the humans who answer for the lab's security",
    Conflict: "look again, and retry",
}

SILENT: Mapping[str, str] = {
    "lifecycle-no-such-move": "a table of the source has no such move: nobody sees it, unless as a defect",
    "internal-error": "a server's defect reaches people as its own words; `cli.main` says what to do about one here",
}
"""Codes after which there is nothing to do, and why."""


def next_step(err: KeyturnError) -> str:
    """What to do after `err`, or nothing when nobody knows."""
    return err.hint or AFTER.get(err.code, "") or AFTER_KIND.get(type(err), "")
