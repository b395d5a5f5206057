"""Addresses of mail as people write them."""

import email_validator
from pydantic import validate_email

# Names of one's own network (RFC 6762, RFC 8375), where a mail server may well serve them.
LOCAL = (".local", ".home.arpa")
# email_validator counts them among the names that reach nobody, and takes no exceptions: it is asked for this instead.
BELOW = ".lan"


def normalized(address: str) -> str:
    """Check an address and give its normal form; a name before `<…>` is dropped. Raises ValueError: it is none."""
    if not address.lower().endswith(LOCAL):
        return validate_email(address)[1]
    found = _local(address)
    return f"{found.local_part}@{found.domain.lower().removesuffix(BELOW)}"


def ascii_domain(address: str) -> str:
    """Give the domain in its ASCII form (IDNA 2008). Raises ValueError: it has none."""
    if address.lower().endswith(LOCAL):
        return _local(address).ascii_domain.removesuffix(BELOW)
    return email_validator.validate_email(address, check_deliverability=False, test_environment=True).ascii_domain


def _local(address: str) -> email_validator.ValidatedEmail:
    return email_validator.validate_email(address + BELOW, check_deliverability=False)
