"""`keyturn builder`: set up and run the process that runs steps, and signs what it saw."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from keyturn.cli import output
from keyturn.cli.names import there
from keyturn.cli.options import Json, Lab, LogJson, Port, Root

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["app"]

app = typer.Typer(help="The process that runs steps in a sandbox and signs their provenance.", no_args_is_help=True)


@app.command()
def init(
    work: Annotated[
        list[Path], typer.Option(help="A directory where inputs lie and outputs go. Repeat for more.", callback=there)
    ],
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The builder's name, as the lab's targets list it.")
    ] = "builder",
    runtime: Annotated[
        list[Path] | None,
        typer.Option(help="What a STEP.toml may name as runtime. Default: /usr and this Python.", callback=there),
    ] = None,
    private: Annotated[
        list[Path] | None, typer.Option(help="What no step may reach, besides the lab itself.", callback=there)
    ] = None,
    source: Annotated[
        list[str] | None,
        typer.Option(
            help="An address that inputs may be fetched from, and what lies below it, as git+https://git.example/. Default: none."
        ),
    ] = None,
    root: Root = None,
    lab: Lab = None,
    json: Json = False,
) -> None:
    """Set up the lab's builder on this machine: its key, its pinned root, and where steps may read and write."""
    from keyturn.wiring.custody.builder import default_runtimes, make_builder
    from keyturn.wiring.lab.places import find_lab

    place = find_lab(lab)
    config, key = make_builder(
        place,
        name=name,
        work=[str(path.absolute()) for path in work],
        runtime=[str(path.absolute()) for path in runtime] if runtime else default_runtimes(),
        private=[str(path.absolute()) for path in private or ()],
        sources=source or (),
        pin=root,
    )
    value = {"name": config.name, "key": key.text, "keyid": key.keyid, "work": config.work, "runtime": config.runtime}

    def show_it(screen: Console) -> None:
        screen.print(output.plain(f"builder `{config.name}` is set up in {place.directory / 'builder'}"))
        screen.print(f"  public key  {key.text}")
        screen.print(
            "the lab's targets must list this key (a demo lab's first ones do); then: keyturn builder serve, or keyturn up"
        )

    output.emit(value, json=json, human=show_it)


@app.command()
def serve(
    port: Port = 0,
    log_json: LogJson = False,
    lab: Lab = None,
) -> None:
    """Run steps that members sign, one at a time, until told to stop."""
    from keyturn.adapters import process_log
    from keyturn.errors import Unavailable
    from keyturn.service import shell
    from keyturn.service.builder_service import create_app
    from keyturn.wiring.custody.builder import builder_parts
    from keyturn.wiring.lab.places import find_lab

    process_log.begin("builder", log_json=log_json)
    place = find_lab(lab)
    parts = builder_parts(place)
    try:
        parts.probe()
    except Unavailable as err:  # it serves all the same, and says so to whoever orders a step
        process_log.say("warning", "sandbox-missing", err=err)
    shell.serve(create_app(parts), name="builder", run_dir=place.directory / "run", port=port)


@app.command()
def show(lab: Lab = None, json: Json = False) -> None:
    """Show the lab's builder: its key, its level, its directories, and whether its sandbox works here."""
    from keyturn.adapters.files.key_files import read_key
    from keyturn.adapters.sandbox_bwrap import BubblewrapSandbox
    from keyturn.errors import Unavailable
    from keyturn.wiring.custody.builder import read_config
    from keyturn.wiring.lab.places import find_lab

    place = find_lab(lab)
    config = read_config(place)
    key = read_key(place.directory / "builder" / "key", passphrase=None).public
    try:
        BubblewrapSandbox().probe()
        sandbox = "works"
    except Unavailable as err:
        sandbox = err.message
    value = {
        "name": config.name,
        "lab": config.lab,
        "key": key.text,
        "level": config.level,
        "work": config.work,
        "runtime": config.runtime,
        "private": (str(place.directory), *config.private),
        "sources": config.sources,
        "s3": "" if config.s3 is None else config.s3.endpoint,
        "oci_follow": () if config.oci is None else config.oci.follow,
        "sandbox": sandbox,
    }

    output.emit(value, json=json, human=lambda screen: output.fields(screen, value))


