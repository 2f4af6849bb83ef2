"""A client of RoadVault: upload, ask, wait, take callbacks, download. `Client` blocks, `AsyncClient` is awaited."""

from roadvault_client.callbacks import Callback, read_callback
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
from roadvault_client.receiver import Receiver, receive
from roadvault_client.states import Archive, File, Line, Request, Stage
from roadvault_client.uploads import Facts, Ticket, Uploaded

__all__ = [
    "Archive",
    "AsyncClient",
    "BadCallback",
    "Callback",
    "Client",
    "Conflict",
    "ConnectionFailed",
    "Facts",
    "File",
    "Forbidden",
    "Gone",
    "Line",
    "NeverReached",
    "NoRoom",
    "NotFound",
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
