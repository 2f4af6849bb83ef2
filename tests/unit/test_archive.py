"""The archive format: what the packer writes, stock tools can read."""

import hashlib
import json
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr

from roadvault_common.archive.crypto import ArchiveKey, MasterKeys
from roadvault_common.archive.label import Label
from roadvault_common.errors import IntegrityError, LeaseLost
from roadvault_common.files.facts import Facts
from roadvault_packer.archive import Packed, member_name, most_bytes, pack
from roadvault_packer.uploads import Upload

KEYS = MasterKeys(SecretStr(Fernet.generate_key().decode()))
RECEIVED = datetime(2026, 11, 27, 9, 30, tzinfo=UTC)
NAMES = ["camera 1.mp4", "北环路-摄像头.mp4", 'a"b<c>:d|e?.mp4', "no extension", "日" * 85]


def _write(root: Path, number: int, name: str, content: bytes) -> Upload:
    path = f"received/{number}"
    (root / path).parent.mkdir(exist_ok=True)
    (root / path).write_bytes(content)
    return Upload(number, name, len(content), hashlib.sha256(content).hexdigest(), path, RECEIVED)


def _ignore(_: int) -> None:
    return


@pytest.fixture
def members(tmp_path: Path) -> list[Upload]:
    return [
        _write(tmp_path, number, name, bytes([number]) * (number * 700_001)) for number, name in enumerate(NAMES, 1)
    ]


def _packed(tmp_path: Path, members: list[Upload]) -> tuple[Path, ArchiveKey, Packed]:
    target = tmp_path / "archive"
    packed = pack(7, members, tmp_path, target, KEYS, _ignore)
    return target, packed.key, packed


def test_openssl_and_7z_open_it_without_us(tmp_path: Path, members: list[Upload]) -> None:
    target, key, packed = _packed(tmp_path, members)
    assert target.stat().st_size == packed.size
    plain = tmp_path / "archive.7z"
    cipher = ["openssl", "enc", "-d", "-aes-256-ctr", "-K", key.key.hex(), "-iv", key.iv.hex()]
    subprocess.run([*cipher, "-in", target, "-out", plain], check=True)
    subprocess.run(["7z", "x", f"-o{tmp_path / 'out'}", plain], check=True, stdout=subprocess.DEVNULL)
    for member in members:
        content = (tmp_path / "out" / member_name(member.file_id, member.file_name)).read_bytes()
        assert hashlib.sha256(content).hexdigest() == member.sha256
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert [file["name"] for file in manifest["files"]] == NAMES
    assert {file["fileID"]: file["offset"] for file in manifest["files"]} == packed.offsets
    assert {file["received"] for file in manifest["files"]} == {"2026-11-27T09:30:00.000000Z"}


def _manifest(target: Path, packed: Packed) -> bytes:
    place = Label.parse(packed.label).manifest
    return packed.key.stream(place.offset).update(target.read_bytes()[place.offset : place.offset + place.size])


def test_where_nothing_more_is_known_of_files_the_manifest_is_what_it_always_was(
    tmp_path: Path, members: list[Upload]
) -> None:
    target, _, packed = _packed(tmp_path, members[:1])
    digest = members[0].sha256
    assert _manifest(target, packed).decode() == (
        '{\n  "version": 2,\n  "folder": 7,\n  "files": [\n    {\n      "fileID": 1,\n      "name": "camera 1.mp4",\n'
        '      "member": "1-camera 1.mp4",\n      "size": 700001,\n'
        f'      "sha256": "{digest}",\n      "offset": 32,\n'
        '      "received": "2026-11-27T09:30:00.000000Z"\n    }\n  ]\n}'
    )


