"""Packages of the distribution, with the configurations as ``gli/configs``. All other metadata is in pyproject.toml."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["gli", "gli.*"]), "gli.configs"],
    package_dir={"gli.configs": "configs"},
    package_data={
        "gli": ["py.typed"],
        "gli.reporting": ["*.css", "*.j2", "*.js"],
        "gli.configs": ["*.yaml", "*/*.yaml"],
    },
    include_package_data=False,
)
