"""The list of a pinning service (https://ipfs.github.io/pinning-services-api-spec/, version 1.0.0), page by page."""

from datetime import datetime, timedelta

import aiohttp
from pydantic import BaseModel, ValidationError

from roadvault_common.errors import ChainUnavailable, SettingsError, brief
from roadvault_common.ipfs.answers import PLAIN, read_body
from roadvault_operator.config import OperatorSettings

_PAGE = 1000
"""Pins in one answer: as many as the specification allows."""
_MOST = 10_000_000
_ANSWER_BYTES = 16 << 20
_STATES = "queued,pinning,pinned"
_SECONDS = 60
_TICK = timedelta(milliseconds=1)
"""Services tell times in these: what was created in the same as the last of a page is asked for again."""
_OK = 200


class _Pin(BaseModel):
    cid: str


class _Status(BaseModel):
    created: datetime
    pin: _Pin


class _Page(BaseModel):
    results: list[_Status]


async def listed(settings: OperatorSettings) -> list[str]:
    """Return the CIDs of all pins, the newest first, each once.

    Raises:
        SettingsError: The service, or the token for it, is not set.
        ChainUnavailable: It does not answer, or refuses.
    """
    if settings.pinning_url is None:
        raise SettingsError("ROADVAULT_PINNING_URL is not set")
    headers = {**PLAIN, "Authorization": f"Bearer {_token(settings)}"}
    timeout = aiohttp.ClientTimeout(total=_SECONDS)
    found: dict[str, None] = {}
    before: datetime | None = None
    async with aiohttp.ClientSession(
        settings.pinning_url.rstrip("/") + "/", headers=headers, timeout=timeout, auto_decompress=False
    ) as session:
        while page := await _page(session, before):
            known = len(found)
            found |= dict.fromkeys(one.pin.cid for one in page)
            oldest = min(one.created for one in page)
            # Nothing new came: all that is left of that moment has come.
            before = oldest + _TICK if len(found) > known else oldest
            if len(page) < _PAGE:
                break
            if len(found) > _MOST:
                raise ChainUnavailable(f"the pinning service lists more than {_MOST} pins: nobody has so many")
    return list(found)


def _token(settings: OperatorSettings) -> str:
    if settings.pinning_token is not None:
        return settings.pinning_token.get_secret_value()
    if settings.crust_seed is None:
        raise SettingsError("neither ROADVAULT_PINNING_TOKEN nor ROADVAULT_CRUST_SEED is set")
    from roadvault_common.web import w3auth  # noqa: PLC0415 - takes long to import, and other commands don't need it

    return w3auth.token(settings.crust_seed).get_secret_value()


async def _page(session: aiohttp.ClientSession, before: datetime | None) -> list[_Status]:
    query = {"status": _STATES, "limit": f"{_PAGE}"}
    if before is not None:
        query["before"] = before.isoformat().replace("+00:00", "Z")
    try:
        async with session.get("pins", params=query, allow_redirects=False) as response:
            if response.status != _OK:  # its own words stay out of this: they may quote the token
                raise ChainUnavailable(f"the pinning service answers {response.status}: see ROADVAULT_PINNING_TOKEN")
            return _Page.model_validate_json(await read_body(response, _ANSWER_BYTES)).results
    except ValidationError as error:
        raise ChainUnavailable(f"the pinning service's list makes no sense: {error.error_count()} errors") from None
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise ChainUnavailable(f"the pinning service can't be reached: {brief(error)}") from error
