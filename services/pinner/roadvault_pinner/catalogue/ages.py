"""What Prometheus sees of the catalogue."""

from prometheus_client import Gauge

from roadvault_common.catalogue import left_out
from roadvault_common.sql.db import Database
from roadvault_pinner.catalogue.catalogue_store import CatalogueStore

AGE = Gauge("roadvault_catalogue_age_seconds", "Since the newest catalogue was made; 0 if none was")
NAMED = Gauge("roadvault_catalogue_named_seconds", "Since it was last published under its IPNS name; 0 if none was")
UNPUBLISHED = Gauge(
    "roadvault_catalogue_unpublished_seconds",
    "For how long at most a change of an archive waits to be in the catalogue; 0 if none does",
)

LEFT_OUT = Gauge(
    "roadvault_archives_left_out",
    "Archives that a recovery knows of and did not bring back; of more than 10 000 rows that say so these many",
)


async def measure(db: Database) -> None:
    """Read the ages."""
    ages = await CatalogueStore(db).ages()
    AGE.set(ages.made or 0)
    NAMED.set(ages.named or 0)
    UNPUBLISHED.set(ages.complete if ages.waiting else 0)
    LEFT_OUT.set(await left_out.count(db))
