"""Runs of any number of paths: part by part, in any process, on any machine, in bounded memory."""

from parfait.streaming.job import Job, part_seed
from parfait.streaming.merge import finish
from parfait.streaming.work import stream

__all__ = ["Job", "finish", "part_seed", "stream"]
