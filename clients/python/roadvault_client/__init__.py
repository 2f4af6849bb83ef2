"""A client of RoadVault: upload, ask, wait, take callbacks, download. `Client` blocks, `AsyncClient` is awaited."""

from roadvault_client.callbacks import BatchEnded, Callback, read_callback
from roadvault_client.client import AsyncClient, Client, Options
from roadvault_client.core import Retries
from roadvault_client.errors import (
    BadCallback,
    Conflict,
    ConnectionFailed,
    Forbidden,
    Gone,
    NeverReached,
    NoRoom,
    NotFound,
    NotRoadVault,
    Refused,
    RoadVaultError,
    TookTooLong,
    TooLarge,
    TooMany,
    Unauthorized,
    Unavailable,
    WrongBytes,
    WrongHash,
)
from roadvault_client.lists import Filter
from roadvault_client.receiver import Receiver, receive
from roadvault_client.states import Archive, Batch, BatchBegun, BatchRequest, File, Line, Listed, Request, Stage
from roadvault_client.uploads import Facts, Ticket, Uploaded

__all__ = [
    "Archive",
    "AsyncClient",
    "BadCallback",
    "Batch",
    "BatchBegun",
    "BatchEnded",
    "BatchRequest",
    "Callback",
    "Client",
    "Conflict",
    "ConnectionFailed",
    "Facts",
    "File",
    "Filter",
    "Forbidden",
    "Gone",
    "Line",
    "Listed",
    "NeverReached",
    "NoRoom",
    "NotFound",
    "NotRoadVault",
    "Options",
    "Receiver",
    "Refused",
    "Request",
    "Retries",
    "RoadVaultError",
    "Stage",
    "Ticket",
    "TooLarge",
    "TooMany",
    "TookTooLong",
    "Unauthorized",
    "Unavailable",
    "Uploaded",
    "WrongBytes",
    "WrongHash",
    "read_callback",
    "receive",
]
