"""The whole loop in small: the demo, on a stack of its own, with every check it makes."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from collector import Collector, collecting
from free_ports import pick_free

from roadvault_stack.settings import PREFIX, StackSettings

_SECONDS = 240


@pytest.fixture
def traces() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


@pytest.fixture
def environment(traces: Collector) -> Iterator[dict[str, str]]:
    """A stack of its own: free ports, a data directory of its own, small folders."""
    directory = Path(tempfile.mkdtemp(prefix="rv-e2e-"))
    names = [name for name in StackSettings.model_fields if name.endswith("_port")]
    ports = zip(names, pick_free(len(names)), strict=True)
    yield {
        **os.environ,
        **{f"{PREFIX}{name.upper()}": str(port) for name, port in ports},
        "ROADVAULT_OTLP_URL": traces.url,
        f"{PREFIX}DIR": str(directory / "data"),
        f"{PREFIX}FOLDER_BYTES": str(12 << 20),
        f"{PREFIX}FOLDER_AGE_SECONDS": "3",
        f"{PREFIX}BLOCK_SECONDS": "0.2",
        "ROADVAULT_SWEEP_SECONDS": "0.5",
        "ROADVAULT_CRUST_CHECK_SECONDS": "0.5",
        f"{PREFIX}REPLICAS_PER_BLOCK": "20",
    }
    shutil.rmtree(directory, ignore_errors=True)


@pytest.mark.timeout(_SECONDS)
def test_the_demo_in_small(environment: dict[str, str], traces: Collector) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "roadvault_stack.demo", "--count", "9"],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("same SHA-256, plays: ") == 4
    assert "opened with ipfs, openssl, 7z and the master key" in done.stdout
    assert "its loss was found by an audit" in done.stdout
    recovered = done.stdout.partition("thrown away: the database")[2].partition("$ roadvault recover")[2]
    for words in (
        "with 9 files; 0 were there already, 0 things could not be recovered, 0 are no archives",
        "and 9 files came back under their old numbers",
        "seen at the node: the order is in block",
        "$ python3 tools/check_receipt.py",
    ):
        assert words in recovered
    assert recovered.count("hang together") == 2, "the custody lines of the receipt, checked twice"
    assert "Timeline" in done.stdout
    leftovers = subprocess.run(["pgrep", "-f", environment[f"{PREFIX}DIR"]], check=False, capture_output=True)
    assert leftovers.stdout == b"", "processes were left behind"
    _check_traces(traces)


def _check_traces(traces: Collector) -> None:
    """See that requests are whole traces, and that those of archives lead to those of uploads.

    What a service had not sent yet when the demo killed it is lost: so not every archive has to have all.
    """
    uploads = {one.trace for one in traces.seen if one.name == "record"}
    way = {"pack": "packer", "pin": "pinner", "order": "crust-orderer", "prove": "crust-orderer", "drop": "pinner"}
    packed = [one for one in traces.seen if one.name == "pack" and not one.parent]
    whole = [pack for pack in packed if way.keys() <= traces.of(pack.trace).keys()]
    assert whole
    for pack in whole:
        spans = traces.of(pack.trace)
        assert {name: spans[name].service for name in way} == way
        assert all(traces.above(spans[name])[-1:] == ["pack"] for name in way if name != "pack")
        assert pack.links
    assert {pack.trace for pack in whole} & {link for one in traces.seen if one.name == "watch" for link in one.links}
    assert {link for pack in whole for link in pack.links} & uploads
    called = [traces.above(one) for one in traces.seen if one.name == "callback" and not one.failed]
    assert ["fetch", "POST /api/open/downFile"] in called
    assert {one.service for one in traces.seen} == {*way.values(), "ingest", "door", "retriever", "notifier"}
    sent = b"".join(traces.raw)
    assert b".mp4" not in sent, "names of files stay here"
    assert b"/d/{token}" in sent
