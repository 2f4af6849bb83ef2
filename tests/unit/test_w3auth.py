"""The account of a seed, and the token of Crust's W3Auth services that is made from it."""

from base64 import b64decode

import pytest
from pydantic import SecretStr
from substrateinterface import Keypair

from roadvault_common.errors import SettingsError
from roadvault_common.web.w3auth import keypair, token

PHRASE = "bottom drive obey lake curtain smoke basket hold race lonely fit walk"
HEX_SEED = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"


@pytest.mark.parametrize("seed", ["//Alice", PHRASE, HEX_SEED])
def test_the_token_is_the_address_and_its_signature_by_the_account(seed: str) -> None:
    bearer = token(SecretStr(seed))
    prefix, _, rest = b64decode(bearer.get_secret_value()).decode().partition("-")
    address, _, signature = rest.partition(":")
    assert prefix == "sub"
    assert Keypair(ss58_address=address, ss58_format=66).verify(address.encode(), signature)
    assert seed not in b64decode(bearer.get_secret_value()).decode()
    assert address not in repr(bearer)


def test_a_phrase_and_its_hex_seed_are_one_account() -> None:
    mini_secret = Keypair.create_from_mnemonic(PHRASE).seed_hex.hex()
    addresses = {keypair(SecretStr(seed)).ss58_address for seed in (PHRASE, mini_secret, f"0x{mini_secret}")}
    assert len(addresses) == 1
    assert addresses != {keypair(SecretStr(f"{PHRASE}//road")).ss58_address}


@pytest.mark.parametrize("seed", [f"{PHRASE} extra", f"{HEX_SEED}ff", f"{PHRASE}///a password", "0x", " ", ""])
def test_a_seed_that_is_none_is_refused_and_not_quoted(seed: str) -> None:
    with pytest.raises(SettingsError, match="neither a phrase, a hex seed nor a //Derivation") as caught:
        keypair(SecretStr(seed))
    for word in ("obey", HEX_SEED[:20], "a password"):
        assert word not in str(caught.value)
