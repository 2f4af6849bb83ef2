"""What the pages say, in English and Chinese: each room's words stand side by side, so neither lacks one."""

from roadvault_ingest.pages.words import (
    access,
    api,
    archives,
    base,
    custody,
    files,
    money,
    overview,
    people,
    reasons_chinese,
    reasons_english,
    requests,
    states,
    system,
    upkeep,
    upload,
)

_ROOMS = (
    base, states, overview, files, custody, archives, requests, money, system, upload, access, api, upkeep, people,
)  # fmt: skip
_WORDS = {key: pair for room in _ROOMS for key, pair in room.WORDS.items()}

ENGLISH = reasons_english.REASONS | {key: english for key, (english, _) in _WORDS.items()}
CHINESE = reasons_chinese.REASONS | {key: chinese for key, (_, chinese) in _WORDS.items()}
LANGUAGES = {"en": ENGLISH, "zh": CHINESE}
