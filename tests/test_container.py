"""The container's recipe takes the steps of the Makefile, and copies nothing personal."""

from __future__ import annotations

import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
TARGETS = set(re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1].split())


def test_every_step_is_a_target_of_make():
    steps = re.findall(r"\bmake ([a-z-]+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    container = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text())
    steps += [container["postCreateCommand"].removeprefix("make ")]
    assert steps == ["install", "install"]
    assert set(steps) <= TARGETS


def test_the_development_container_is_a_stage_of_the_same_file():
    text = (ROOT / "Dockerfile").read_text()
    build = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text())["build"]
    assert (ROOT / ".devcontainer" / build["dockerfile"]).resolve() == ROOT / "Dockerfile"
    assert f"AS {build['target']}" in text
    default = re.search(r"^ARG BASE=(\S+)$", text, re.MULTILINE)[1]
    assert build["args"] == {"BASE": f"${{localEnv:GLI_BASE:{default}}}"}


def test_what_git_ignores_is_not_copied():
    ignored = {line.strip("/") for line in (ROOT / ".gitignore").read_text().split() if not line.startswith("*")}
    left_out = {line.removeprefix("**/") for line in (ROOT / ".dockerignore").read_text().splitlines()}
    assert {name for name in ignored if name not in left_out} == {"benchmarks/results.*"}
