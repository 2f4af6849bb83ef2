"""Markets: Crust, and services behind the Pinning Service API."""
