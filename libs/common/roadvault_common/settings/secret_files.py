"""Secrets from files: the setting ROADVAULT_X, where it is secret, may stand in the file that ROADVAULT_X_FILE names.

So the environment, which every process of the same user and every `docker inspect` can read, needs no secret.
"""

import os
from pathlib import Path
from typing import Any, get_args
from urllib.parse import quote

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import PydanticBaseSettingsSource

from roadvault_common.errors import SettingsError

SUFFIX = "_FILE"


def is_secret(field: FieldInfo) -> bool:
    """Tell whether a setting is a secret."""
    return field.annotation is SecretStr or SecretStr in get_args(field.annotation)


class SecretFiles(PydanticBaseSettingsSource):
    """Reads the secret settings whose files are named in the environment."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return a setting's value, or None, with its name, and that it is not JSON.

        Raises:
            SettingsError: The file can't be read or is empty, or the setting stands in the environment as well.
        """
        name = f"{self.config.get('env_prefix', '')}{field_name}".upper()
        path = os.environ.get(name + SUFFIX)
        if not path or not is_secret(field):  # compose has no other way to leave it out than to leave it empty
            return None, field_name, False
        if name in os.environ:
            raise SettingsError(f"{name} and {name}{SUFFIX} are both set: set one of them")
        return _read(name + SUFFIX, Path(path)), field_name, False

    def __call__(self) -> dict[str, Any]:
        """Return the settings that stand in files."""
        fields = self.settings_cls.model_fields.items()
        values = ((name, self.get_field_value(field, name)[0]) for name, field in fields)
        return {name: value for name, value in values if value is not None}


def _read(name: str, path: Path) -> str:
    try:
        text = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise SettingsError(f"{name}: {path} can't be read: {why}") from None
    if not text:
        raise SettingsError(f"{name}: {path} is empty")
    return text


def with_password(url: SecretStr, password: SecretStr) -> SecretStr:
    """Return a URL with its password, which may have any characters.

    Raises:
        ValueError: The URL has one already.
    """
    scheme, separator, rest = url.get_secret_value().partition("://")
    user, at, host = rest.rpartition("@") if "@" in rest else ("", "@", rest)
    if not separator or ":" in user:
        raise ValueError("has a password of its own, or is no URL: the password is set apart from it")
    return SecretStr(f"{scheme}://{user}:{quote(password.get_secret_value(), safe='')}{at}{host}")
