"""Noise images: Adam's steps, clipping at the end, and a model that is left as it was."""

import copy

import pytest
import torch
from torch import nn

from gli.perturbation.noise import maximise_error


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2 * 2 * 2, 3))


def far(logits):
    return -(logits**2).mean()


def test_the_loss_falls_and_the_images_are_in_range():
    network, noise = model().eval(), torch.randn(4, 3, 4, 4)
    made = maximise_error(network, noise, far, steps=20, lr=0.05)
    assert made.min() >= 0
    assert made.max() <= 1
    assert far(network(made)) < far(network(noise.clamp(0, 1)))
    assert not made.requires_grad


def test_first_step_is_the_learning_rate_against_the_sign_of_the_gradient():
    network, noise = model().eval(), torch.full((2, 3, 4, 4), 0.5)
    start = noise.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(far(network(start)), start)
    made = maximise_error(network, noise, far, steps=1, lr=0.01)
    torch.testing.assert_close(made, 0.5 - 0.01 * gradient.sign(), rtol=0, atol=1e-5)


def test_no_steps_only_clip_and_the_noise_that_was_given_stays():
    noise = torch.tensor([-1.0, 0.3, 2.0]).reshape(1, 3, 1, 1)
    assert maximise_error(nn.Identity(), noise, far, steps=0, lr=0.1).flatten().tolist() == pytest.approx([0, 0.3, 1])
    assert noise.flatten().tolist() == pytest.approx([-1, 0.3, 2])


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_left_as_it_was(training):
    network = model().train(training)
    before = copy.deepcopy(network.state_dict())
    with torch.no_grad():  # As it may be called from anywhere.
        maximise_error(network, torch.randn(4, 3, 4, 4), far, steps=3, lr=0.1)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert network.training is training