@pytest.mark.parametrize("character", ['"', "日", "\\"])
def test_the_archive_is_no_longer_than_was_reckoned_whatever_is_known_of_files(
    tmp_path: Path, members: list[Upload], character: str
) -> None:
    tags = tuple(f"{number:02}{character * (23 // len(character.encode()))}" for number in range(19))
    at, place = datetime(2026, 11, 28, 0, 0, 0, 1, tzinfo=UTC), {"lat": -89.12345678901234, "lon": -179.1234567890123}
    known = Facts(camera=character * 100, recordedAt=at, tags=tags, **place)
    members = [replace(member, facts=known) for member in members]
    target, _, packed = _packed(tmp_path, members)
    assert packed.size <= most_bytes(members)
    files = json.loads(_manifest(target, packed))["files"]
    assert files[0]["tags"] == sorted(tags)
    assert (files[0]["recordedAt"], files[0]["lat"]) == ("2026-11-28T00:00:00.000001Z", place["lat"])
    # Of 20 000 such files it stays one that is read, with the longest of names.
    longest = replace(members[0], file_name='"' * 255)
    of_one = len(_packed_manifest(tmp_path, [longest]))
    assert 20_000 * of_one < 64 << 20


def _packed_manifest(tmp_path: Path, members: list[Upload]) -> bytes:
    target = tmp_path / "another"
    return _manifest(target, pack(7, members, tmp_path, target, KEYS, _ignore))


def test_the_label_lies_beside_it_and_says_where_the_manifest_is(tmp_path: Path, members: list[Upload]) -> None:
    target, key, packed = _packed(tmp_path, members)
    label = Label.parse((tmp_path / "archive.label.json").read_bytes())
    assert (label.encode(), label.open(KEYS), label.size) == (packed.label, key, packed.size)
    begin, end = label.manifest.offset, label.manifest.offset + label.manifest.size
    manifest = json.loads(key.stream(begin).update(target.read_bytes()[begin:end]))
    assert len(manifest["files"]) == label.files == len(members)


def test_an_offset_and_a_size_read_one_file(tmp_path: Path, members: list[Upload]) -> None:
    target, key, packed = _packed(tmp_path, members)
    for member in members:
        offset = packed.offsets[member.file_id]
        cipher = target.read_bytes()[offset : offset + member.size]
        assert hashlib.sha256(key.stream(offset).update(cipher)).hexdigest() == member.sha256


def test_nothing_of_the_plaintext_shows(tmp_path: Path, members: list[Upload]) -> None:
    target, _, _ = _packed(tmp_path, members)
    content = target.read_bytes()
    assert b"7z\xbc\xaf" not in content[:32]
    assert b"camera" not in content


@pytest.mark.parametrize("damage", ["changed", "longer", "shorter", "missing"])
def test_a_damaged_upload_leaves_no_archive(tmp_path: Path, members: list[Upload], damage: str) -> None:
    path = tmp_path / (members[2].path or "")
    content = path.read_bytes()
    match damage:
        case "changed":
            path.write_bytes(b"x" + content[1:])
        case "longer":
            path.write_bytes(content + b"x")
        case "shorter":
            path.write_bytes(content[:-1])
        case _:
            path.unlink()
    with pytest.raises(IntegrityError, match="file 3"):
        _packed(tmp_path, members)
    assert not list(tmp_path.glob("archive*"))


def test_a_lost_lease_stops_it_and_leaves_no_archive(tmp_path: Path, members: list[Upload]) -> None:
    def lost(_: int) -> None:
        raise LeaseLost("gone")

    with pytest.raises(LeaseLost):
        pack(7, members, tmp_path, tmp_path / "archive", KEYS, lost)
    assert not list(tmp_path.glob("archive*"))


def test_an_archive_is_never_overwritten(tmp_path: Path, members: list[Upload]) -> None:
    (tmp_path / "archive").write_bytes(b"another worker's")
    with pytest.raises(FileExistsError):
        _packed(tmp_path, members)
    assert (tmp_path / "archive").read_bytes() == b"another worker's"


@pytest.mark.parametrize("name", ["../../etc/passwd", "a\x00b", "..", "C:\\x", "\ud800"])
def test_member_names_are_plain(name: str) -> None:
    safe = member_name(5, name)
    assert safe.startswith("5-")
    assert not set("/\\:\x00") & set(safe)
    assert len(safe.encode()) < 255