@app.command("run-order")
def run_order(
    order: Annotated[
        Path, typer.Argument(metavar="ORDER", help="What `keyturn step order` wrote.", show_default=False)
    ],
    lab: Lab = None,
    json: Json = False,
) -> None:
    """Run one order of a file in the sandbox, sign what came of it, and end: for a Job that nobody can reach."""
    from keyturn.adapters import process_log
    from keyturn.adapters.files.config_files import read_small
    from keyturn.adapters.over_http import errors_over_http
    from keyturn.adapters.over_http.builder_over_http import Order, decode
    from keyturn.service.builder_service import BuilderService
    from keyturn.wiring.custody.builder import builder_parts
    from keyturn.wiring.lab.places import find_lab

    process_log.begin("builder", log_json=json)
    place, given = find_lab(lab), decode(read_small(order), Order, what="order")
    service = BuilderService(builder_parts(place))
    service.start()
    try:
        state = service.order(given)
        while state.outcome is None:
            if state.error is not None:
                raise errors_over_http.as_raised(state.error)
            state = service.state(state.job, wait_s=10.0)
    finally:
        service.stop()
    made = {"step": state.step, "outputs": state.outcome.outputs, "provenance": f"prv-{state.outcome.provenance[:32]}"}
    output.emit(made, json=json, human=lambda screen: output.fields(screen, made))


_TRIES_MAX = 10
"""How often a job is queued again because something could not be found out, before it is cancelled as well."""

Job = Annotated[str, typer.Argument(metavar="JOB", help="The job's number.", show_default=False)]


@app.command("slurm-prolog")
def slurm_prolog(job: Job, lab: Lab = None) -> None:
    """Before a job of Slurm starts, hold it against the signed order that its comment names; a false one is cancelled.

    For PrologSlurmctld: the job's other fields are in SLURM_JOB_*. Exit status 3 has Slurm queue the job again.
    """
    import os

    from keyturn.adapters import process_log
    from keyturn.adapters.slurm_commands import SlurmCommands
    from keyturn.errors import KeyturnError, Unavailable
    from keyturn.wiring.custody.builder import builder_parts
    from keyturn.wiring.custody.slurm_builder import COMMENT, begin, slurm_jobs
    from keyturn.wiring.lab.places import find_lab

    place = find_lab(lab)
    comment, nodes = os.environ.get("SLURM_JOB_COMMENT", ""), os.environ.get("SLURM_JOB_NODELIST", "")
    if not comment.startswith(COMMENT):
        return
    process_log.begin("builder", log_json=False)
    try:
        step = begin(builder_parts(place), slurm_jobs(place), job, comment=comment, nodes=nodes)
        process_log.say("info", "job-begun", about={"job": job, "step": step})
    except KeyturnError as err:
        if isinstance(err, Unavailable) and SlurmCommands(job).restarts() < _TRIES_MAX:
            raise
        # Not this exit status: of a failed prolog Slurm makes a job that waits, and starts again.
        process_log.say("warning", "job-refused", err=err, about={"job": job})
        SlurmCommands(job).cancel(output.plain(f"keyturn: {err.message} [{err.code}]")[:900])


@app.command("slurm-epilog")
def slurm_epilog(
    job: Annotated[
        str | None,
        typer.Argument(metavar="JOB", help="The job's number. Default: all whose end is not known here yet."),
    ] = None,
    lab: Lab = None,
) -> None:
    """When a job of Slurm is over, digest what it left, and sign and log its provenance; waits for its last process.

    For EpilogSlurmctld, which must not wait for it. Run again, it sends what the log did not take. Without JOB it does what hooks
    left undone: when the controller's machine, or Slurm, was away.
    """
    from keyturn.adapters import process_log
    from keyturn.errors import KeyturnError, together
    from keyturn.wiring.custody.builder import builder_parts
    from keyturn.wiring.custody.slurm_builder import finish, slurm_jobs
    from keyturn.wiring.lab.places import find_lab

    place = find_lab(lab)
    process_log.begin("builder", log_json=False)
    parts, jobs, wrong = builder_parts(place), slurm_jobs(place), list[KeyturnError]()
    for one in jobs.left() if job is None else (job,):
        try:
            made = finish(parts, jobs, one)
            process_log.say(
                "info", "job-signed" if made else "job-not-ours", about={"job": one, "provenance": made or ""}
            )
        except KeyturnError as err:
            wrong.append(err)
    if wrong:
        raise together(wrong)
