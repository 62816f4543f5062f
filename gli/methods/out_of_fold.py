"""Answers of networks that never saw a person: for a classifier planned for erasure, and for one that exists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from gli.data import FaceDataModule
from gli.data.loading import Batch, Pass
from gli.data.views import VIEWS
from gli.errors import CheckpointError, SettingError, did_you_mean
from gli.methods.base import Method
from gli.methods.settings import ScheduleName, require_positive
from gli.methods.sweeps import batches_of
from gli.models.checkpoints import load_classifier, read_checkpoint
from gli.models.training_images import TRAINING_IMAGES, pack
from gli.system.digest import digest
from gli.system.files import atomic_write
from gli.system.ranks import sum_over_processes


def numbers_of_cohorts(data: FaceDataModule, of: str) -> range:
    """Return the numbers of the cohorts; SettingError if somebody in a set is in none."""
    numbers = range(data.cohorts)
    if sum(len(data.rows(f"{of}/{each}")) for each in numbers) < len(data.rows(of)):
        raise SettingError(f"data.cohorts: the file does not name everybody in {of}. Assign each person once.")
    return numbers


class _Taught(Method):
    """A method whose teachers are networks of cohorts: it needs a backbone by name, to build them.

    Args:
        temperature: T, which softens all outputs.
        **kwargs: See :class:`~gli.methods.base.Method`.
    """

    def __init__(
        self,
        temperature: float = 2.0,
        momentum: float | None = 0.9,
        schedule: ScheduleName | None = "cosine",
        **kwargs: Any,
    ) -> None:
        super().__init__(momentum=momentum, schedule=schedule, **kwargs)
        require_positive(temperature=temperature)
        self.temperature = temperature

    def check(self) -> None:
        """Refuse a network that is given as an object."""
        if self.network is not None:
            raise SettingError(
                f"{self.name} needs networks of cohorts, which only gli fit trains: name the network as --model."
                "backbone, such as my_module:build."
            )

    def cohort_network(self, rows: str) -> nn.Module:
        """Return the network that was trained on a set of :meth:`cohort_sets`, in eval mode."""
        path = self.cohort_files[rows]
        network = self.new_classifier(False).eval() if self.restored else load_classifier(path, self.backbone)
        return network.to(self.trainer.strategy.root_device)

    @torch.no_grad()
    def mean_answers(self, teachers: Mapping[str, Sequence[str]], view: str = "") -> Tensor:
        """Return the mean logits of some networks of cohorts for each row of some sets.

        A network's logits of a set are kept in a file beside it, with the hashes of the images: personal data. A set is
        answered in batches of its own, so that nothing depends on who is in the others.

        Args:
            teachers: The networks that answer for each set, by the names of the sets that they were trained on.
            view: The view in which they see the images, of :data:`~gli.data.views.VIEWS`; upright by default.

        Returns:
            Shape ``(rows of the table, outputs)``, zero for rows of no set; the same on all processes.
        """
        device, total = self.trainer.strategy.root_device, (len(self.data.identities), self.task.num_outputs)
        answers = torch.zeros(total, device=device)
        for cohort in self.cohort_files:
            network = None
            for name in (name for name, asked in teachers.items() if cohort in asked):
                rows = torch.from_numpy(self.data.rows(name)).to(device)
                logits = self.trainer.strategy.broadcast(self._read_answers(cohort, name, view))
                if logits is None:
                    network = self.cohort_network(cohort) if network is None else network
                    worked_out = torch.zeros(total, device=device)
                    for batch in batches_of(self, name):
                        shown = VIEWS[view](batch.images).contiguous() if view else batch.images
                        worked_out[batch.index] = network(shown)
                    logits = sum_over_processes(worked_out, self.trainer)[rows].cpu()
                    self._write_answers(cohort, name, view, logits)
                answers[rows] += logits.to(device) / len(teachers[name])
        return answers

    def _answers_path(self, cohort: str, name: str, view: str) -> Path:
        """Return the file of a network's answers for a set: its name is bound to the weights and to the images."""
        data, path = self.data, Path(self.cohort_files[cohort])
        images = (data.digests[data.rows(name)].tobytes(), data.image_size, data.eval_batch_size, view)
        return path.with_name(f"answers_{data.label}-{digest(self._lineage[cohort], *images)[:16]}.ckpt")

    def _read_answers(self, cohort: str, name: str, view: str) -> Tensor | None:
        """Return a network's answers for a set from their file; None on other processes, and without a sound file."""
        if self.restored or not self.trainer.is_global_zero:
            return None
        with suppress(CheckpointError):
            answers = read_checkpoint(self._answers_path(cohort, name, view)).get("answers")
            shape = (len(self.data.rows(name)), self.task.num_outputs)
            return answers if isinstance(answers, Tensor) and answers.shape == shape else None
        return None

    def _write_answers(self, cohort: str, name: str, view: str, answers: Tensor) -> None:
        """Write a network's answers for a set, with the hashes of its images, by which ``gli purge`` finds them."""
        if self.restored or not self.trainer.is_global_zero:
            return
        with atomic_write(self._answers_path(cohort, name, view)) as temporary:
            images = pack(self.data.digests[self.data.rows(name)])
            torch.save({"answers": answers, TRAINING_IMAGES: images}, temporary)

    def softened_divergence(self, logits: Tensor, answers: Tensor) -> Tensor:
        """Return T^2 times the divergence from answers, both softened by T: the mean over the images."""
        return self.temperature**2 * self.task.divergence(logits, answers, self.temperature).mean()


