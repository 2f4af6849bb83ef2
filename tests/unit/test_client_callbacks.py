"""Callbacks as the Python client reads them: signed by a library of Standard Webhooks, as the notifier signs them."""

import json
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime

import pytest
from standardwebhooks.webhooks import Webhook

from roadvault_client import BadCallback, BatchEnded, Callback, TookTooLong, read_callback, receive

SECRET, OTHER = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
CALLBACK = Callback(17, "https://files.example/d/t", "download-3")
BODY = b'{"fileID":17,"fileUrl":"https://files.example/d/t"}'


def signed(body: bytes = BODY, secret: str = SECRET, *, seconds_ago: int = 0) -> dict[str, str]:
    at = datetime.fromtimestamp(int(time.time()) - seconds_ago, UTC)
    return {
        "Webhook-Id": "download-3",
        "Webhook-Timestamp": str(int(at.timestamp())),
        "Webhook-Signature": Webhook(secret).sign("download-3", at, body.decode()),
    }


def test_a_callback_says_which_file_is_where() -> None:
    assert read_callback(signed(), BODY, SECRET) == CALLBACK


def test_that_of_a_clip_says_which_part_of_it() -> None:
    body = b'{"fileID":17,"fileUrl":"https://files.example/d/t","clip":{"from":1.5,"to":"2026-11-28T00:30:00Z"}}'
    callback = read_callback(signed(body), body, SECRET)
    assert callback == Callback(17, CALLBACK.url, "download-3", {"from": 1.5, "to": "2026-11-28T00:30:00Z"})
    assert len({callback, CALLBACK}) == 2
    with pytest.raises(BadCallback):
        read_callback(signed(body[:-30] + b"}}"), body[:-30] + b"}}", SECRET)


def test_while_a_secret_is_changed_both_count() -> None:
    assert read_callback(signed(secret=OTHER), BODY, [SECRET, OTHER]) == CALLBACK
    twice = {
        **signed(),
        "Webhook-Signature": f"{signed()['Webhook-Signature']} {signed(secret=OTHER)['Webhook-Signature']}",
    }
    assert read_callback(twice, BODY, OTHER) == CALLBACK


@pytest.mark.parametrize("headers", [
    signed(secret=OTHER), signed(BODY + b" "), signed(seconds_ago=400), signed(seconds_ago=-4000), {},
    {**signed(), "Webhook-Id": "download-4"}, {**signed(), "Webhook-Timestamp": "1e9"},
    {**signed(), "Webhook-Timestamp": "9" * 400}, {**signed(), "Webhook-Signature": "v1,Ü"},
    {**signed(), "Webhook-Signature": "v1,\udcff"}, {**signed(), "Webhook-Id": "download-3\udcff"},
    {**signed(), "Webhook-Signature": signed()["Webhook-Signature"].replace("v1,", "v1a,")},
])  # fmt: skip
def test_what_is_not_roadvaults_or_too_old_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(BadCallback):
        read_callback(headers, BODY, SECRET)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"fileID":"x","fileUrl":"y"}', b"\xff",
    b'{"fileID":Infinity,"fileUrl":"y"}', b"[" * 60_000,
])  # fmt: skip
def test_a_body_that_says_no_file_is_refused(body: bytes) -> None:
    with pytest.raises(BadCallback):
        read_callback({}, body, None)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_ü", "whsec_MfKQ9r8G!"])
def test_a_secret_that_is_none_is_told(secret: str) -> None:
    with pytest.raises(ValueError, match="whsec_ and base64"):
        read_callback(signed(), BODY, secret)


def test_a_batch_ends_with_a_callback_of_its_own() -> None:
    body = b'{"batchID":17,"files":4,"done":2,"failed":1,"cancelled":1}'
    ended = BatchEnded(batch_id=17, files=4, done=2, failed=1, cancelled=1, message_id="download-3")
    assert read_callback(signed(body), body, SECRET) == ended
    with receive(SECRET) as receiver:
        assert [post(receiver.url, signed(body), body), post(receiver.url, signed())] == [204, 204]
        assert receiver.wait_batch(17, 5) == ended
        assert receiver.wait(17, 5) == CALLBACK


def post(url: str, headers: dict[str, str], body: bytes = BODY) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=5) as answer:  # noqa: S310
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_a_receiver_takes_what_is_signed_and_hands_each_out_once() -> None:
    second = json.dumps({"fileID": 18, "fileUrl": "https://files.example/d/u"}).encode()
    with receive(SECRET) as receiver:
        assert [post(receiver.url, signed()), post(receiver.url, signed())] == [204, 204]
        assert post(receiver.url, signed(second), second) == 204
        assert post(receiver.url, {}) == 400
        assert post(receiver.url, signed(), b"x" * 70_000) == 413
        assert receiver.wait(18, 5).url == "https://files.example/d/u"
        assert list(receiver.all(0.1)) == [CALLBACK]
        with pytest.raises(TookTooLong, match="file 17: no callback within"):
            receiver.wait(17, 0.1)
