"""The OpenAPI document is true: against the routes, against answers to what a fuzzer sends, for a stranger's client."""

import asyncio
import json
import os
import re
import sys
from pathlib import Path

import jsonschema_rs
import schemathesis
from aiohttp import web
from clients_run import answer
from servers_door import LinkDoor
from servers_ingest import Door
from servers_openapi import operations
from servers_services import Services
from sites import site

from roadvault_ingest.handlers import api_routes
from roadvault_ingest.openapi.document import DOCUMENT
from roadvault_ingest.pages.views import page_routes
from roadvault_ingest.pages.words import LANGUAGES
from roadvault_ingest.problems import OTHERS, Problem, errors

TESTS = Path(__file__).parents[1]
_CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,"
    "response_schema_conformance,unsupported_method,allow_header_conformance,missing_required_header,use_after_free"
)


def test_the_document_is_one() -> None:
    schemathesis.openapi.from_dict(DOCUMENT).validate()
    for schema in DOCUMENT["components"]["schemas"].values():
        jsonschema_rs.validator_for({**schema, "components": DOCUMENT["components"]})


async def test_no_route_is_missing_and_none_is_too_many(door: Door) -> None:
    routes = [*api_routes(door.ingest), *page_routes(door.ingest, door.db)]
    table = web.UrlDispatcher()
    running = {
        (route.method, table.add_resource(route.path).canonical) for route in routes if route.path.startswith("/api")
    }
    assert {(method, path) for method, path in operations() if method != "HEAD"} == running - {
        ("GET", "/api")
    }  # each GET has it


def test_each_kind_of_problem_has_a_word_of_its_own() -> None:
    kinds = [Problem]
    for kind in kinds:
        kinds += kind.__subclasses__()
        assert "error" in vars(kind), kind
        assert re.fullmatch("[a-z_]+", kind.error)
    listed = errors()
    assert len(listed) == len(kinds) + len(OTHERS)
    assert DOCUMENT["components"]["schemas"]["Error"]["properties"]["error"]["enum"] == list(listed)


async def test_the_page_shows_each_operation_and_each_word(door: Door) -> None:
    async with site(page_routes(door.ingest, door.db)) as url:
        for language in LANGUAGES:
            async with door.http.get(f"{url}/api", headers={"Accept-Language": language}) as response:
                page = await response.text()
                assert response.status == 200
            for operation in operations().values():
                assert f'id="{operation["operationId"]}"' in page
            assert all(f"<code>{word}</code>" in page for word in errors())
            assert LANGUAGES[language]["api_upload"] in page
            assert ">None" not in page
            assert "`" not in page


async def test_a_fuzzer_finds_no_answer_that_the_document_does_not_have(services: Services, tmp_path: Path) -> None:
    ingest = services("ingest", requests_per_peer=10_000, requests_per_file=10_000)
    await ingest.start()
    config = str(TESTS / "fuzzer/schemathesis.toml")
    program = str(Path(sys.executable).with_name("schemathesis"))
    bounds = ["-n", "5", "--seed", "17", "--no-shrink", "--phases", "coverage,fuzzing", "--exclude-path-regex", "^/d/"]
    fuzzer = await asyncio.create_subprocess_exec(
        *(program, "--no-color", "--config-file", config, "run", f"{ingest.url}/api/openapi.json"),
        *("-c", _CHECKS, *bounds),
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await asyncio.wait_for(fuzzer.communicate(), 100)
    assert fuzzer.returncode == 0, out.decode()


async def test_a_client_that_is_generated_of_it_works(door: Door, link_door: LinkDoor, tmp_path: Path) -> None:
    (tmp_path / "openapi.json").write_text(json.dumps(DOCUMENT))
    (tmp_path / "how.yml").write_text(
        "post_hooks: []\npackage_name_override: stranger\n"
        "content_type_overrides: {application/offset+octet-stream: application/octet-stream}\n"
    )
    generator = str(Path(sys.prefix) / "clients/generator")
    generate = "-m openapi_python_client generate --path openapi.json --config how.yml --output-path made"
    out = await answer(
        ["env", f"PYTHONPATH={generator}", sys.executable], *generate.split(), "--fail-on-warning", cwd=tmp_path
    )
    assert "WARNING" not in out
    program = ["env", f"PYTHONPATH={tmp_path}/made", sys.executable, str(TESTS / "clients/generated.py")]
    await answer(program, door.url, await link_door.link(b"from the archive"))
