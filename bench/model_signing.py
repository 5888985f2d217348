"""Sign and verify a directory of 4 GiB, against model-signing on the same files, and against digests of raw memory on all cores.

Signing is hashing and one signature of the same kind of key (ECDSA P-256, an OMS bundle). Verifying is `verify_model`, and
`--fast` the same by BLAKE3, under a pack that was verified before, which takes milliseconds for a chain of some steps.
model-signing is taken in the best of its modes for each hash, found in a first round: by files or shards, with its own or as
many workers as cores, in reads of 1 or 8 MiB. All files are in the page cache, for both sides.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, cast

from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from model_signing import hashing, signing, verifying

from bench.measure import Row, paired, row, seconds
from keyturn.adapters.files.key_files import read_key
from keyturn.app.custody.papers import model_signature
from keyturn.app.custody.verify_model import verify_model
from keyturn.app.custody.verify_pack import VerifiedPack
from keyturn.bulk import manifest
from keyturn.bulk.threads import cores, on_all_cores

FILES = 8
FILE_BYTES = 512 << 20
ROUNDS = 5
SIZE = f"{FILES * FILE_BYTES >> 30} GiB"
_BLOCK = 1 << 20
_SHARD_BYTES = (1_000_000_000, 128 << 20)

Hash = Literal["sha256", "blake3"]


def run() -> list[Row]:
    """Measure both digests, signing and verifying."""
    with tempfile.TemporaryDirectory(prefix="keyturn-bench-") as room:
        place = Path(room)
        model = place / "model"
        model.mkdir()
        for number in range(FILES):
            with (model / f"model-{number}.safetensors").open("wb") as file:
                for _ in range(FILE_BYTES >> 20):
                    file.write(os.urandom(1 << 20))
        os.sync()  # nothing is written back while it is measured
        return list(_rows(place, model))


def _rows(place: Path, model: Path) -> Iterator[Row]:
    key = ec.generate_private_key(ec.SECP256R1())
    (place / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (place / "key.pem").chmod(0o600)
    (place / "key.pub").write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    pack = _pack(model)
    size = FILES * FILE_BYTES / 1e9

    def ours_signs() -> None:
        files = manifest.contents(model)
        model_signature.sign(files, read_key(place / "key.pem", passphrase=None), model=files.identity, name="model")

    def ours_verifies() -> None:
        verify_model(model, pack.model, signed=pack.verdict.files)

    def ours_verifies_fast() -> None:
        verify_model(model, pack.model, signed=pack.verdict.files, fast=True)

    best: dict[Hash, str] = {}
    for digest in ("sha256", "blake3"):
        best[digest] = _best(place, model, digest)
    sha, blake = (_mode(best[digest]) for digest in ("sha256", "blake3"))
    for name, ours, theirs, at_least, peer in (
        (f"sign {SIZE}, SHA-256", ours_signs, _signs(place, model, sha), 1, best["sha256"]),
        (f"verify {SIZE}, SHA-256", ours_verifies, _verifies(place, model, sha), 1, best["sha256"]),
        (f"verify {SIZE}, BLAKE3", ours_verifies_fast, _verifies(place, model, blake), 1, best["blake3"]),
        (f"verify {SIZE}, BLAKE3 / its default", ours_verifies_fast, _verifies(place, model, None), 2.5, "as it comes"),
    ):
        theirs()  # signs what it verifies, or reads once
        found = paired(ours, theirs, rounds=ROUNDS, calls=1)
        yield row(
            f"{name} / model-signing 1.1.1",
            found.rate_ratio,
            "x",
            at_least=at_least,
            peer=f"{peer}, {size / found.peer_s:.2f} GB/s; ours {size / found.ours_s:.2f}",
            spread=found.spread * found.rate_ratio**2,
        )
    memory = memoryview(bytearray(os.urandom(FILE_BYTES)))
    for digest, verifies in (("sha256", ours_verifies), ("blake3", ours_verifies_fast)):
        found = paired(verifies, lambda digest=digest: _raw(memory, digest), rounds=ROUNDS, calls=1)  # type: ignore[misc]
        yield row(
            f"verify {SIZE}, {digest} / the same digest of raw memory",
            found.rate_ratio,
            "x",
            at_least=0.9,
            peer=f"on {cores()} threads, {size / found.peer_s:.2f} GB/s",
            spread=found.spread * found.rate_ratio**2,
        )


def _pack(model: Path) -> VerifiedPack:
    """As much of a verified pack as comparing files reads."""
    files = manifest.make(model)
    return cast("VerifiedPack", SimpleNamespace(model=files.identity, verdict=SimpleNamespace(files=files)))


def _modes(digest: Hash) -> Iterator[str]:
    for workers in ("its own", str(cores())):
        for chunk in (1 << 20, 8 << 20) if digest == "sha256" else (1 << 20,):
            yield f"files, {digest}, {workers} workers, reads of {chunk}"
            if digest == "sha256":
                for shard in _SHARD_BYTES:
                    yield f"shards of {shard}, {digest}, {workers} workers, reads of {chunk}"


def _mode(said: str) -> hashing.Config:
    how, digest, workers, chunk = (part.strip() for part in said.split(","))
    more: dict[str, Any] = {
        "hashing_algorithm": digest,
        "max_workers": None if workers.startswith("its own") else int(workers.split()[0]),
        "chunk_size": int(chunk.split()[-1]),
    }
    config = hashing.Config()  # type: ignore[no-untyped-call]  # its constructor says no types
    if how == "files":
        return config.use_file_serialization(**more)
    return config.use_shard_serialization(shard_size=int(how.split()[-1]), **more)


def _best(place: Path, model: Path, digest: Hash) -> str:
    took = {said: seconds(_signs(place, model, _mode(said)), calls=1) for said in _modes(digest)}
    return min(took, key=lambda said: took[said])


def _signs(place: Path, model: Path, how: hashing.Config | None) -> Callable[[], None]:
    def sign() -> None:
        config = signing.Config()  # type: ignore[no-untyped-call]  # its constructor says no types
        config.use_elliptic_key_signer(private_key=place / "key.pem")
        if how is not None:
            config.set_hashing_config(how)
        config.sign(model, place / "model.sig")

    return sign


def _verifies(place: Path, model: Path, how: hashing.Config | None) -> Callable[[], None]:
    """Its verification of what it signed `how`, by that mode; None is what it does when nobody says anything."""
    signed: list[bool] = []

    def verify() -> None:
        if not signed:
            _signs(place, model, how)()
            signed.append(True)
        config = verifying.Config()  # type: ignore[no-untyped-call]  # its constructor says no types
        config.use_elliptic_key_verifier(public_key=place / "key.pub")
        if how is not None:
            config.set_hashing_config(how)
        config.verify(model, place / "model.sig")

    return verify


def _raw(memory: memoryview, digest: str) -> None:
    def take(_number: int) -> None:
        taken = hashlib.sha256() if digest == "sha256" else blake3()
        for start in range(0, len(memory), _BLOCK):
            taken.update(memory[start : start + _BLOCK])
        taken.digest()

    on_all_cores(take, range(FILES))
