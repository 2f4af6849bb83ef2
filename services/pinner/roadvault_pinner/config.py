"""The pinner's settings."""

from typing import Literal

from pydantic import Field

from roadvault_common.settings.archives import AuditSettings, EndSettings, IpfsSettings, KeySettings
from roadvault_common.settings.config import MarginSettings


class PinnerSettings(MarginSettings, KeySettings, IpfsSettings, AuditSettings, EndSettings):
    """Reads `archives/`, unwraps archive keys, talks to Kubo, removes local copies."""

    ipfs_filestore: bool = Field(
        default=True,
        title="Filestore",
        description="true where Kubo sees the data directory at the same path and refers to archives there;"
        " false copies each archive into Kubo's own store",
    )
    catalogue_seconds: float = Field(
        1800,
        gt=0,
        title="Catalogue",
        description="seconds between two looks whether the catalogue of all archives has to be published anew",
    )
    catalogue_order_seconds: float = Field(
        86_400,
        gt=0,
        title="Catalogue order",
        description="seconds at least between two orders of the catalogue; one that did not change is not",
    )
    keep_uploads_until: Literal["pinned", "replicated"] = Field(
        "pinned",
        title="Keep uploads until",
        description="pinned: an upload goes once its archive is verified and on IPFS;"
        " replicated: once the network holds enough replicas",
    )
