"""The token of Crust's W3Auth services: proof that whoever asks holds an account's key."""

from base64 import b64encode

from pydantic import SecretStr

from roadvault_crust_orderer.markets.node import keypair


def token(seed: SecretStr) -> SecretStr:
    """Return base64 of `sub-<address>:<signature>`, the signature being the account's, in hex, of its own address.

    So Crust's W3Auth README has it (crustio/ipfs-w3auth-gateway).

    Raises:
        SettingsError: The seed is not one.
    """
    pair = keypair(seed)
    address = str(pair.ss58_address)
    signature = pair.sign(address.encode()).hex()
    return SecretStr(b64encode(f"sub-{address}:0x{signature}".encode()).decode())
