"""The page that takes files from people: a queue of resumable uploads; without scripts a form."""

from datetime import tzinfo

from aiohttp import web

from roadvault_common.files.facts import CAMERA_LENGTH, TAGS_BYTES
from roadvault_ingest.pages.files.filters import with_zone
from roadvault_ingest.pages.office import Office
from roadvault_ingest.pages.render import zone_of
from roadvault_ingest.pages.words.upload import QUEUE
from roadvault_ingest.posted import answer_form, take_form
from roadvault_ingest.tus import FILES
from roadvault_ingest.uploads.form import Form
from roadvault_ingest.uploads.receive import expect


def upload_routes(office: Office) -> list[web.RouteDef]:
    """Return the routes of the page."""
    page = UploadPage(office)
    return [web.get("/upload", page.show), web.post("/upload", page.take, expect_handler=expect)]


class UploadPage:
    """The queue, and its form."""

    def __init__(self, office: Office) -> None:
        self._office = office

    async def show(self, request: web.Request) -> web.Response:
        """Show the page."""
        lengths = {"camera_length": CAMERA_LENGTH, "tags_length": TAGS_BYTES}
        largest = self._office.settings.largest_upload
        return self._office.render(
            request, "upload/upload.html", endpoint=FILES, largest=largest, said=QUEUE, **lengths
        )

    async def take(self, request: web.Request) -> web.StreamResponse:
        """Take the file of a form, and lead to its page."""
        body, taken = await take_form(request, self._office.ingest, _of(zone_of(request)))
        response = web.Response(status=303, headers={"Location": f"/file/{taken.file_id}?notice=up_taken"})
        if body.taken_over:
            response.force_close()
        return await answer_form(request, response)


def _of(zone: tzinfo) -> type[Form]:
    """Return forms whose times are a reader's: the fields of browsers know no zone."""

    class Local(Form):
        def _end(self) -> None:
            super()._end()
            if self._part == "recordedAt" and self.fields.get("recordedAt"):
                self.fields["recordedAt"] = with_zone(self.fields["recordedAt"], zone)

    return Local
