"""An S3 server on this machine: moto's, over real HTTP, with a client to put things there."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import urllib3
from moto.server import ThreadedMotoServer

__all__ = ["S3Server", "serve_s3"]

_EVERYTHING = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


@dataclass(frozen=True)
class S3Server:
    """`keys` are of somebody who may do everything; the server asks for nobody's until `ask_for_keys`."""

    endpoint: str
    keys: tuple[str, str]
    client: Any

    def put(self, bucket: str, objects: Mapping[str, bytes]) -> None:
        self.client.create_bucket(Bucket=bucket)
        for key, content in objects.items():
            self.client.put_object(Bucket=bucket, Key=key, Body=content)

    @contextmanager
    def ask_for_keys(self) -> Iterator[None]:
        self._let_in("0")
        try:
            yield
        finally:
            self._let_in("inf")

    def write_credentials(self, path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"[default]\naws_access_key_id = {self.keys[0]}\naws_secret_access_key = {self.keys[1]}\n")
        path.chmod(0o600)
        return path

    def _let_in(self, unasked: str) -> None:
        answer = urllib3.request("POST", f"{self.endpoint}/moto-api/reset-auth", body=unasked)
        assert answer.status == 200


@contextmanager
def serve_s3() -> Iterator[S3Server]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        endpoint = f"http://{host}:{port}"
        assert (
            urllib3.request("POST", f"{endpoint}/moto-api/reset").status == 200
        )  # what another test of this process left
        iam = boto3.client("iam", **_for(endpoint, "unasked", "unasked"))
        iam.create_user(UserName="builder")
        iam.put_user_policy(UserName="builder", PolicyName="all", PolicyDocument=json.dumps(_EVERYTHING))
        made = iam.create_access_key(UserName="builder")["AccessKey"]
        keys = (made["AccessKeyId"], made["SecretAccessKey"])
        client = boto3.client("s3", **_for(endpoint, *keys))
        yield S3Server(endpoint, keys, client)
        for one in (iam, client):
            one.close()
    finally:
        server.stop()


def _for(endpoint: str, key: str, secret: str) -> dict[str, str]:
    return {
        "endpoint_url": endpoint,
        "region_name": "us-east-1",
        "aws_access_key_id": key,
        "aws_secret_access_key": secret,
    }
