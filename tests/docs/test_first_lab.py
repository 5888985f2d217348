"""docs/first-lab.md is run as it stands, in one shell; and behind it, in that lab, docs/guide/deploying.md."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.pages import run_page


@pytest.mark.timeout(400)
def test_the_first_hour_works_as_it_is_written_and_what_it_released_is_deployed_and_taken_back(tmp_path: Path) -> None:
    printed = run_page("guide/deploying.md", tmp_path, after=("first-lab.md",), timeout_s=380)
    for said in (
        "acme.example is founding",
        "evaluation PASSED",
        "got 0 of 1 approvals; missing: 1 of `owners`",
        "[approver-concerned]",
        "who could still approve: bob",
        "released dirHash:",
        "VERIFIED: `model` is the released model",
        "[model-other-files]",
        "exit status 1: these are not the released files",
        "member:ada until 20",
        "verified   ",
        "RELEASED, and not withdrawn as of 20",
        "loaded dirHash:",
        "approved by bob",
        "exit status 2: this gate has no address of the log",
        "gpu1: since 20",
        "said by    member:ada (dep-",
        "said by    gate:keyturn://acme.example/gate/release (dep-",
        "let in by  ada asked, bob approved",
        '"ended_by": "member:ada"',
        "is withdrawn, in force",
        "[release-withdrawn]",
        "exit status 1: withdrawn",
        "do not serve: `bob` revoked the release after it: it tells people how [release-withdrawn]",
        "WITHDRAWN by bob: it tells people how",
        "later withdrawals unknown",
        "VERIFIED: keyturn://acme.example/model/toy is dirHash:",
        "papers/model.spdx.json",
        "Verification succeeded",
    ):
        assert said in printed, f"{said}\n\n{printed}"
