"""Nothing that a test converts is reported to the makers of a runtime."""

import pytest

from fastsegformer_mm.deploy.telemetry import decline_telemetry


@pytest.fixture(autouse=True, scope='session')
def no_telemetry():
    decline_telemetry()
