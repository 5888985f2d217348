"""When the log is gone, a database opens by break-glass and by recovery grants that lie at its gate, and by nothing else."""

from __future__ import annotations

import secrets
import subprocess
import time
from pathlib import Path

from keyturn.adapters.files.decision_files import DecisionFiles
from keyturn.app.access.recovery_file import add_signature, payload_of
from keyturn.crypto.signers import SoftwareKey
from keyturn.formats import dsse
from keyturn.formats.recovery import RecoveryGrant
from keyturn.grants import bundle as bundles
from support.databases import KEYTURN, Asked, DatabaseLab, database_lab, ended
from support.processes import wait_for


def take(place: DatabaseLab, raw: bytes) -> str:
    """Bring `raw` to the gate as its operator does; gives what that says."""
    brought = place.place / secrets.token_hex(4)
    brought.write_bytes(raw)
    words = [*KEYTURN, "gate", "postgres", "take", "main", str(brought), "--lab", str(place.disk.path)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    return done.stdout or done.stderr


def recovery(place: DatabaseLab, key: SoftwareKey, **changed: str) -> RecoveryGrant:
    now = int(time.time())
    values: dict[str, str] = {
        "beneficiary": "ada",
        "action": "db:read",
        "resource": f"keyturn://{place.lab.name}/db/main/app",
        "gate": str(place.lab.gate_uri("main")),
        **changed,
    }
    return RecoveryGrant(
        lab=place.lab.name,
        nonce=secrets.token_hex(16),
        justification="log lost",
        root_version=1,
        signed_at=now,
        not_before=now,
        not_after=now + 600,
        session_key=key.public.text,
        **values,
    )


def test_without_the_log_break_glass_and_recovery_open_and_end(tmp_path: Path) -> None:
    with database_lab(tmp_path) as place:
        place.start_gate()
        first = place.connect(place.granted())  # the gate has seen the log once
        place.service.kill()

        # Break-glass: nobody alone, then with a coworker's signature in the file, and its use is kept before anybody is in.
        now = int(time.time())
        glass = {"permit": "repair", "break_glass_at": now, "start_by": now + 1200, "not_after": now + 1500}
        asked = place.ask(submit=False, requester="dan", beneficiary="dan", **glass)
        assert "break-glass bundle" in take(place, bundles.render(bundles.make(asked.envelope, ())))
        assert "quorum-not-met" in place.certify(asked).text
        for brought in (place.directory / "inbox").iterdir():
            brought.unlink()
        elsewhere = place.ask(submit=False, resource=f"keyturn://{place.lab.name}/db/main", **glass)
        for one in (asked, elsewhere):
            approved = place.say(one, "bob", submit=False)
            take(place, bundles.render(bundles.make(one.envelope, (approved,))))
        assert "database-other" in place.certify(elsewhere).text
        state = place.directory / "state"
        assert not list(state.glob("*.break-glass")), "what this database would not open leaves no use"
        db = place.connect(asked)
        assert db.execute("SELECT session_user, name FROM app.runs").fetchall() == [(asked.role, "first")]
        assert len(list(state.glob("*.break-glass"))) == 1
        plain = place.ask(submit=False)
        approval = place.say(plain, "bob", submit=False)
        assert "break-glass-none" in take(place, bundles.render(bundles.make(plain.envelope, (approval,))))

        # Recovery: by as many holders of root keys as a root takes, for this key and one schema.
        key = SoftwareKey.generate()
        made = recovery(place, key)
        root, keys = place.lab.history.root, place.lab.trust_keys
        one_alone = add_signature(payload_of(made), None, keys["bob"], root=root)
        both = add_signature(one_alone.payload, one_alone, keys["cat"], root=root)
        take(place, dsse.render(one_alone))
        assert "recovery-threshold" in place.certify(key).text
        assert "recovery grant" in take(place, dsse.render(both))
        recovered = Asked(asked.made, both, key)
        by_recovery = place.connect(recovered)
        assert by_recovery.execute("SELECT session_user").fetchall() == [(recovered.role,)]
        assert (state / "uses" / both.record_digest).read_bytes() == dsse.render(both)
        kept = {
            one.request: one for one in DecisionFiles(state / "decisions").read(start=0) if one.outcome == "granted"
        }
        assert kept[both.record_digest].approvers == ("bob", "cat")
        assert kept[asked.digest].permit == "repair"

        # What no longer lies there opens nothing, and ends; what does goes on.
        for brought in (place.directory / "inbox").glob("*.recovery"):
            brought.unlink()
        wait_for("its end", lambda: ended(by_recovery) or None, place.gate)
        assert not ended(db)
        assert not ended(first)
