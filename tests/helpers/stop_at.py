"""A callback that stops a run early without changing its planned length."""

import lightning as L


class StopAt(L.Callback):
    """Stop a run after an iteration."""

    def __init__(self, iteration: int) -> None:
        self.iteration = iteration

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        trainer.should_stop = trainer.should_stop or pl_module.iteration == self.iteration
