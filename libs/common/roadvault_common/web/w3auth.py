"""A Crust account, by its seed; and the token of Crust's W3Auth services: proof that whoever asks holds its key."""

import re
from base64 import b64encode

from pydantic import SecretStr
from substrateinterface import Keypair

from roadvault_common.errors import SettingsError

SS58_PREFIX = 66
"""Crust's address type (its `system_properties`)."""
_HEX_SEED = re.compile(r"(0x)?[0-9a-fA-F]{64}")


def keypair(seed: SecretStr) -> Keypair:
    """Return the account of a seed phrase, hex seed or //Derivation; SettingsError without quoting it otherwise."""
    text = seed.get_secret_value()
    try:
        if _HEX_SEED.fullmatch(text):
            return Keypair.create_from_seed(text, ss58_format=SS58_PREFIX)
        return Keypair.create_from_uri(text, ss58_format=SS58_PREFIX)
    except (ValueError, AttributeError, NotImplementedError):
        # In turn: a phrase or hex that is none; a text that is no URI, whose match (None) it uses; a password after
        # ///. All are the text's fault, which is all that these calls get. The client's message may quote the phrase.
        raise SettingsError("the Crust account's seed is neither a phrase, a hex seed nor a //Derivation") from None


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
