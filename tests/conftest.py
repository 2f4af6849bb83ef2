"""What every test can ask for; see `servers_session` for the servers."""

pytest_plugins = ["servers_session"]
