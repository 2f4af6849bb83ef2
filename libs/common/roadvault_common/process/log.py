"""Structured logs: one line for each event, as JSON or for the console, with the row's ids bound to it.

Libraries use the standard logging; what they say comes in the same form. What a client did wrong is one line without a
traceback: a traceback is a defect of ours.
"""

import logging
import re
import sys
import threading
from types import TracebackType

import structlog
from aiohttp.http_exceptions import HttpProcessingError, InvalidURLError
from aiohttp.web_protocol import PayloadAccessError, RequestPayloadError
from structlog.typing import EventDict, Processor, WrappedLogger

from roadvault_common import build
from roadvault_common.errors import brief
from roadvault_common.plain import plain, plain_lines
from roadvault_common.settings.config import ServiceSettings
from roadvault_common.tracing import spans

_NO_DEFECTS = (ConnectionError, TimeoutError, HttpProcessingError, RequestPayloadError, PayloadAccessError)
"""What the other side of a connection does to us."""
_QUOTED = re.compile("[:\n]")
"""Ends aiohttp's own words, and begins what it quotes of a request."""
_TALKS_TO_CLIENTS = "aiohttp.server"


def configure(service: str, settings: ServiceSettings) -> None:
    """Set up what the process tells: logs, of which every line names the service; which build it is; its traces."""
    build.show(service)
    spans.begin(service, build.VERSION, settings.otlp_url)
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]

    def name_service(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        event["service"] = service  # not a context variable: threads say something, too
        return event

    common: list[Processor] = [
        *([spans.mark] if spans.on() else []),
        structlog.contextvars.merge_contextvars,
        name_service,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    form: list[Processor] = [structlog.processors.format_exc_info, *_renderers(settings)]
    structlog.configure(
        processors=[*common, *form],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(lambda record: _told_in_one_line(record).levelno >= level)
    meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    foreign: list[Processor] = [structlog.stdlib.add_logger_name, *common]
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processors=[meta, *form], foreign_pre_chain=foreign))
    logging.basicConfig(handlers=[handler], level=max(level, logging.WARNING), force=True)
    logging.captureWarnings(capture=True)
    sys.excepthook = _uncaught
    sys.unraisablehook = lambda end: _uncaught(end.exc_type, end.exc_value, end.exc_traceback)
    threading.excepthook = lambda end: _uncaught(end.exc_type, end.exc_value, end.exc_traceback)


def _renderers(settings: ServiceSettings) -> list[Processor]:
    if settings.log_format == "json":
        # All but ASCII is escaped: nothing in a line can steer a terminal, and nothing is lost.
        return [structlog.processors.JSONRenderer()]
    # Plain tracebacks: the richer ones print local variables, and with them secrets.
    told = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)
    return [_fit_for_terminals, told]


def _fit_for_terminals(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Make texts plain; all else is shown by its repr(), which is."""
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = plain_lines(value) if key == "exception" else plain(value)
    return event


def _told_in_one_line(record: logging.LogRecord) -> logging.LogRecord:
    """Fold what a library says; keep the traceback only of what may be a defect of ours."""
    record.msg, record.args = " ".join(record.getMessage().split()), ()
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, _NO_DEFECTS):
        record.msg = f"{record.msg}: {_said(error)}"
        record.exc_info = None
        if record.name == _TALKS_TO_CLIENTS:
            record.levelno, record.levelname = logging.INFO, logging.getLevelName(logging.INFO)
    return record


def _said(error: BaseException) -> str:
    """Return what was wrong, without what a client sent, which may hold a secret: aiohttp quotes it."""
    if isinstance(error, HttpProcessingError) and not isinstance(error, InvalidURLError):
        return f"{type(error).__name__}: {_QUOTED.split(error.message)[0]}"
    return brief(error) if isinstance(error, OSError) else type(error).__name__


def _uncaught(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    if error is None or issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error or kind(), trace)
        return
    structlog.get_logger().critical("uncaught", exc_info=(kind, error, trace))
