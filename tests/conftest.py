"""What every test can ask for; see `servers_session` and `servers_devnet`."""

pytest_plugins = ["servers_session", "servers_devnet"]
