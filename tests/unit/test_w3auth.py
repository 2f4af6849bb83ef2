"""The token of Crust's W3Auth services."""

from base64 import b64decode

from pydantic import SecretStr
from substrateinterface import Keypair

from roadvault_crust_orderer.w3auth import token


def test_the_token_is_the_address_and_its_signature_by_the_account() -> None:
    bearer = token(SecretStr("//Alice"))
    prefix, _, rest = b64decode(bearer.get_secret_value()).decode().partition("-")
    address, _, signature = rest.partition(":")
    assert prefix == "sub"
    assert Keypair(ss58_address=address, ss58_format=66).verify(address.encode(), signature)
    assert "Alice" not in b64decode(bearer.get_secret_value()).decode()
    assert address not in repr(bearer)
