"""Where S3 is, and who asks: the endpoint, and keys that are read anew for each input, in the form of AWS's own file.

    [default]
    aws_access_key_id = AKIA...
    aws_secret_access_key = ...
    aws_session_token = ...        # of temporary keys

It is a file of whoever runs the builder, that nobody else may read. Nothing that a step says leads here. This is NOT where
anything is fetched: see `s3_input`.
"""

from __future__ import annotations

import configparser
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from keyturn.adapters.inputs.credentials_file import read_credentials
from keyturn.errors import Unavailable

__all__ = ["S3Keys", "S3Place", "place_of_environment"]


@dataclass(frozen=True, slots=True, repr=False)
class S3Keys:
    """What requests are signed with; it has no repr, so that no error shows it."""

    access_key_id: str
    secret_access_key: str
    session_token: str | None = None


@dataclass(frozen=True, slots=True)
class S3Place:
    """An S3 service. `keys` are given, or read from the file `credentials`; without either requests are not signed."""

    endpoint: str
    region: str
    credentials: Path | None = None
    keys: S3Keys | None = None

    def read_keys(self) -> S3Keys | None:
        """The keys as they are now, or None for a service that everybody may read; raises by name when they cannot be had."""
        return self.keys if self.credentials is None else _read(self.credentials)


def place_of_environment(environment: Mapping[str, str]) -> S3Place:
    """The S3 of whoever acts on his own machine, as AWS's tools find it by their variables and in `~/.aws/credentials`."""
    region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or "us-east-1"
    endpoint = environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL")
    key, secret = environment.get("AWS_ACCESS_KEY_ID"), environment.get("AWS_SECRET_ACCESS_KEY")
    file = Path(environment.get("AWS_SHARED_CREDENTIALS_FILE") or Path.home() / ".aws" / "credentials")
    return S3Place(
        endpoint=endpoint or f"https://s3.{region}.amazonaws.com",
        region=region,
        credentials=file if not (key and secret) and file.exists() else None,
        keys=S3Keys(key, secret, environment.get("AWS_SESSION_TOKEN")) if key and secret else None,
    )


def _read(path: Path) -> S3Keys:
    try:
        found = configparser.ConfigParser(interpolation=None, default_section="")
        found.read_string(read_credentials(path))
        said = found["default"]
        return S3Keys(
            said["aws_access_key_id"], said["aws_secret_access_key"], said.get("aws_session_token", fallback=None)
        )
    except (OSError, UnicodeError, KeyError, configparser.Error) as err:
        raise Unavailable(
            "s3-credentials",  # what stands in it is not shown
            f"expected `[default]` with aws_access_key_id and aws_secret_access_key in `{path}`",
            hint="write it as AWS's own tools do: aws configure",
        ) from err
