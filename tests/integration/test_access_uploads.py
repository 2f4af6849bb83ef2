"""A resumable upload is whose it was begun by, and nobody learns what another's bytes or keys stand for."""

from typing import Any

import pytest
from servers_access import Guarded, OpenGuarded
from servers_ingest import Door
from tus_requests import Answered, Client, metadata

from roadvault_common.access import token_store

PARTIAL = {"Upload-Concat": "partial"}
FRAMES = b"frames"
KEY = {"Idempotency-Key": "a key that all have"}
METHODS = ("HEAD", "GET", "PATCH", "DELETE")


class Tus(Client):
    """A client with headers of its own."""

    def __init__(self, guarded: Guarded, who: dict[str, str]) -> None:
        super().__init__(guarded.http, guarded.url)
        self.who = who

    async def ask(self, method: str, url: str, headers: dict[str, str] | None = None, data: Any = None) -> Answered:  # noqa: ANN401 - whatever aiohttp takes
        return await super().ask(method, url, {**self.who, **(headers or {})}, data)

    async def one(self, method: str, url: str) -> int:
        """Send the request of one upload that has come up to three bytes; return the status."""
        if method == "PATCH":
            return (await self.patch(url, 3, FRAMES[3:])).status
        return (await self.ask(method, url)).status

    async def part(self, data: bytes, **fields: str) -> str:
        """Hand a part over; return its path."""
        begun = await self.begin(len(data), data, {**PARTIAL, "Upload-Metadata": metadata(**fields)})
        assert begun.status == 201, begun
        return begun.headers["Location"]

    async def join(self, *paths: str, **fields: str) -> Answered:
        sent = {"Upload-Concat": f"final;{' '.join(paths)}", "Upload-Metadata": metadata(filename="a.mp4", **fields)}
        return await self.ask("POST", self.files, sent)


async def person(guarded: Guarded, role: str) -> dict[str, str]:
    """Log somebody in; return what their browser sends."""
    secret = f"{role:x<43}"
    await guarded.db.execute(
        "INSERT INTO session_info (hash, name, role, idle_ends_at, ends_at) VALUES"
        " (UNHEX(SHA2(%s, 256)), %s, %s, UTC_TIMESTAMP(6) + INTERVAL 1 HOUR, UTC_TIMESTAMP(6) + INTERVAL 1 HOUR)",
        (secret, f"oidc:{role}", role),
    )
    return {"Cookie": f"roadvault={secret}"}


async def begun(guarded: Guarded, who: dict[str, str]) -> str:
    tus = Tus(guarded, who)
    answered = await tus.begin(len(FRAMES))
    assert answered.status == 201, answered
    assert (await tus.patch(tus.at(answered), 0, FRAMES[:3])).status == 204
    return tus.at(answered)


async def test_nobody_else_goes_on_with_a_tokens_upload_but_who_operates(guarded: Guarded) -> None:
    own, other = await guarded.token("own", "upload"), await guarded.token("other", "upload,request,read")
    operates, anna = await guarded.token("operates", "upload,operate"), await person(guarded, "operator")
    for method in METHODS:
        url = await begun(guarded, own)
        assert await Tus(guarded, other).one(method, url) == 404, method
        assert (await Tus(guarded, own).head(url)).offset == 3, method
        assert await Tus(guarded, own).one(method, url) in {200, 204}, method
        for who in (operates, anna):
            assert await Tus(guarded, who).one(method, await begun(guarded, own)) in {200, 204}, method
    url = await begun(guarded, anna)
    assert [await Tus(guarded, who).one("PATCH", url) for who in (own, other, anna)] == [404, 404, 204]
    # What has become a file is no more theirs to know.
    assert await Tus(guarded, other).one("HEAD", url) == 404


async def test_a_file_stays_its_cameras_whoever_ends_its_upload(guarded: Guarded) -> None:
    dock, operates = (
        Tus(guarded, await guarded.token("dock", "upload,read", cameras=("dock-1",))),
        Tus(guarded, await guarded.token("operates", "upload,operate")),
    )
    begun = await dock.begin(len(FRAMES))
    answered = await operates.patch(operates.at(begun), 0, FRAMES)
    assert answered.status == 204, answered
    assert await guarded.db.fetch_value("SELECT camera FROM file_upload_info") == "dock-1"


async def test_a_token_that_took_anothers_place_begins_anew(guarded: Guarded) -> None:
    old = await guarded.token("old", "upload")
    url = await begun(guarded, old)
    await guarded.db.transact(lambda tx: token_store.revoke(tx, "old"))
    guarded.access.guard._tokens._known.clear()
    new = await guarded.token("new", "upload")
    assert await Tus(guarded, old).one("HEAD", url) == 401
    assert await Tus(guarded, new).one("HEAD", url) == 404
    await guarded.db.execute("UPDATE upload_info SET expires_at = UTC_TIMESTAMP(6)")
    await guarded.ingest.sweep_uploads()
    assert await guarded.count("upload_info") == 0


