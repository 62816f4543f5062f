"""Run many commands: in local processes, or on a Ray cluster. Every job is an ordinary run in a folder of its own."""

from gli.jobs.choose import make_executor
from gli.jobs.executor import Executor, Resources

__all__ = ["Executor", "Resources", "make_executor"]
