"""The examples in the README of roadvault-client are run, each as it stands there."""

import asyncio
import re
import sys
from pathlib import Path

from servers_services import Services

README = Path(__file__).parents[2] / "clients" / "python" / "README.md"
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
WRITTEN = "http://roadvault.intranet:7001"
AROUND = {"save(": "def save(key, url):\n    print('kept', bool(url))\n", "def handle": ""}


async def test_every_example_runs(services: Services, tmp_path: Path) -> None:
    door, ingest = services("door"), services("ingest")
    notifier = services("notifier", public_url=door.public_url)
    await asyncio.gather(*(one.start() for one in (ingest, door, services("retriever"), notifier)))
    for name in ("gate-7.mp4", "a.mp4", "b.mp4"):
        (tmp_path / name).write_bytes(name.encode() * 600_000)
    printed = []
    for example in EXAMPLES:
        before = "".join(text for word, text in AROUND.items() if word in example)
        behind = "\nprint(handle({}, b''))" if "def handle" in example else ""
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-W", "error", "-c", before + example.replace(WRITTEN, ingest.url) + behind,
            cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, errors = await asyncio.wait_for(child.communicate(), 60)
        assert child.returncode == 0, f"{example}\n{errors.decode()}"
        printed.append(out.decode())
    assert len(printed) == 5
    assert "6000000 of 6000000 bytes" in printed[0]
    assert (tmp_path / "back.mp4").read_bytes() == (tmp_path / "gate-7.mp4").read_bytes()
    assert printed[1].splitlines() == ["kept False", "kept True"]
    assert printed[2].startswith("404 not_found ")
    assert printed[3] == "400\n"
    assert re.fullmatch(r"\[\d+, \d+\]\n", printed[4])