async def test_parts_are_joined_by_who_began_them(guarded: Guarded) -> None:
    own, other = (
        Tus(guarded, await guarded.token("own", "upload")),
        Tus(guarded, await guarded.token("other", "upload")),
    )
    operates = Tus(guarded, await guarded.token("operates", "upload,operate"))
    mine, theirs = await own.part(FRAMES), await other.part(FRAMES)
    assert (await own.join(mine, theirs)).status == 404
    refused = await operates.join(mine, theirs)
    assert (refused.status, "begun by different" in refused.text) == (403, True)
    assert await guarded.count("file_upload_info") == 0
    assert (await operates.join(mine, mine)).status == 201
    assert (await own.join(mine, mine)).status == 201


async def test_what_parts_say_of_the_file_has_to_be_what_it_says(guarded: Guarded) -> None:
    gate = Tus(guarded, await guarded.token("gates", "upload", cameras=("gate-*",)))
    refused = await gate.begin(6, FRAMES, {**PARTIAL, "Upload-Metadata": metadata(camera="yard")})
    assert refused.status == 403
    seven, eight = await gate.part(FRAMES, camera="gate-7", lat="1", lon="2"), await gate.part(FRAMES, camera="gate-8")
    silent = await gate.part(FRAMES)
    for parts, camera in (((seven, eight), "gate-7"), ((seven,), "gate-8"), ((silent, eight), "gate-7")):
        refused = await gate.join(*parts, camera=camera, lat="1", lon="2")
        assert (refused.status, "camera" in refused.text) == (400, True)
    refused = await gate.join(seven, camera="gate-7", lat="2", lon="2")
    assert (refused.status, "lat" in refused.text) == (400, True)
    assert (await gate.join(silent, camera="yard")).status == 403
    assert await guarded.count("file_upload_info") == 0
    assert (await gate.join(seven, silent, camera="gate-7", lat="1", lon="2")).status == 201
    # A part that was begun when its token was for more cameras.
    await guarded.db.execute("UPDATE token_info SET cameras = '[\"gate-8\"]'")
    guarded.access.guard._tokens._known.clear()
    assert (await gate.join(seven)).status == 403
    assert (await gate.join(silent, eight)).status == 201


async def test_where_nobody_is_asked_nothing_is_looked_at(door: Door) -> None:
    tus = Client(door.http, door.url)
    sent = {**PARTIAL, "Upload-Metadata": metadata(camera="gate-7")}
    paths = [(await tus.begin(6, FRAMES, sent)).headers["Location"] for _ in range(2)]
    final = {"Upload-Concat": f"final;{' '.join(paths)}", "Upload-Metadata": metadata(filename="a", camera="yard")}
    assert (await tus.ask("POST", tus.files, final)).status == 201


async def test_an_upload_that_was_begun_before_anybody_was_asked_goes_on(guarded: Guarded) -> None:
    own = await guarded.token("own", "upload")
    url = await begun(guarded, own)
    await guarded.db.execute("UPDATE upload_info SET owner = NULL")
    assert await Tus(guarded, await guarded.token("other", "upload")).one("PATCH", url) == 204


@pytest.mark.parametrize("key", [{}, KEY])
async def test_the_same_bytes_or_key_of_two_clients_are_two_files(
    open_guarded: OpenGuarded, key: dict[str, str]
) -> None:
    async with open_guarded(same_upload_seconds=60) as guarded:
        clients = [await guarded.token(name, "upload") for name in ("one", "other")]
        clients.append(await person(guarded, "operator"))
        numbers = []
        for who in clients * 2:
            status, body, _ = await guarded.ask("PUT", "/api/open/upload/a.mp4", {**who, **key}, data=FRAMES)
            assert status == 200
            numbers.append(body["result"]["fileID"])
        assert len(set(numbers)) == len(clients)
        assert numbers[: len(clients)] == numbers[len(clients) :]


async def test_the_same_key_begins_two_uploads(guarded: Guarded) -> None:
    clients = [
        await guarded.token("one", "upload"),
        await guarded.token("other", "upload"),
        await person(guarded, "operator"),
    ]
    places = [(await Tus(guarded, who).begin(6, None, KEY)).headers["Location"] for who in (*clients, *clients)]
    assert len(set(places)) == len(clients)
    assert places[: len(clients)] == places[len(clients) :]
