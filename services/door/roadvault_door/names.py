"""What a link's file is called in the answer, and of which kind it is said to be."""

import re
import unicodedata
from urllib.parse import quote

_UNSAFE = re.compile(r"[^A-Za-z0-9 ._()+=@,-]")
"""In a name that any client, however simple, may take for a file's: no quotes, paths, controls, escapes."""

_TYPES = {
    "video/mp4": "mp4 m4v mp4v insv lrv 360",  # Insta360's and GoPro's own are MP4 inside
    "video/quicktime": "mov qt",
    "video/mp2t": "ts mts m2ts m2t tp trp",
    "video/mpeg": "mpg mpeg mpe m1v m2v mpv vob",
    "video/x-matroska": "mkv",
    "video/webm": "webm",
    "video/x-flv": "flv f4v",
    "video/x-msvideo": "avi",
    "video/x-ms-wmv": "wmv",
    "video/x-ms-asf": "asf",
    "video/3gpp": "3gp 3gpp",
    "video/3gpp2": "3g2",
    "video/ogg": "ogv",
    "video/h264": "h264 264 avc",
    "video/h265": "h265 265 hevc",
    "video/x-dav": "dav",  # Dahua's; no type of it is registered
    "image/jpeg": "jpg jpeg jpe jfif thm insp",
    "image/png": "png",
    "image/gif": "gif",
    "image/webp": "webp",
    "image/bmp": "bmp",
    "image/tiff": "tif tiff",
    "image/heic": "heic",
    "image/heif": "heif",
    "image/avif": "avif",
    "image/x-adobe-dng": "dng",
    "audio/mpeg": "mp3",
    "audio/mp4": "m4a",
    "audio/aac": "aac",
    "audio/wav": "wav",
    "audio/flac": "flac",
    "audio/ogg": "ogg oga opus",
    "audio/amr": "amr",
}
"""By the last part of a name. Our own: the host's /etc/mime.types is another on each host, and calls .ts a translation.

What browsers execute or show as a page (HTML, SVG, XML, PDF, scripts) is not here, and so a plain download.
"""
_TYPE_OF = {ending: kind for kind, endings in _TYPES.items() for ending in endings.split()}
_PLAIN = "application/octet-stream"


def media_type(name: str) -> str:
    """Return the media type of a file by its name."""
    return _TYPE_OF.get(name.rpartition(".")[2].lower(), _PLAIN) if "." in name else _PLAIN


def disposition(name: str, *, inline: bool = False) -> str:
    """Return the Content-Disposition that saves a file under its name, or, `inline`, has it played.

    With both forms of it (RFC 6266, appendix D): curl and old download managers read the plain one alone.
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "replace").decode()
    plain = _UNSAFE.sub("_", plain).strip(" ")
    plain = f"_{plain[1:]}" if plain.startswith((".", "-")) else plain
    how = "inline" if inline else "attachment"
    return f"{how}; filename=\"{plain or '_'}\"; filename*=UTF-8''{quote(name, safe='')}"
