"""What pages of other origins may send: uploads, in each of the ways, if a setting names the origin."""

from collections.abc import Mapping

from aiohttp import web

from roadvault_common.web.cors import Cors, origins
from roadvault_ingest.config import IngestSettings

METHODS: Mapping[str, tuple[str, ...]] = {
    "/api/open/upload": ("POST",),
    "/api/open/upload/": ("POST", "PUT"),
    "/api/open/files": ("OPTIONS", "POST"),
    "/api/open/files/": ("OPTIONS", "HEAD", "GET", "POST", "PATCH", "DELETE"),
}
"""What takes uploads, by path; with a slash at its end it stands for what lies below."""
_SENT = (
    *("Authorization", "Content-Type", "Idempotency-Key", "Content-Digest", "Repr-Digest"),
    *("Tus-Resumable", "Upload-Length", "Upload-Defer-Length", "Upload-Offset", "Upload-Metadata", "Upload-Checksum"),
    *("Upload-Concat", "X-HTTP-Method-Override", "X-Request-ID", "X-Requested-With"),
)
_READ = (
    *("Location", "RoadVault-File-ID", "Repr-Digest", "Retry-After", "WWW-Authenticate"),
    *("Tus-Resumable", "Tus-Version", "Tus-Extension", "Tus-Max-Size", "Tus-Checksum-Algorithm"),
    *("Upload-Length", "Upload-Defer-Length", "Upload-Offset", "Upload-Metadata", "Upload-Concat", "Upload-Expires"),
)


def uploading_pages(settings: IngestSettings) -> Cors:
    """Return which pages of other origins may upload."""
    return Cors(origins(settings.upload_origins), _methods, _SENT, _READ)


def _methods(request: web.Request) -> tuple[str, ...]:
    path = request.rel_url.raw_path  # by which routes are found
    for prefix in ("/api/open/upload/", "/api/open/files/"):
        if path.startswith(prefix):
            path = prefix
    return METHODS.get(path, ())
