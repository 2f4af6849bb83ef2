"""What every test can ask for; the fixtures stand in the modules `servers_*`."""

pytest_plugins = [
    "servers_session",
    "servers_devnet",
    "servers_ingest",
    "servers_orderer",
    "servers_services",
    "servers_faults",
    "servers_operator",
]
