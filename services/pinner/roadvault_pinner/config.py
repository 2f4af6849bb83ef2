"""The pinner's settings."""

from typing import Literal

from pydantic import Field

from roadvault_common.settings.config import AuditSettings, IpfsSettings, KeySettings, MarginSettings


class PinnerSettings(MarginSettings, KeySettings, IpfsSettings, AuditSettings):
    """Reads `archives/`, unwraps archive keys, talks to Kubo, removes local copies."""

    ipfs_filestore: bool = Field(
        default=True,
        title="Filestore",
        description="true where Kubo sees the data directory at the same path and refers to archives there;"
        " false copies each archive into Kubo's own store",
    )
    keep_uploads_until: Literal["pinned", "replicated"] = Field(
        "pinned",
        title="Keep uploads until",
        description="pinned: an upload goes once its archive is verified and on IPFS;"
        " replicated: once the network holds enough replicas",
    )