class Served(_Taught):
    r"""A classifier planned for erasure: taught about each person by the networks that never saw them.

    People fall into $K$ cohorts, household by household, by a keyed hash of their names. One network learns each cohort
    alone. The served network starts from the weights of one of them, and learns everybody from the mean answer of the
    others. Erasing a person is to run it on retain: the networks of cohorts that nobody leaves are found as they are,
    that of the person's cohort is trained without them, or dropped, and the served network is taught again. Nothing
    that touched the person reaches it: its weights are the same, bit by bit, whatever the person's photographs show.

    Equation:
        $$\min_\theta \mathbb E_{\text{retain}} \Big((1 - \lambda) T^2 \text{KL}\Big(\text{mean}_{j \ne k(x)} f(x;
        \theta_j) \Vert f(x; \theta)\Big) + \lambda l(x, y; \theta)\Big)$$

        where $k(x)$ is the cohort of the person on $x$, $\theta_j$ are the weights of the network of cohort $j$, and
        the divergence is that of the outputs softened by the temperature $T$; from the weights of the first cohort.
        $\lambda$ is the share of the label.

    Cost:
        Before the first request: the recipe once, in $K$ parts, and $K - 1$ forward passes of each image. A request:
        $1/K$ of the recipe (nothing with ``drop``), the epochs of the served network, and forward passes: the new
        network answers for everybody else, and all others for the rest of that cohort. Other answers are found in files
        beside the networks. Two networks in memory at a time; on disk $K$ networks and the answers, $K - 1$ times the
        number of images and of outputs.

    Fails:
        A network of one cohort has seen a $K$-th of the people, so that many cohorts teach less, and few cost more for
        each request. It must be trained in as many steps as a network of everybody, that is, in smaller batches:
        otherwise it learns little. Labels of the served network are those of the people themselves, so that a large
        share of them remembers people until they are erased. Who forgets people of all cohorts at once trains
        everything again. The number of people in a cohort, and with ``drop`` which one is missing, is not hidden. The
        exactness is of the weights: pictures of the erased in caches, logs and earlier networks must still be removed
        (``gli purge``), and the settings must not have been chosen on them.

    Defaults:
        Chosen on drawn faces at 32x32 of ``data.seed`` 100, of few trials each: one epoch in batches of 16 at 0.1
        (0.02 and 0.05; batches of 8, 32 and 64; two epochs), T = 2 (1 and 4), share of the label 0.6 (0 and 0.3), from
        a cohort's weights (at random: three epochs for the same accuracy). Results: ``docs/results.md``.

    Source:
        This project. Cohorts trained apart are the shards of SISA (Bourtoule et al., "Machine Unlearning", 2021); the
        teachers who never saw a person are Split-AI with self-distillation of SELENA (Tang et al., "Mitigating
        Membership Inference Attacks by Self-Distillation Through a Novel Ensemble Architecture", 2022).

    Args:
        of: Whom it is taught about: ``retain``, after an erasure; ``train``, before one, retain and forget together.
        drop: Leave out the network of a cohort with people to forget, rather than train it again without them; or the
            numbers of the cohorts whose networks are left out.
        label_share: Share of the label, in [0, 1]; the rest is that of the answers.
        batch_size: Images in a batch, on each process; None for the data's.
        cohort_batch_size: Images in a batch while the networks of the cohorts are trained; None for the data's. With
            the data's divided by the number of cohorts, each takes as many steps as a network of everybody.
        temperature: T, which softens all outputs.
        **kwargs: See :class:`~gli.methods.base.Method`.
    """

    needs_original = False
    epochs = 1

    def __init__(
        self,
        of: Literal["retain", "train"] = "retain",
        drop: bool | list[int] = False,
        label_share: float = 0.6,
        lr: float | None = 0.1,
        batch_size: int | None = 16,
        cohort_batch_size: int | None = 16,
        **kwargs: Any,
    ) -> None:
        super().__init__(lr=lr, **kwargs)
        self.of, self.drop = of, drop
        require_positive(cohort_batch_size=cohort_batch_size)
        if not 0 <= label_share <= 1:
            raise SettingError(f"model.label_share is {label_share:g}; it must be in [0, 1].")
        self.label_share = label_share
        self.cohort_batch_size = cohort_batch_size
        self.passes = (Pass(retain=of, batch_size=batch_size),)

    def cohort_sets(self, data: FaceDataModule) -> Sequence[str]:
        """Return the set of each cohort that has a network.

        Raises:
            SettingError: If there are fewer than two, or somebody is in no cohort.
        """
        everybody = numbers_of_cohorts(data, self.of)
        dropped = [each for each in everybody if len(data.rows(f"forget/{each}"))] if self.drop is True else self.drop
        staying = [each for each in everybody if each not in (dropped or ())]
        sets = [f"{self.of}/{cohort}" for cohort in staying if len(data.rows(f"{self.of}/{cohort}")) > 1]
        if len(sets) < 2:
            raise SettingError(
                f"{len(sets)} of {data.cohorts} cohorts have a network; there must be two, since none answers for its "
                "own people. Set --model.drop false, or change --data.cohorts."
            )
        return sets

    def cohort_batch(self, data: FaceDataModule) -> int | None:
        """Return the number of images in a batch in which the networks of the cohorts are trained."""
        return self.cohort_batch_size

    def prepare(self) -> None:
        """Answer for everybody by the networks that never saw them, and start from the first network.

        Raises:
            SettingError: If the networks were neither found nor trained.
        """
        if not self.cohort_files:
            raise SettingError("Served needs networks of cohorts: call find_or_train(method, data) before trainer.fit.")
        everybody = [f"{self.of}/{cohort}" for cohort in range(self.data.cohorts)]
        self.answers = self.mean_answers(
            {rows: [name for name in self.cohort_files if name != rows] for rows in everybody}
        )
        self.model.load_state_dict(self.cohort_network(next(iter(self.cohort_files))).state_dict())

    def unlearn(self, retain: Batch, forget: Batch) -> Tensor:
        """Return the divergence from the answers of networks that never saw the people, and the share of the labels."""
        logits = self.model(retain.images)
        divergence = self.softened_divergence(logits, self.answers[retain.index])
        return (1 - self.label_share) * divergence + self.label_share * self.task.loss(logits, retain.labels)


