"""tuspy as its documentation shows it. Arguments: what to do (whole, part, resume), the URL, the file, its name.

Prints the upload's URL.
"""

import sys

from tusclient.client import TusClient

what, url, path, name = sys.argv[1:]
client = TusClient(url)
uploader = client.uploader(
    path,
    chunk_size=256 * 1024 if what == "part" else 10_000_000,
    metadata={"filename": name},
    url=url if what == "resume" else None,
    retries=200,
    retry_delay=0.02,
    upload_checksum=what == "resume",
)
if what == "part":
    uploader.upload_chunk()  # type: ignore[no-untyped-call]
else:
    uploader.upload()
sys.stdout.write(f"{uploader.url}\n")
