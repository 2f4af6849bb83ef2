"""Writes architecture/settings.md, and what the Helm chart lets be set, from the services' settings.

`.venv/bin/python setup/settings_page.py` runs it.
"""

from pathlib import Path

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings

from roadvault_common.settings.config import PREFIX, ServiceSettings, Settings
from roadvault_common.settings.secret_files import is_secret
from roadvault_crust_orderer.config import OrdererSettings
from roadvault_devnet.config import DevnetSettings
from roadvault_door.config import DoorSettings
from roadvault_ingest.config import IngestSettings
from roadvault_notifier.config import NotifierSettings
from roadvault_operator.config import OperatorSettings
from roadvault_packer.config import PackerSettings
from roadvault_pinner.config import PinnerSettings
from roadvault_retriever.config import RetrieverSettings
from roadvault_stack.settings import StackSettings

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "architecture" / "settings.md"
CHART = ROOT / "deploy" / "helm" / "roadvault" / "files" / "settings.yaml"
_SERVICES: dict[str, type[BaseSettings]] = {
    "ingest": IngestSettings,
    "door": DoorSettings,
    "packer": PackerSettings,
    "pinner": PinnerSettings,
    "crust-orderer": OrdererSettings,
    "retriever": RetrieverSettings,
    "notifier": NotifierSettings,
    "roadvault (the command line)": OperatorSettings,
    "devnet": DevnetSettings,
    "the local stack": StackSettings,
}
_PROGRAMS = ("roadvault (the command line)", "devnet", "the local stack")
_BY_THE_CHART = (
    *("http_host", "http_port", "drain_seconds", "notice_seconds", "data_dir", "ingest_worker"),
    *("store", "store_link_url", "store_stream_url", "stream_host", "stream_port", "stream_url", "door_url"),
    *("public_url", "public_host", "public_port", "callback_refuse", "crust_url"),
    *("ipfs_rpc_url", "ipfs_gateway_url", "ipfs_filestore", "witness_rpc_url", "witness_gateway_url"),
)
"""Settings that the chart gives a value itself; what is secret is none of values' business either."""
_CHART_HEAD = """# The settings of each service that values may give: written by setup/settings_page.py.
"""
_HEAD = """# Settings

Every setting is an environment variable. This page is generated from the code by `setup/settings_page.py`; a test keeps
it true. *Required* means that the service does not start without it; *secret* that it never shows in a log or an error.

A secret `ROADVAULT_X` may stand in a file instead, which `ROADVAULT_X_FILE` names; blanks and line breaks around it are
not part of it.

`ROADVAULT_DATABASE_URL` is all that most commands of `roadvault` need; `archive-key` and `verify` need
`ROADVAULT_MASTER_KEYS`, too.
"""


def render() -> str:
    """Return the page."""
    every = set(ServiceSettings.model_fields)
    parts = [_HEAD, "## Every service\n", _table(ServiceSettings, set())]
    parts += ["## Every service but the door\n", _table(Settings, every)]
    common = set(Settings.model_fields)
    for name, settings in _SERVICES.items():
        parts += [f"## {name[0].upper()}{name[1:]}\n", _table(settings, common)]
    return "\n".join(parts)


def render_chart() -> str:
    """Return the names of what the chart's values may set, by service."""
    parts = [_CHART_HEAD]
    for service, settings in _SERVICES.items():
        if service not in _PROGRAMS:
            fields = settings.model_fields.items()
            names = [name for name, field in fields if name not in _BY_THE_CHART and not is_secret(field)]
            parts += [f"{service}:\n", *(f"  - {PREFIX}{name.upper()}\n" for name in names)]
    return "".join(parts)


def _table(settings: type[BaseSettings], left_out: set[str]) -> str:
    rows = ["| variable | default | meaning |", "| --- | --- | --- |"]
    prefix = settings.model_config.get("env_prefix", PREFIX)
    for name, field in settings.model_fields.items():
        overridden = name in left_out and field.default != Settings.model_fields[name].default
        if name not in left_out or overridden:
            rows.append(f"| `{prefix}{name.upper()}` | {_default(field)} | {_meaning(field)} |")
    return "\n".join(rows) + "\n"


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "required"
    if field.default is None or field.default == "":
        return "–"  # noqa: RUF001 - a dash in a table
    if isinstance(field.default, Path):
        # An absolute path would be this machine's.
        return f"`{field.default.name if field.default.is_absolute() else field.default}` in the checkout"
    return f"`{str(field.default).lower() if isinstance(field.default, bool) else field.default}`"


def _meaning(field: FieldInfo) -> str:
    text = f"{field.title}: {field.description}" + (" (secret)" if is_secret(field) else "")
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(render())
    CHART.write_text(render_chart())
