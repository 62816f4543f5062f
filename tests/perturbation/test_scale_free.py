"""The scale-free direction: by hand, at any scale of the losses, and through the inner loop."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from gli.perturbation import perturb, scale_free
from gli.perturbation.scale_free import normalised


def test_gradients_are_normalised_for_each_image():
    first = torch.tensor([[[[3.0, 4.0]]], [[[0.0, 0.0]]]])
    assert torch.equal(normalised(first), torch.tensor([[[[0.6, 0.8]]], [[[0.0, 0.0]]]]))


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(64, 3)).double()


def moved(network: nn.Module, weight: float, class_scale: float = 1.0, distance_scale: float = 1.0, count: int = 4):
    """Images after two scale-free steps."""
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(4, 3, 6, 6, generator=generator, dtype=torch.float64)[:count]
    labels, goal = torch.tensor([0, 1, 2, 0])[:count], torch.tensor([[1.0, -1.0, 0.5]], dtype=torch.float64)

    def losses(logits, step):
        class_loss = class_scale * functional.cross_entropy(logits, labels)
        return [(weight, class_loss), (weight - 1, distance_scale * ((logits - goal) ** 2).mean())]

    return images, labels, goal, perturb(network, images, losses, steps=2, step_size=0.02, direction=scale_free)


def test_steps_are_those_written_out_image_by_image():
    network = model()
    images, labels, goal, result = moved(network, 0.4)
    for place in range(len(images)):
        eta = torch.zeros_like(images[place : place + 1])
        for _ in range(2):
            eta.requires_grad_(True)
            logits = network((images[place : place + 1] + eta).clamp(0, 1))
            class_loss = functional.cross_entropy(logits, labels[place : place + 1])
            (towards,) = torch.autograd.grad(class_loss, eta, retain_graph=True)
            (away,) = torch.autograd.grad(((logits - goal) ** 2).mean(), eta)
            direction = 0.4 * towards / towards.norm() - 0.6 * away / away.norm()
            eta = (eta - 0.02 * direction.sign()).detach()
        torch.testing.assert_close(result[place : place + 1], (images[place : place + 1] + eta).clamp(0, 1))


@pytest.mark.parametrize("scales", [(1e-4, 1.0), (1.0, 1e4), (30.0, 0.02)])
def test_the_scale_of_a_loss_and_the_size_of_the_batch_change_nothing(scales):
    network = model()
    result = moved(network, 0.4)[3]
    torch.testing.assert_close(moved(network, 0.4, *scales)[3], result)
    torch.testing.assert_close(moved(network, 0.4, count=2)[3], result[:2])
    assert not torch.equal(moved(network, 0.9)[3], result)


def test_weights_at_the_ends_leave_one_loss_alone():
    network = model()
    images, labels, goal, only_class = moved(network, 1.0)
    plain = perturb(network, images, lambda z, step: functional.cross_entropy(z, labels), steps=2, step_size=0.02)
    torch.testing.assert_close(only_class, plain)
    plain = perturb(network, images, lambda logits, step: -((logits - goal) ** 2).mean(), steps=2, step_size=0.02)
    torch.testing.assert_close(moved(network, 0.0)[3], plain)
