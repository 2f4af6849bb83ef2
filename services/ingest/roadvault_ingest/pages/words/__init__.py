"""What the pages say, in English and Chinese: each room's words stand side by side, so neither lacks one."""

from roadvault_ingest.pages.words import access, api, archives, base, files, overview, states

_ROOMS = (base, states, overview, files, archives, access, api)
_WORDS = {key: pair for room in _ROOMS for key, pair in room.WORDS.items()}

ENGLISH = {key: english for key, (english, _) in _WORDS.items()}
LANGUAGES = {"en": ENGLISH, "zh": {key: chinese for key, (_, chinese) in _WORDS.items()}}
