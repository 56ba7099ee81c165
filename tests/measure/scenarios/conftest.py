from __future__ import annotations

import pytest

from tests.measure.scenarios.small import small_data


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return small_data(tmp_path_factory.mktemp("digits"))
