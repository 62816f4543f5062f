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
    # What messages and the README name: installed outside the package, below the environment's own folder.
    data_files=[("share/doc/gli", ["docs/scores.md", "completions/gli.sh"])],
    include_package_data=False,
)
