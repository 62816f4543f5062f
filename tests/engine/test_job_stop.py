"""A running job ends in an orderly way when it is asked to."""

from __future__ import annotations

from gli.callbacks import AuditTheEnd
from gli.engine import job as runner
from gli.runs.read import read_log
from tests.helpers.tiny import EVERY, a_run


def test_a_job_that_is_asked_to_end_writes_what_a_finished_run_writes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    spec = a_run(tmp_path / "job", *EVERY, "--trainer.max_steps=50", originals=tmp_path)
    spec.prepare()
    at_the_end = AuditTheEnd.on_train_batch_end

    def ask(callback, trainer, *others):
        if trainer.global_step == 3 and "original" not in str(trainer.log_dir):
            spec.stop()
        at_the_end(callback, trainer, *others)

    monkeypatch.setattr(AuditTheEnd, "on_train_batch_end", ask)
    assert runner.main(spec.folder) == 0
    assert spec.run is None
    assert spec.stopped_run is not None
    assert [row["iteration"] for row in read_log(spec.stopped_run)] in ([0, 1, 2, 3], [0, 1, 2, 3, 4])
    assert (spec.stopped_run / "cost.json").is_file()
    assert (spec.stopped_run / "checkpoints" / "last.ckpt").is_file()
    spec.prepare()
    assert spec.stopped_run is None
