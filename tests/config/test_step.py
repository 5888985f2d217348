"""STEP.toml: what is refused, and that a signed request is of this very file."""

from __future__ import annotations

import pytest

from keyturn.config.step import FromStep, StepFile, check_is_of, parse
from keyturn.errors import Refused, Usage
from keyturn.formats.steps import DeclaredInput, StepRequest

GOOD = """
version = 1
name = "train"
build_type = "train"
command = ["python", "/in/code/train.py"]
parameters = "params.json"
[[inputs]]
name = "data"
source = "../data"
digest = "from-step:ingest/data"
mount = "/in/data"
check = "full"
[[inputs]]
name = "code"
source = "code"
digest = "dirHash:%s"
mount = "/in/code"
role = "code"
[[outputs]]
name = "model"
path = "/out/model"
[sandbox]
runtime = ["/usr", "../.venv"]
network = "none"
devices = []
timeout_s = 3600
""" % ("a" * 64)


def step(text: str = GOOD) -> StepFile:
    return parse(text.encode())


def test_the_example_of_the_design_is_read() -> None:
    read = step()
    assert read.inputs[0].expected == FromStep(step="ingest", output="data")
    assert str(read.inputs[1].expected) == "dirHash:" + "a" * 64
    assert read.sandbox.addresses == ()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("version = 1", "version = 2", id="another version"),
        pytest.param("version = 1", "version = 1\nshell = true", id="an unknown key"),
        pytest.param('name = "train"', 'name = "../train"', id="a name that is a path"),
        pytest.param('build_type = "train"', 'build_type = "compile"', id="an unknown build type"),
        pytest.param('command = ["python", "/in/code/train.py"]', "command = []", id="no command"),
        pytest.param('"python"', '"py\\u001b[31mthon"', id="a terminal escape in the command"),
        pytest.param("from-step:ingest/data", "from-step:ingest/../data", id="a path in from-step"),
        pytest.param("from-step:ingest/data", "md5:abc", id="an unknown digest"),
        pytest.param("/in/data", "/in/../etc", id="a mount that leaves /in"),
        pytest.param("/in/data", "/etc", id="a mount outside /in"),
        pytest.param("/in/data", "/in/code/data", id="a mount inside another"),
        pytest.param("/in/data", "/in/params.json", id="a mount over the parameters"),
        pytest.param("/in/data", "/in/step.toml", id="a mount over the file itself"),
        pytest.param('check = "full"', 'check = "none"', id="an unknown check"),
        pytest.param('name = "data"', 'name = "code"', id="two inputs of one name"),
        pytest.param('name = "data"', 'name = "step.toml"', id="the name of the file itself"),
        pytest.param('source = "../data"', 'source = "s3://bucket/data"', id="a URI, which is not read yet"),
        pytest.param("/out/model", "/out/../model", id="an output that leaves /out"),
        pytest.param("/out/model", "/out", id="an output that is /out"),
        pytest.param("/out/model", "/in/data", id="an output in an input"),
        pytest.param('network = "none"', 'network = "all"', id="a network without addresses"),
        pytest.param('network = "none"', "network = []", id="an empty list of addresses"),
        pytest.param("devices = []", 'devices = ["/etc/shadow"]', id="a device outside /dev"),
        pytest.param("timeout_s = 3600", "timeout_s = 0", id="no time"),
        pytest.param("timeout_s = 3600", "timeout_s = 9223372036854775808", id="a time of 2^63"),
        pytest.param("timeout_s = 3600", "", id="a missing timeout"),
        pytest.param('runtime = ["/usr", "../.venv"]', "runtime = []", id="no runtime"),
        pytest.param('runtime = ["/usr", "../.venv"]', 'runtime = ["/usr", "/usr"]', id="one runtime twice"),
        pytest.param(
            'runtime = ["/usr", "../.venv"]',
            'runtime = ["/usr", "../my venv"]',
            id="a runtime with a space",
        ),
        pytest.param("version = 1", 'version = 1\ncriteria = "%s"' % ("b" * 64), id="criteria for a training"),
        pytest.param("[sandbox]", "[sandbox]\nprivileged = true", id="an unknown key of the sandbox"),
    ],
)
def test_what_the_format_does_not_say_is_a_usage_error(old: str, new: str) -> None:
    assert old in GOOD
    with pytest.raises(Usage):
        step(GOOD.replace(old, new, 1))


@pytest.mark.parametrize("raw", [b"", b"\xff", b"version = 1", b"a" * 70_000, b"version = 1\nversion = 1"])
def test_bytes_that_are_no_step_are_a_usage_error(raw: bytes) -> None:
    with pytest.raises(Usage):
        parse(raw)


