"""Noise images: Adam's steps, clipping at the end, and no change of the model."""

import copy

import pytest
import torch
from torch import nn

from gli.perturbation.noise import maximise_error


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2 * 2 * 2, 3))


def negative_square(logits):
    return -(logits**2).mean()


def test_the_loss_decreases_and_the_images_are_in_range():
    network, noise = model().eval(), torch.randn(4, 3, 4, 4)
    images = maximise_error(network, noise, negative_square, steps=20, lr=0.05)
    assert images.min() >= 0
    assert images.max() <= 1
    assert negative_square(network(images)) < negative_square(network(noise.clamp(0, 1)))
    assert not images.requires_grad


def test_first_step_is_the_learning_rate_against_the_sign_of_the_gradient():
    network, noise = model().eval(), torch.full((2, 3, 4, 4), 0.5)
    start = noise.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(negative_square(network(start)), start)
    images = maximise_error(network, noise, negative_square, steps=1, lr=0.01)
    torch.testing.assert_close(images, 0.5 - 0.01 * gradient.sign(), rtol=0, atol=1e-5)


def test_zero_steps_clip_a_copy_of_the_noise():
    noise = torch.tensor([-1.0, 0.3, 2.0]).reshape(1, 3, 1, 1)
    images = maximise_error(nn.Identity(), noise, negative_square, steps=0, lr=0.1)
    assert images.flatten().tolist() == pytest.approx([0, 0.3, 1])
    assert noise.flatten().tolist() == pytest.approx([-1, 0.3, 2])


@pytest.mark.parametrize("training", [True, False])
def test_the_model_does_not_change(training):
    network = model().train(training)
    before = copy.deepcopy(network.state_dict())
    with torch.no_grad():  # The caller may have disabled gradients.
        maximise_error(network, torch.randn(4, 3, 4, 4), negative_square, steps=3, lr=0.1)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert network.training is training
