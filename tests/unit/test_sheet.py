"""The recovery sheet: what stands on it is enough, a share alone is nothing, and it can be read by others' tools."""

import base64
import os
import re
import subprocess
from datetime import date
from itertools import combinations
from pathlib import Path

import pytest
import shamir_mnemonic as slip39
import zxingcpp
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.keywrap import aes_key_wrap
from pydantic import SecretStr
from shamir_mnemonic.wordlist import WORDLIST

from roadvault_common.archive.crypto import ArchiveKey, MasterKeys, Use
from roadvault_common.archive.ipns import ipns_name
from roadvault_common.errors import SettingsError
from roadvault_operator.sheet import contents, shares
from roadvault_operator.sheet.contents import Sheet
from roadvault_operator.sheet.printing import as_html, as_text, write_private
from roadvault_operator.sheet.shares import Joining, ShareRefused, Split

QUIET = 4
"""Modules around a QR code that have to be white (ISO/IEC 18004)."""

OUR_WORDS = {"already", "join"}
"""What our messages have in common with the words of shares."""


def new_keys(count: int) -> list[str]:
    return [Fernet.generate_key().decode() for _ in range(count)]


def sheet_of(keys: list[str], split: Split | None = None, catalogue: str | None = None) -> Sheet:
    return Sheet(contents.pages(SecretStr(", ".join(keys)), split), "an account", catalogue, date(2026, 11, 27))


def joined(*lines: str) -> str:
    joining = Joining()
    for line in lines:
        joining.add(line)
    return joining.master_key()


def scanned(svg: str) -> str:
    """Draw a QR code as a printer would, and read it as a phone does."""
    side, scale = int(re.findall(r'viewBox="0 0 (\d+) \d+"', svg)[0]), 4
    rows = [bytearray(b"\xff" * side * scale) for _ in range(side * scale)]
    (strokes,) = re.findall(r' d="([^"]+)"', svg)
    x, y = 0, 0.0
    for command, numbers in re.findall(r"([Mmh])([-\d. ]+)", strokes):
        one, *two = (float(number) for number in numbers.split())
        if command == "h":
            for row in rows[int(y) * scale : int(y + 1) * scale]:
                row[x * scale : (x + int(one)) * scale] = bytes(int(one) * scale)
            x += int(one)
        else:
            x, y = (int(one), two[0]) if command == "M" else (x + int(one), y + two[0])
    image = memoryview(b"".join(rows)).cast("B", (side * scale, side * scale))
    found = zxingcpp.read_barcode(image)
    assert found is not None
    assert side >= 21 + 2 * QUIET
    return found.text


def test_the_sheet_has_every_master_key_and_whatever_finds_its_archives() -> None:
    keys = new_keys(2)
    sheet = sheet_of(keys, catalogue="bafyCatalogue")
    text, html = as_text(sheet), as_html(sheet)
    for key in keys:
        wanted = MasterKeys(SecretStr(key)).ids[0], key, ipns_name(MasterKeys(SecretStr(key)))
        assert all(one in text and one in html for one in wanted)
    for one in ("bafyCatalogue", "an account", "2026-11-27", "roadvault recover", "恢复单", "Newest catalogue"):
        assert one in text
        assert one in html
    assert [scanned(svg) for svg in re.findall(r"<svg.*?</svg>", html)] == keys
    bare = Sheet(sheet.pages, None, None)
    assert "not published yet / 尚未发布" in as_text(bare)
    assert "nothing was bought yet / 尚未购买" in as_html(bare)


def test_the_page_to_print_needs_nothing_from_elsewhere() -> None:
    html = as_html(sheet_of(new_keys(1), Split(3, 2)))
    assert not re.search(r"<script|<link|<img|\bsrc=|\bhref=|url\(|@import|https?:|//", html)
    assert html.count("<section>") == 3


def test_a_page_has_one_share_and_says_of_what() -> None:
    keys, split = new_keys(2), Split(3, 2)
    sheet = sheet_of(keys, split)
    found = []
    for page in sheet.pages:
        ((secret,), share) = page.secrets, page.share
        assert share is not None
        alone = Sheet([page], None, None)
        text, html = as_text(alone), as_html(alone)
        told = f"Share {share.number} of 3 of the master key {secret.key_id}. Any 2 of them give the key"
        assert told in text
        assert told in html
        assert f"第 {share.set} 组" in text
        assert [scanned(svg) for svg in re.findall(r"<svg.*?</svg>", html)] == [secret.text]
        for key in keys:
            raw = base64.urlsafe_b64decode(key)
            for form in (key, key.rstrip("="), raw.hex(), base64.b64encode(raw).decode()):
                assert form not in text + html
        for shown in (text, html):
            words = " ".join(re.sub(r"\d+\.", "", shown).split())
            assert [other is page for other in sheet.pages] == [one.secrets[0].text in words for one in sheet.pages]
        found.append((share.number, secret.key_id))
    ids = [MasterKeys(SecretStr(key)).ids[0] for key in keys]
    # What one person gets follows each other.
    assert found == [(number, key_id) for number in (1, 2, 3) for key_id in ids]
    assert repr(sheet.pages[0].secrets[0]).count(sheet.pages[0].secrets[0].text) == 0


