"""Which distribution installed a package: as Python's own, slower, table says."""

import importlib.metadata

from bench.registry.code import owners_of


def test_every_package_here_has_the_owners_that_python_names() -> None:
    for package, owners in importlib.metadata.packages_distributions().items():
        if package.isidentifier():
            assert owners_of(package) == tuple(sorted(set(owners))), package


def test_a_package_of_nobody_has_none() -> None:
    assert owners_of("no_such_package") == ()
