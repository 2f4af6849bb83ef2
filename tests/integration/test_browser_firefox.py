"""Links in another browser: Firefox has other code for names, for ranges, and for what scripts may read."""

import asyncio
from pathlib import Path

from firefox import firefox
from saving import BYTES, NAMES, READ, saved_files, video, whole
from servers_door import OpenLinks
from sites import portal

OTHERS = {"a%2Fb%22 100%.mp4": "a_b_ 100_.mp4", "~": "~"}
"""What Firefox calls otherwise than Chromium: it decodes what looks like a URL's."""
JUMP = """async (url) => {
  const video = document.createElement("video");
  Object.assign(video, { muted: true, src: url });
  document.body.append(video);
  const happens = (what) => new Promise((good, bad) => {
    video.addEventListener(what, good, { once: true });
    video.addEventListener("error", () => bad(video.error.message), { once: true });
  });
  await happens("loadeddata");
  const jumped = happens("seeked");
  video.currentTime = 25;
  await jumped;
  return [video.duration, video.currentTime, video.videoWidth];
}"""


async def test_firefox_saves_plays_and_reads_links(open_link_door: OpenLinks, tmp_path: Path) -> None:
    async with portal() as other, open_link_door(link_origins=other) as door, firefox(tmp_path) as page:
        await page.go(other)
        for name, as_chromium in NAMES.items():
            saved = OTHERS.get(name) or as_chromium or name
            await page.run("(url) => { location.href = url }", await door.link(BYTES, name))
            async with asyncio.timeout(20):
                while not whole(page.saved / saved):
                    await asyncio.sleep(0.02)
            assert saved_files(page.saved) == {saved: BYTES}
            (page.saved / saved).unlink()
        link = await door.link(BYTES)
        read = await page.run(READ, [link, {}])
        part = await page.run(READ, [link, {"Range": "bytes=5-9", "If-Range": read["etag"]}])
        assert (part["status"], part["content-range"]) == (206, f"bytes 5-9/{len(BYTES)}")
        assert bytes(part["bytes"]) == BYTES[5:10]
        whole_again = await page.run(READ, [link, {"Range": "bytes=5-9", "If-Range": '"another"'}])
        assert (whole_again["status"], bytes(whole_again["bytes"])) == (200, BYTES)
        assert await page.run(JUMP, await door.link(await asyncio.to_thread(video), "京A12345.mp4")) == [30, 25, 320]