@pytest.mark.parametrize("split", [Split(2, 2), Split(3, 2), Split(5, 3), Split(16, 15)], ids=str)
def test_any_shares_that_are_enough_give_the_key_and_fewer_do_not(split: Split) -> None:
    secret = os.urandom(32)
    words = shares.split(secret, split)
    assert len(set(words)) == split.shares
    for some in combinations(words, split.threshold):
        assert base64.urlsafe_b64decode(joined(*some)) == secret
    with pytest.raises(ShareRefused, match=f"{split.threshold - 1} shares were given, {split.threshold} are needed"):
        joined(*words[1 : split.threshold])
    with pytest.raises(ShareRefused, match="no share was given"):
        joined()


def test_shares_are_taken_as_they_are_printed() -> None:
    (key,) = new_keys(1)
    text = as_text(sheet_of([key], Split(3, 2)))
    lines = re.findall(r"(1\..*\n.*12\..*\n.*33\..*)", text)
    assert len(lines) == 3
    assert joined(lines[2].upper(), lines[0]) == key


def test_what_is_no_share_or_does_not_fit_is_told_without_its_words() -> None:
    one, two, three = shares.split(os.urandom(32), Split(3, 2))
    other = shares.split(os.urandom(32), Split(3, 2))
    short = slip39.generate_mnemonics(1, [(2, 3)], os.urandom(16))[0]
    groups = slip39.generate_mnemonics(1, [(2, 3), (2, 3)], os.urandom(32))
    spoilt = one.split()
    spoilt[9], spoilt[10] = spoilt[10] + "x", spoilt[9]
    swapped = [two.split()[0], *one.split()[1:4], *two.split()[4:]]
    cases = {
        "word 10 of 33 is not in SLIP-39's list": [" ".join(spoilt)],
        "its checksum is wrong, so a word is wrong or missing$": [" ".join(swapped)],
        "it has 32 words, a share of a master key has 33": [one.rpartition(" ")[0]],
        "it has 66 words": [f"{one} {two}"],
        "it has 1 words": [one.split()[0]],
        f"is of set {shares.set_of(other[0])}, the first was of set {shares.set_of(one)}": [one, other[1]],
        "share 1 was given already": [one, one],
        "these are shares of 16 bytes": short[:2],
        "of a set of several groups": groups[0][:2],
    }
    for told, lines in cases.items():
        with pytest.raises(ShareRefused, match=told) as refused:
            joined(*lines)
        said = set(re.findall(r"[a-z]+", str(refused.value).lower()))
        assert said & set(WORDLIST) <= OUR_WORDS
        assert refused.value.__cause__ is None
    assert joined(one, two) == joined(three, one)


def test_shares_that_are_each_whole_and_give_nonsense_are_found_out() -> None:
    one, two, _ = shares.split(os.urandom(32), Split(3, 2))
    forged = slip39.Share.from_mnemonic(two)
    forged = slip39.Share(**{**vars(forged), "value": os.urandom(32)})
    with pytest.raises(ShareRefused, match="do not fit together, though each is whole"):
        joined(one, forged.mnemonic())


@pytest.mark.parametrize("split", [Split(1, 1), Split(3, 1), Split(2, 3), Split(17, 2)], ids=str)
def test_a_split_that_is_of_no_use_is_refused(split: Split) -> None:
    with pytest.raises(SettingsError, match="at least 2 shares have to be needed"):
        split.check()


def test_the_commands_on_the_sheet_open_an_archive_with_stock_tools(tmp_path: Path) -> None:
    (key,) = new_keys(1)
    own, archive = ArchiveKey.new(), tmp_path / "stored"
    archive.mkdir()
    plain = tmp_path / "a.mp4"
    plain.write_bytes(os.urandom(1000))
    subprocess.run(["7z", "a", "-bso0", "-mx0", tmp_path / "a.7z", plain], check=True)
    (archive / "archive.7z.enc").write_bytes(own.stream().update((tmp_path / "a.7z").read_bytes()))
    wrapped = base64.b64encode(aes_key_wrap(MasterKeys(SecretStr(key)).derive(Use.ARCHIVE_KEY), own.key)).decode()
    label = f'{{"format":2,"iv":"{own.iv.hex()}","key":"{wrapped}","masterKey":"{MasterKeys(SecretStr(key)).ids[0]}"}}'
    (archive / "label.json").write_text(label)
    text = as_text(sheet_of([key]))
    commands = text[text.index("read -rs MASTER") :].replace("    ", "")
    fetched = commands.replace("ipfs get CID -o archive", f"cp -r {archive} archive")
    subprocess.run(
        ["bash", "-eu", "-c", fetched], input=f"{key}\n".encode(), cwd=tmp_path, check=True, capture_output=True
    )
    assert (tmp_path / "archive" / "a.mp4").read_bytes() == plain.read_bytes()


def test_a_file_is_made_anew_for_its_owner_alone(tmp_path: Path) -> None:
    there, elsewhere, link = tmp_path / "there", tmp_path / "elsewhere", tmp_path / "link"
    there.write_text("of the operator")
    link.symlink_to(elsewhere)
    for path, why in {there: "File exists", link: "File exists", tmp_path / "no" / "a": "No such file"}.items():
        with pytest.raises(SettingsError, match=f"{path} can't be made: {why}"):
            write_private(path, "secret")
    assert there.read_text() == "of the operator"
    assert not elsewhere.exists()
    old = os.umask(0)
    try:
        write_private(tmp_path / "new", "secret")
    finally:
        os.umask(old)
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o600
    with pytest.raises(UnicodeEncodeError):
        write_private(tmp_path / "broken", "\ud800")
    assert not (tmp_path / "broken").exists()
