"""An upload's tag: what its row says, beside its bytes, so that it outlives the database as long as the disk lives.

It is an extended attribute of the file, written once the row is committed: only then is there a number. It is not
synced by itself. A file system with a journal has it on the disk with whatever is synced next, or within seconds; what
a killed process or a cut of power left without one gets it at the next sweep, from the row.
"""

import os
from collections.abc import Iterable, Iterator
from errno import ENODATA, ENOENT
from pathlib import Path
from typing import Annotated, NamedTuple

import orjson
from pydantic import AwareDatetime, Field, ValidationError

from roadvault_common.files.facts import NOTHING, Facts, told
from roadvault_common.files.vault import RECEIVED, Vault
from roadvault_common.plain import first_fault
from roadvault_common.sql.db import Row

TAG = "user.roadvault.upload"
"""Name of the attribute."""
_NAME_LENGTH = 255
"""Characters of `file_upload_info.file_name`."""
_TYPE_LENGTH = 32
"""Characters of `file_upload_info.file_type`."""

_UTC = orjson.OPT_NAIVE_UTC | orjson.OPT_UTC_Z

_Id = Annotated[int, Field(ge=1, lt=1 << 53)]
"""More than can ever be given out, and what every reader of JSON takes for a whole number."""


class Tag(Facts):
    """What a row of `file_upload_info` can't be made from again but for its path, which is the file's own."""

    file_id: _Id
    name: Annotated[str, Field(max_length=_NAME_LENGTH)]
    size: Annotated[int, Field(ge=0, lt=1 << 53)]
    """Bytes."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    folder_id: _Id
    """The folder it was received in."""
    received: AwareDatetime
    """When its row was written."""


class Adoptable(NamedTuple):
    """A file in `received/` that has a tag, or of which it is told why it has none that counts."""

    path: str
    """Relative to the data directory."""
    tag: Tag | None
    trouble: str = ""


def file_type(name: str) -> str:
    """Return what `file_upload_info.file_type` says of a name: its extension in lower case, without the dot."""
    return name.rpartition(".")[2].lower()[:_TYPE_LENGTH] if "." in name else ""


def refusal(directory: Path) -> str | None:
    """Return why files in a directory take no tags, or None if they do. Blocks."""
    try:
        os.getxattr(directory, TAG)
    except OSError as error:
        return None if error.errno == ENODATA else error.strerror or str(error)
    return None


def write(root: Path, rows: Iterable[Row]) -> list[OSError]:
    """Tag uploads below `root`, but for those that are gone; return what went wrong with others. Blocks.

    Each row has `path`, `file_id`, `file_name`, `size`, `sha256`, `folder_id`, `create_time` (UTC), perhaps `facts`.
    """
    errors: list[OSError] = []
    for row in rows:
        tag = {name: row[name] for name in ("file_id", "size", "sha256", "folder_id")}
        tag |= {"name": row["file_name"], "received": row["create_time"], **told(row.get("facts", NOTHING))}
        try:
            os.setxattr(f"{root}/{row['path']}", TAG, orjson.dumps(tag, option=_UTC))
        except FileNotFoundError:
            continue
        except OSError as error:
            errors.append(error)
    return errors


def lacking(root: Path, paths: Iterable[str]) -> list[str]:
    """Return those of some files below `root` that are there and have no tag. Blocks."""
    return [path for path in paths if _lacks(f"{root}/{path}")]


def _lacks(path: str) -> bool:
    try:
        os.getxattr(path, TAG)
    except OSError as error:
        return error.errno != ENOENT
    return False


def adoptable(vault: Vault) -> Iterator[Adoptable]:
    """Yield every file in `received/`. Blocks."""
    for folder, directories, names in os.walk(vault.root / RECEIVED):
        directories.sort()
        for name in sorted(names):
            path = Path(folder, name)
            yield _read(str(path.relative_to(vault.root)), path)


def _read(relative: str, path: Path) -> Adoptable:
    try:
        return Adoptable(relative, Tag.model_validate_json(os.getxattr(path, TAG, follow_symlinks=False)))
    except OSError as error:
        trouble = "it has no tag" if error.errno == ENODATA else f"its tag can't be read: {error.strerror}"
    except ValidationError as error:
        trouble = f"its tag can't be understood: {first_fault(error)}"
    return Adoptable(relative, None, trouble)
