"""A running job ends in an orderly way when it is asked to."""

from __future__ import annotations

from gli.callbacks import AuditTheEnd
from gli.commands import job as runner
from gli.engine.job import Job
from gli.runs.read import read_log
from tests.helpers.tiny import EVERY, TINY


def test_a_job_that_is_asked_to_end_writes_what_a_finished_run_writes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ("fit", "--model=FineTune", *TINY, *EVERY, "--trainer.max_steps=50", f"--originals={tmp_path}")
    job = Job(
        "FineTune", "trial 1", tmp_path / "job", (*arguments, f"--trainer.default_root_dir={tmp_path}/job"), "key"
    )
    job.prepare()
    at_the_end = AuditTheEnd.on_train_batch_end

    def ask(callback, trainer, *others):
        if trainer.global_step == 3 and "original" not in str(trainer.log_dir):
            job.stop()
        at_the_end(callback, trainer, *others)

    monkeypatch.setattr(AuditTheEnd, "on_train_batch_end", ask)
    assert runner.main(job.folder) == 0
    assert job.run is None
    assert job.stopped_run is not None
    assert [row["iteration"] for row in read_log(job.stopped_run)] in ([0, 1, 2, 3], [0, 1, 2, 3, 4])
    assert (job.stopped_run / "cost.json").is_file()
    assert (job.stopped_run / "checkpoints" / "last.ckpt").is_file()
    job.prepare()
    assert job.stopped_run is None
