"""Recovery by nothing but the chain's blocks: what an account ordered is found, whoever else orders, and whatever fails."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest
from servers_devnet import Devnet, left_behind
from servers_operator import Console
from servers_orderer import STRANGER
from servers_recovery import ARCHIVES, FILES, Archived

from roadvault_common.catalogue.records import ArchiveRecord
from roadvault_common.errors import PermanentError
from roadvault_common.ipfs.rpc import Ipfs, New
from roadvault_crust_orderer.markets.chain import Chain
from roadvault_operator.recover.chain import Blocks, Ordered, ordered
from roadvault_operator.recover.scanned import FILE
from roadvault_stack.kubo import Kubo
