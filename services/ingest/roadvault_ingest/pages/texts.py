"""What the pages say, in English and Chinese. Both have the same keys; a test holds that."""

from roadvault_ingest.pages.chinese import CHINESE
from roadvault_ingest.pages.english import ENGLISH

LANGUAGES = {"en": ENGLISH, "zh": CHINESE}
