"""What the command line answers programs, how it ends, and the live view of the stages."""

import asyncio
import fcntl
import os
import pty
import re
import struct
import sys
import termios

from servers_operator import Console

from roadvault_common.history import heartbeats
from roadvault_common.work import repair
from roadvault_common.work.stages import PACK

NINE = ["receive", "pack", "pin", "order", "replicate", "prove", "drop", "fetch", "callback"]


async def test_a_program_gets_the_same_as_a_person(console: Console) -> None:
    await console.file()
    folder_id = await console.file()
    hostile = "[red]\x1b]0;owned\x07\u202e"
    await repair.give_up(console.db, PACK, folder_id, hostile)
    told = await console.tells("status")
    assert told["command"] == "status"
    assert {"stage": "pack", "due": 0, "at_work": 0, "failed": 1} in told["tables"]["stages"]
    assert told["facts"]["so_far"]["files"] == 2
    (folder,) = (row for row in told["tables"]["folders"] if row["state"] == "packing failed")
    assert (folder["folders"], folder["files"], folder["size"]) == (1, 2, 200_000)
    (failed,) = (await console.tells("failed"))["tables"]["pack"]
    assert (failed["folder_id"], failed["reason"]["words"]) == (folder_id, hostile)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[.\d]*Z", failed["since"])
    told = await console.tells("retry", "pack", folder_id)
    assert (told["facts"], told["lines"]) == ({"rows": 1}, [f"pack {folder_id} is due again"])
    assert (await console.tells("quarantine", "list"))["command"] == "quarantine list"
    assert (await console.tells("token", "create", "x", "--scope", "upload"))["facts"]["token"]


async def test_a_program_sees_how_it_ended(console: Console) -> None:
    told = await console.tells("retry", "pack", 7, code=1)
    assert (told["error"], told["tables"]) == ("pack 7 has not failed; nothing was changed", {})
    assert "No such option" in (await console.tells("retry", "--al", code=2))["error"]
    assert "nosuch" in (await console.tells("nosuch", code=2))["error"]
    await console.archive()
    await console.db.execute("UPDATE zip_ipfs_info SET path = '../../x'")
    told = await console.tells("--json", "verify", "--all", code=1)
    assert told["facts"] == {"checked": 1, "without_copy": 0, "wrong": 1}
    console.environment["ROADVAULT_DATABASE_URL"] = "mysql://someone:hush@127.0.0.1:1/none"
    told = await console.tells("status", code=3)
    assert "can't be reached" in told["error"]
    assert "hush" not in told["error"]


async def test_the_stages_are_told_once_to_a_program_and_where_there_is_no_terminal(console: Console) -> None:
    await console.file()
    told = await console.tells("top")
    assert [row["stage"] for row in told["tables"]["stages"]] == NINE
    assert told["tables"]["stages"][0]["waiting"] == 1
    await console.db.execute(
        "INSERT INTO event_log (stage, row_id, outcome, attempt, trace_id) VALUES ('pack', 1, 'done', 1, 'ab')"
    )
    assert [row["trace"] for row in (await console.tells("top"))["tables"]["events"]] == ["ab"]
    shown = await console.says("top")
    assert re.search(r"^\S+  pack 1 done  trace ab$", shown, re.MULTILINE)
    assert re.search(r"^receive +1 +0 +0 +0 ", shown, re.MULTILINE)
    assert "q quits" in shown


async def test_the_stages_are_shown_live_on_a_small_terminal_until_q(console: Console) -> None:
    await console.file()
    folder_id = await console.file()
    await repair.give_up(console.db, PACK, folder_id, "\x1b]0;owned\x07" + "long " * 90)
    await heartbeats.Heart(console.db, "packer").beat()
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    before = termios.tcgetattr(theirs)
    environment = {"PATH": os.environ["PATH"], "TERM": "xterm", **console.environment}
    command = [sys.executable, "-m", "roadvault_operator", "top", "--every", "0.5"]
    process = await asyncio.create_subprocess_exec(
        *command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True
    )
    seen = b""
    os.set_blocking(ours, False)
    async with asyncio.timeout(30):
        while seen.count(b"q quits") < 2:  # it looks again by itself
            try:
                seen += os.read(ours, 1 << 16)
            except BlockingIOError:
                await asyncio.sleep(0.05)
    os.write(ours, b"q")
    assert await asyncio.wait_for(process.wait(), 10) == 0
    assert termios.tcgetattr(theirs) == before
    screen = seen.split(b"q quits")[0].split(b"\x1b[H")[-1].decode()
    lines = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", screen).replace("\r", "").split("\n")
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    assert all(re.search(rf"^{name} ", text, re.MULTILINE) for name in NINE)
    assert "up: packer" in text
    assert re.search(r"^\d\d:\d\d:\d\d  pack \d+ failed", text, re.MULTILINE)
    assert b"owned\x07" not in seen
    os.close(ours)
    os.close(theirs)