def request(**changes: object) -> StepRequest:
    inputs = (
        DeclaredInput(name="data", digest="dirHash:" + "d" * 64),
        DeclaredInput(name="code", digest="dirHash:" + "a" * 64, role="code"),
        DeclaredInput(name="parameters", digest="sha256:" + "b" * 64, role="parameters"),
        DeclaredInput(name="step.toml", digest="sha256:" + "c" * 64, role="parameters"),
    )
    values: dict[str, object] = {
        "lab": "acme.example",
        "nonce": "0" * 32,
        "member": "ada",
        "key": "0" * 64,
        "step": "train",
        "build": "train",
        "command": ("python", "/in/code/train.py"),
        "inputs": inputs,
        "outputs": ("model",),
        "runtime": ("/usr", "../.venv"),
        "timeout_s": 3600,
        "trust_version": 1,
        "signed_at": 1,
    }
    return StepRequest(**(values | changes))  # type: ignore[arg-type]


def test_a_request_with_the_same_content_is_of_this_step() -> None:
    check_is_of(step(), request())


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"step": "ingest"}, id="another name"),
        pytest.param({"build": "merge"}, id="another build type"),
        pytest.param({"command": ("sh",)}, id="another command"),
        pytest.param({"outputs": ("other",)}, id="another output"),
        pytest.param({"runtime": ("/",)}, id="another runtime"),
        pytest.param({"network": ("a:1",)}, id="a network"),
        pytest.param({"devices": ("/dev/sda",)}, id="a device"),
        pytest.param({"timeout_s": 9}, id="another time"),
        pytest.param({"inputs": request().inputs[:3]}, id="an input missing"),
        pytest.param({"inputs": request().inputs[1:]}, id="another input missing"),
        pytest.param(
            {"inputs": (*request().inputs, DeclaredInput(name="more", digest="sha256:" + "e" * 64))},
            id="one more input",
        ),
        pytest.param(
            {
                "inputs": (
                    request().inputs[0],
                    DeclaredInput(name="code", digest="dirHash:" + "e" * 64, role="code"),
                    *request().inputs[2:],
                )
            },
            id="another digest than the file says",
        ),
    ],
)
def test_a_request_that_differs_from_its_step_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(Refused) as caught:
        check_is_of(step(), request(**changes))
    assert caught.value.code == "step-differs"


def test_every_mistake_in_a_step_file_is_named_at_once() -> None:
    text = GOOD.replace('name = "train"', 'name = "Train it"').replace('check = "full"', 'check = "sometimes"')
    text = (
        text.replace("timeout_s = 3600", 'timeout_s = "an hour"')
        .replace("dirHash:", "md5:")
        .replace("[sandbox]", "[sandbox]\ngpu = 1")
    )
    text = text.replace('path = "/out/model"', 'path = "/somewhere"').replace('mount = "/in/code"', "")
    with pytest.raises(Usage) as caught:
        parse(text.encode(), where="STEP.toml")
    said = [message for _, message in caught.value.reasons]
    assert caught.value.code == "config-invalid"
    assert len(said) == 6, "what an input is worth as a whole is judged once its fields are right"
    assert all(message.startswith("`STEP.toml`: ") for message in said)
    for place in (
        "$.name",
        "$.inputs[0].check",
        "$.inputs[1]",
        "$.outputs[0].path",
        "$.sandbox.timeout_s",
        "$.sandbox",
    ):
        assert any(message.endswith(f" - at `{place}`") for message in said), (place, said)
    assert said[0] in caught.value.message
    assert "(and 5 more)" in caught.value.message


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        pytest.param("dirHash:", "md5:", 1, id="a digest that is none has its own code"),
        pytest.param('mount = "/in/code"', 'mount = "/in/data/code"', 1, id="what only the whole is wrong about"),
        pytest.param("[[inputs]]\n" + 'name = "code"', '[[inputs]]\nname = "data"', 1, id="a name twice"),
    ],
)
def test_one_mistake_is_one(old: str, new: str, said: int) -> None:
    assert old in GOOD
    with pytest.raises(Usage) as caught:
        parse(GOOD.replace(old, new).encode())
    assert len(caught.value.reasons) == said


def test_a_file_full_of_mistakes_names_the_first_of_them() -> None:
    many = "".join(f"unknown_{n} = 1\n" for n in range(500))
    with pytest.raises(Usage) as caught:
        parse((many + GOOD).encode())
    assert len(caught.value.reasons) == 20
