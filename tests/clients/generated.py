"""What a stranger writes with a client that was generated of the document: its arguments are URLs of API and link."""

import sys
from io import BytesIO

from stranger import Client
from stranger.api.ask import custody, file, list_files
from stranger.api.link import link
from stranger.api.request import batch, cancel_batch, down_file, down_files
from stranger.api.upload import put_upload, upload
from stranger.models import DownFileBody, DownFilesBody, UploadBody
from stranger.types import File

api = Client(base_url=sys.argv[1])
door, _, token = sys.argv[2].partition("/d/")
content = File(payload=BytesIO(b"as filmed"), file_name="a.mp4", mime_type="video/mp4")
taken = upload.sync(client=api, body=UploadBody(file=content, filename="gate 7.mp4", camera="gate-7"))
number = taken.result.file_id
told = file.sync(number, client=api).result
assert (told.filename, told.size, told.camera, told.archive) == ("gate 7.mp4", 9, "gate-7", None)
assert told.state == "waiting in an open folder"
more = File(payload=BytesIO(b"more"))
second = put_upload.sync("b 2.mp4", client=api, body=more, camera="gate-7", idempotency_key="once").result.file_id
listed = list_files.sync(client=api, camera="gate-7").result.files
assert [one.file_id for one in listed] == [second, number]
wanted = DownFileBody(file_id=number, cb_url="http://client.example/done")
assert down_file.sync(client=api, body=wanted).result == "ok"
assert file.sync(number, client=api).result.requests[0].state == "requested"
many = DownFilesBody(cb_url="http://client.example/done", file_i_ds=[number, second])
asked = down_files.sync(client=api, body=many).result
assert asked.files == 2
assert batch.sync(asked.batch_id, client=api).result.files == 2
cancel_batch.sync(asked.batch_id, client=api)
assert custody.sync(number, client=api).result.lines[0].act == "received"
missing = file.sync(999, client=api)
assert (missing.code, missing.error) == (404, "not_found")
assert link.sync_detailed(token, client=Client(base_url=door)).content == b"from the archive"
