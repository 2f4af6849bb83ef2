"""The devnet's own SCALE against the client's: what one writes, the other reads."""

import pytest
from scalecodec.base import RuntimeConfigurationObject, ScaleBytes
from scalecodec.type_registry import load_type_registry_preset
from substrateinterface.utils.ss58 import ss58_encode

from roadvault_devnet import accounts, extrinsic, files, metadata, rules, runtime_pallets, scale
from roadvault_devnet.accounts import Account
from roadvault_devnet.extrinsic import Era
from roadvault_devnet.files import FileInfo, Replica
from roadvault_devnet.rules import Generation, Rules
from roadvault_devnet.scale import Cursor, ScaleError

COMPACT = [0, 1, 63, 64, 16383, 16384, 2**30 - 1, 2**30, 2**32, 2**64 - 1, 2**64, 2**128 - 1]


@pytest.fixture(scope="module")
def registry() -> RuntimeConfigurationObject:
    made = RuntimeConfigurationObject(ss58_format=66)
    for name in ("core", "legacy", "crust"):
        made.update_type_registry(load_type_registry_preset(name))
    return made


def described(generation: Generation, *, memo: bool = True) -> Rules:
    return Rules(generation, memo, 1000, 6, 2, 1, 60)


@pytest.mark.parametrize("value", COMPACT)
def test_compact_numbers(registry: RuntimeConfigurationObject, value: int) -> None:
    encoded = scale.compact(value)
    assert bytes(registry.create_scale_object("Compact<u128>").encode(value).data) == encoded
    cursor = Cursor(encoded)
    assert cursor.compact() == value
    cursor.finish()


def test_bytes_that_end_too_early_or_too_late() -> None:
    with pytest.raises(ScaleError, match="4 bytes wanted"):
        Cursor(b"\1\2\3").unsigned(4)
    with pytest.raises(ScaleError, match="1 bytes too many"):
        Cursor(b"\0").finish()


@pytest.mark.parametrize("generation", list(Generation))
def test_files(registry: RuntimeConfigurationObject, generation: Generation) -> None:
    replicas = [Replica(bytes([7 - number]) * 32, 10 + number, b"anchor", 9) for number in range(3)]
    info = FileInfo(5_000_000, 12, 97_200, 1 if generation is Generation.V2 else 0, 0, 1012, 0, 3, replicas)
    encoded = info.encode(generation)
    read = registry.create_scale_object(generation.files_type, data=ScaleBytes(encoded)).decode()
    assert (read["file_size"], read["expired_at"], read["amount"]) == (5_000_000, 1012, 97_200)
    assert len(read["replicas"]) == read["reported_replica_count"] == 3
    again = files.decode(encoded, generation)
    assert again.encode(generation) == encoded
    assert files.expired_at(encoded) == 1012


def test_accounts(registry: RuntimeConfigurationObject) -> None:
    encoded = Account(nonce=7, free=10**18).encode()
    read = registry.create_scale_object("AccountInfo", data=ScaleBytes(encoded)).decode()
    assert (read["nonce"], read["providers"], read["data"]["free"]) == (7, 1, 10**18)
    assert accounts.read(lambda _key: encoded, bytes(32)) == Account(7, 10**18)


@pytest.mark.parametrize("period", [4, 64, 4096, 65536])
@pytest.mark.parametrize("current", [1, 63, 64, 5000, 123_456])
def test_eras(registry: RuntimeConfigurationObject, period: int, current: int) -> None:
    era = registry.create_scale_object("Era")
    encoded = bytes(era.encode({"period": period, "current": current}).data)
    known = Era(encoded, era.period, era.phase)
    for height in (current, current + 1, current + period - 1, current + period):
        assert known.birth(height) == era.birth(height)


@pytest.mark.parametrize("raw", [b"", b"\0", b"\4\4", scale.byte_string(b"\x84" + bytes(31)), b"\xff" * 200])
def test_what_is_no_extrinsic(raw: bytes) -> None:
    with pytest.raises(ScaleError):
        extrinsic.decode(raw)


@pytest.mark.parametrize("generation", list(Generation))
@pytest.mark.parametrize("memo", [True, False])
def test_metadata(registry: RuntimeConfigurationObject, generation: Generation, *, memo: bool) -> None:
    pallets = runtime_pallets.describe(described(generation, memo=memo))
    data = ScaleBytes(metadata.encode(pallets))
    read = registry.create_scale_object("MetadataVersioned", data=data)
    read.decode()
    market = read.get_metadata_pallet("Market")
    order = next(call for call in market.calls if call.name == "place_storage_order")
    names = ["cid", "reported_file_size", "tips", "_memo"]
    assert [argument.name for argument in order.args] == names[: 4 if memo else 3]
    assert market.get_storage_function(generation.files_item) is not None
    module, error = pallets.error("Market", "FileTooLarge")
    assert read.get_module_error(module, error).name == "FileTooLarge"


def test_addresses_are_those_of_crust() -> None:
    alice = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"
    key = accounts.public_key_of(alice)
    address = ss58_encode(key, ss58_format=rules.SS58_FORMAT)
    assert address.startswith("cT")
    assert accounts.public_key_of(address) == key
    assert rules.SS58_FORMAT == 66
