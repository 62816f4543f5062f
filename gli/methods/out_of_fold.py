"""Answers of networks that never saw a person: for a classifier planned for erasure, and for one that exists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from gli.data import FaceDataModule
from gli.data.loading import Batch, Pass
from gli.errors import SettingError
from gli.methods.base import Method
from gli.methods.settings import ScheduleName, require_positive
from gli.methods.sweeps import batches_of
from gli.models.checkpoints import load_classifier
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
    def mean_answers(self, teachers: Mapping[str, Sequence[nn.Module]]) -> Tensor:
        """Return the mean logits of some networks for each row of some sets, shape ``(rows of the table, outputs)``.

        Each set is answered in batches of its own, so that nothing depends on who is in the others. Rows of no set are
        zero; under several processes all get the same.
        """
        device = self.trainer.strategy.root_device
        answers = torch.zeros(len(self.data.identities), self.task.num_outputs, device=device)
        for name, networks in teachers.items():
            for batch in batches_of(self, name):
                answers[batch.index] = torch.stack([network(batch.images) for network in networks]).mean(dim=0)
        return sum_over_processes(answers, self.trainer)

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
        $$\min_\theta T^2 \mathbb E_{\text{retain}} \text{KL}\Big(\text{mean}_{j \ne k(x)} f(x; \theta_j) \Big\Vert
        f(x; \theta)\Big)$$

        where $k(x)$ is the cohort of the person on $x$, $\theta_j$ are the weights of the network of cohort $j$, and
        the divergence is that of the outputs softened by the temperature $T$; from the weights of the first cohort.

    Cost:
        Before the first request: the recipe once, in $K$ parts. A request: $1/K$ of the recipe (nothing with ``drop``),
        and the epochs of the served network, with $K - 1$ forward passes of each retain image. One more network in
        memory at a time than $K$; on disk $K$ networks.

    Fails:
        A network of one cohort has seen a $K$-th of the people, so that many cohorts teach less, and few cost more for
        each request. Who forgets people of all cohorts at once trains everything again. The number of people in a
        cohort, and with ``drop`` which one is missing, is not hidden. The exactness is of the weights: pictures of the
        erased in caches, logs and earlier networks must still be removed (``gli purge``), and the settings must not
        have been chosen on them.

    Defaults:
        Four cohorts (``data.cohorts``), two epochs, a temperature of 2: of a first trial on drawn faces, not searched.

    Source:
        This project. Cohorts trained apart are the shards of SISA (Bourtoule et al., "Machine Unlearning", 2021); the
        teachers who never saw a person are Split-AI with self-distillation of SELENA (Tang et al., "Mitigating
        Membership Inference Attacks by Self-Distillation Through a Novel Ensemble Architecture", 2022).

    Args:
        of: Whom it is taught about: ``retain``, after an erasure; ``train``, before one, retain and forget together.
        drop: Leave out the network of a cohort with people to forget, rather than train it again without them; or the
            numbers of the cohorts whose networks are left out.
        temperature: T, which softens all outputs.
        **kwargs: See :class:`~gli.methods.base.Method`.
    """

    needs_original = False
    epochs = 2

    def __init__(
        self,
        of: Literal["retain", "train"] = "retain",
        drop: bool | list[int] = False,
        lr: float | None = 0.05,
        **kwargs: Any,
    ) -> None:
        super().__init__(lr=lr, **kwargs)
        self.of, self.drop = of, drop
        self.passes = (Pass(retain=of),)

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

    def prepare(self) -> None:
        """Answer for everybody by the networks that never saw them, and start from the first network.

        Raises:
            SettingError: If the networks were neither found nor trained.
        """
        if not self.cohort_files:
            raise SettingError("Served needs networks of cohorts: call find_or_train(method, data) before trainer.fit.")
        networks = {rows: self.cohort_network(rows) for rows in self.cohort_files}
        everybody = [f"{self.of}/{cohort}" for cohort in range(self.data.cohorts)]
        self.answers = self.mean_answers(
            {rows: [network for name, network in networks.items() if name != rows] for rows in everybody}
        )
        self.model.load_state_dict(next(iter(networks.values())).state_dict())

    def unlearn(self, retain: Batch, forget: Batch) -> Tensor:
        """Return the divergence from the answers of networks that never saw the people of the batch."""
        return self.softened_divergence(self.model(retain.images), self.answers[retain.index])


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
        passes over forget and as many retain images, in each epoch over forget, and the teachers' forward passes. It
        grows with the request and not with the data.

    Fails:
        The answers are of one random training each; an attacker with many retrained models sees the difference in
        their spread. Pictures are taught as they are, or as the data's augmentation shows them: mirrored or turned,
        they may still be remembered. Networks that saw other forgotten people teach, so that nothing is exact.

    Defaults:
        Of a first trial on drawn faces (T = 2, SGD at 0.1 with momentum 0.9 and cosine decay, 120 steps, here 20
        epochs over forget), not searched.

    Source:
        This project. It is oracle matching (Georgiev et al., "Attribute-to-Delete", ICLR 2025) with the oracle's
        answers from cross-fitted networks rather than from datamodels.

    Args:
        temperature: T, which softens all outputs.
        **kwargs: See :class:`~gli.methods.base.Method`.
    """

    epochs = 20
    passes = (Pass("forget", "retain"),)

    def __init__(self, lr: float | None = 0.1, **kwargs: Any) -> None:
        super().__init__(lr=lr, **kwargs)

    def cohort_sets(self, data: FaceDataModule) -> Sequence[str]:
        """Return the training images without each cohort in which somebody is to be forgotten."""
        everybody = numbers_of_cohorts(data, "train")
        return [f"train/-{cohort}" for cohort in everybody if len(data.rows(f"forget/{cohort}"))]

    def prepare(self) -> None:
        """Answer for forgotten people by the networks that never saw them, and keep the original."""
        self.keep_original()
        self.answers = self.mean_answers(
            {rows.replace("train/-", "forget/"): [self.cohort_network(rows)] for rows in self.cohort_files}
        )

    def unlearn(self, retain: Batch, forget: Batch) -> Tensor:
        """Return the divergence from strangers' answers on forget, and from the original's own on retain."""
        logits = self.model(torch.cat([forget.images, retain.images]))
        own = self.teacher_logits("original", retain.images)
        answers = torch.cat([self.answers[forget.index].to(own), own])
        return 2 * self.softened_divergence(logits, answers)  # The sum of two means: half of the images are forget.
