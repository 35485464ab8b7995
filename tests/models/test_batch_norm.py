"""Checks batch norm: by hand, against torch.nn's to the bit, and that its buffers are replaced, never changed."""

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, stack_module_state, vmap

from makemore.errors import UserError
from makemore.models.batch_norm import BatchNorm


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 3 + 1


def test_by_hand() -> None:
    norm = BatchNorm(1, momentum=0.25)
    with torch.no_grad():
        norm.gain.fill_(3)
        norm.bias.fill_(1)
    # mean 3, squares of the distances 4, 1, 1, 4: variance 2.5, unbiased 10 / 3
    values = torch.tensor([[1.0], [2.0], [4.0], [5.0]])
    torch.testing.assert_close(norm(values), 3 * (values - 3) / (2.5 + 1e-5) ** 0.5 + 1)
    torch.testing.assert_close(norm.running_mean, torch.tensor([0.25 * 3]))
    torch.testing.assert_close(norm.running_var, torch.tensor([0.75 + 0.25 * 10 / 3]))
    norm.eval()
    deviation = (norm.running_var + 1e-5).sqrt()
    torch.testing.assert_close(norm(values), 3 * (values - norm.running_mean) / deviation + 1)


@pytest.mark.parametrize("shape", [(8, 5), (6, 4, 5)])
def test_it_is_torchs_to_the_bit_over_batch_and_positions(shape: tuple[int, ...]) -> None:
    ours, theirs = BatchNorm(5, momentum=0.1), nn.BatchNorm1d(5, momentum=0.1)
    for step in range(3):
        values = drawn(*shape, seed=step)
        assert torch.equal(ours(values), theirs(values.reshape(-1, 5)).view(shape))
    assert torch.equal(ours.running_mean, theirs.running_mean)  # type: ignore[arg-type]
    assert torch.equal(ours.running_var, theirs.running_var)  # type: ignore[arg-type]
    assert torch.equal(ours.eval()(values), theirs.eval()(values.reshape(-1, 5)).view(shape))


def test_a_step_replaces_the_buffers_and_evaluation_keeps_them() -> None:
    norm = BatchNorm(5, momentum=0.1)
    before = norm.running_mean, norm.running_var
    norm(drawn(8, 5))
    assert torch.equal(before[0], torch.zeros(5))
    assert torch.equal(before[1], torch.ones(5))
    after = norm.running_mean, norm.running_var
    assert not any(tensor.requires_grad or torch.equal(tensor, was) for tensor, was in zip(after, before, strict=True))
    norm.eval()(drawn(8, 5))
    assert norm.running_mean is after[0]
    assert norm.running_var is after[1]


def test_mapped_over_members_it_is_each_alone_and_the_new_buffers_are_in_the_dict() -> None:
    members = [BatchNorm(5, momentum=0.1) for _ in range(3)]
    for row, member in enumerate(members):
        member(drawn(8, 5, seed=row))
    parameters, buffers = stack_module_state(members)  # type: ignore[arg-type]
    values = torch.stack([drawn(6, 2, 5, seed=10 + row) for row in range(3)])

    def loss(parameters: dict[str, Tensor], buffers: dict[str, Tensor], values: Tensor) -> tuple[Tensor, ...]:
        state = parameters | buffers
        total = functional_call(members[0], state, (values,)).pow(3).sum()
        return total, {name: state[name] for name in buffers}  # type: ignore[return-value]

    kept = members[0].running_mean.clone()
    gradients, (_, after) = vmap(grad_and_value(loss, has_aux=True))(parameters, buffers, values)
    assert torch.equal(members[0].running_mean, kept)
    for row, member in enumerate(members):
        member(values[row]).pow(3).sum().backward()
        for name, parameter in member.named_parameters():
            assert parameter.grad is not None
            torch.testing.assert_close(gradients[name][row], parameter.grad, rtol=1e-4, atol=1e-4)
        for name, buffer in member.named_buffers():
            torch.testing.assert_close(after[name][row], buffer)


def test_one_example_has_no_variance() -> None:
    norm = BatchNorm(5, momentum=0.1)
    with pytest.raises(UserError, match=r"two examples a step.*data\.batch_size must be above 1"):
        norm(drawn(1, 5))
    # two positions of one example do, and evaluation needs none
    norm(drawn(1, 2, 5))
    norm.eval()(drawn(1, 5))


@pytest.mark.parametrize(
    ("momentum", "message"),
    [
        (0, "above 0"),
        (-0.1, "above 0"),
        (1.5, "at most 1"),
        (float("nan"), "finite"),
        ("0.1", "finite"),
        (None, "finite"),
    ],
)
def test_momentum_is_a_share(momentum: float, message: str) -> None:
    with pytest.raises(UserError, match=rf"model\.momentum must be .*{message}"):
        BatchNorm(5, momentum)
