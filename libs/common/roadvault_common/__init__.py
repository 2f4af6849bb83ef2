"""RoadVault: common."""

import sys

if not {"redis", "opentelemetry"} & sys.modules.keys():
    # redis-py imports OpenTelemetry's metrics wherever they are installed: each process would pay for them.
    sys.modules["opentelemetry"] = None  # type: ignore[assignment]
    import redis.asyncio  # noqa: F401 - it is what this is about

    del sys.modules["opentelemetry"]