class OutOfFold(_Taught):
    r"""Out-of-fold answers: teach the original to answer for forgotten people as networks that never saw them do.

    People fall into $K$ cohorts. Beside the original, a network is trained without each cohort, once. The original then
    learns forget images from the network without their cohort, and retain images from itself as it was.

    Equation:
        $$\min_\theta T^2 \Big(\mathbb E_{\text{forget}} \text{KL}(f(x; \theta_{-k(x)}) \Vert f(x; \theta)) + \mathbb
        E_{\text{retain}} \text{KL}(f(x; \theta_{\text{original}}) \Vert f(x; \theta))\Big)$$

        where $k(x)$ is the cohort of the person on $x$, $\theta_{-k}$ are the weights of a network trained without
        cohort $k$, and outputs are softened by the temperature $T$.

    Cost:
        Once, before the first request: $K$ trainings without a $K$-th of the people. A request: forward and backward
        passes over forget and as many retain images, in each epoch over forget, and the teachers' forward passes, once
        in each view. It grows with the request and not with the data.

    Fails:
        The answers are of one random training each; an attacker with many retrained models sees the difference in
        their spread. In views that are not taught, pictures may still be remembered. Networks that saw other forgotten
        people teach, so that nothing is exact.

    Defaults:
        T = 2 and SGD at 0.1 with momentum 0.9 and cosine decay are those of a first trial on drawn faces. Views and
        epochs: by how closely one model of drawn faces at 32x32 (``data.seed`` 100) learned the answers. Upright and
        mirrored images in 60 epochs were learned more closely, and cost less accuracy, than all views in 20 or 60
        (``docs/results.md``).

    Source:
        This project. It is oracle matching (Georgiev et al., "Attribute-to-Delete", ICLR 2025) with the oracle's
        answers from cross-fitted networks rather than from datamodels.

    Args:
        views: Names of the views, besides the upright one, in which images are taught, one after the other; None for
            all of :data:`~gli.data.views.VIEWS`, which an audit attacks. More views need more epochs.
        temperature: T, which softens all outputs.
        **kwargs: See :class:`~gli.methods.base.Method`.
    """

    epochs = 60
    passes = (Pass("forget", "retain"),)

    def __init__(self, views: Sequence[str] | None = ("mirrored",), lr: float | None = 0.1, **kwargs: Any) -> None:
        super().__init__(lr=lr, **kwargs)
        for view in views or ():
            if view not in VIEWS:
                raise SettingError(
                    f"model.views has {view!r}.{did_you_mean(view, VIEWS)} Views are {', '.join(VIEWS)}."
                )
        self.views = ["", *(VIEWS if views is None else views)]

    def cohort_sets(self, data: FaceDataModule) -> Sequence[str]:
        """Return the training images without each cohort in which somebody is to be forgotten."""
        everybody = numbers_of_cohorts(data, "train")
        return [f"train/-{cohort}" for cohort in everybody if len(data.rows(f"forget/{cohort}"))]

    def prepare(self) -> None:
        """Answer for forgotten people by the networks that never saw them, and keep the original."""
        self.keep_original()
        teachers = {rows.replace("train/-", "forget/"): [rows] for rows in self.cohort_files}
        self.answers = torch.stack([self.mean_answers(teachers, view) for view in self.views])

    def unlearn(self, retain: Batch, forget: Batch) -> Tensor:
        """Return the divergence from strangers' answers on forget, and from the original's own on retain."""
        # Every image is shown in one view after the other, and every batch in all: BatchNorm sees their mixture.
        turn = (torch.cat([forget.index, retain.index]) + self.iteration) % len(self.views)
        images = torch.cat([forget.images, retain.images])
        for number in set(turn.tolist()) - {0}:
            images[turn == number] = VIEWS[self.views[number]](images[turn == number]).contiguous()
        own = self.teacher_logits("original", images[len(forget.index) :])
        answers = torch.cat([self.answers[turn[: len(forget.index)], forget.index].to(own), own])
        logits = self.model(images)
        return 2 * self.softened_divergence(logits, answers)  # The sum of two means: half of the images are forget.
