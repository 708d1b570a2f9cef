"""Training: the loss against kernels by matrix exponential and exact scores, and a stop that leaves no trace."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from torch_backend.scores import GaussianScore
from torch_backend.training import Settings, Training, fit, load_network, loss, make_network, save_network
from torch_backend.training.__main__ import main
from torch_backend.training.fit import CHECKPOINT, diffuse

TINY = {"block_out_channels": (8, 8), "norm_num_groups": 4}


def test_diffused_states_have_the_mean_and_covariance_of_the_process(kernel: Any) -> None:
    """The kernels of conftest: closed form, and van Loan's matrix exponential on phase space."""
    k, t = len(kernel.BLOCKS), torch.tensor([0.02, 0.3, 0.9], dtype=torch.float64)
    x_0 = torch.tensor([[1.0], [-2.0], [0.5]], dtype=torch.float64)
    mean = diffuse(kernel, x_0, t, torch.zeros(3, k, dtype=torch.float64))
    torch.testing.assert_close(mean, torch.stack(kernel.mean(t), 1) * x_0)
    columns = [diffuse(kernel, 0 * x_0, t, unit.expand(3, k)) for unit in torch.eye(k, dtype=torch.float64)]
    factor = torch.stack(columns, dim=2)
    lower = torch.tril_indices(k, k)
    found = (factor @ factor.mT)[:, lower[0], lower[1]]
    torch.testing.assert_close(found, torch.stack(kernel.covariance(t), 1), rtol=1e-10, atol=1e-12)
    turned = (factor.mT @ factor)[:, lower[0], lower[1]]
    assert k == 1 or not torch.allclose(turned, found)  # eps in the other frame is another convention


def test_the_loss_is_zero_at_the_exact_score_of_a_point(kernel: Any) -> None:
    """The eps that is asked for is the eps that samplers take: for one image it is all that was added to it."""
    point = torch.tensor([[[0.5, -0.25]]])
    exact = GaussianScore(kernel, point, torch.zeros_like(point))
    seed = torch.Generator().manual_seed(0)
    images = point.expand(64, *point.shape)
    assert loss(exact, kernel, images, seed) < 1e-8
    assert loss(lambda z, t: -exact(z, t), kernel, images, seed) > 1


def weights(network: Any) -> list[Tensor]:
    return list(network.state_dict().values())


@pytest.mark.parametrize("problem", ["vp", "psld"])
def test_a_stopped_training_goes_on_to_the_same_weights(problem: str, tmp_path: Path) -> None:
    data = torch.rand(20, 1, 8, 8, generator=torch.Generator().manual_seed(1)) * 2 - 1
    settings = Settings(problem, seed=3, steps=5, batch=4)
    whole = Training(settings, data, **TINY)
    fit(whole)
    first = Training(settings, data, **TINY)
    for _ in range(2):
        first.advance()
    first.save(tmp_path / CHECKPOINT)
    again = Training(settings, data, **TINY)
    again.load(tmp_path / CHECKPOINT)
    assert again.step == 2
    fit(again)
    assert again.losses == whole.losses
    assert all(map(torch.equal, weights(again.network), weights(whole.network)))
    assert all(map(torch.equal, weights(again.average), weights(whole.average)))
    fresh = Training(settings, data, **TINY)  # what a resume without the optimiser's state would be
    fresh.network.load_state_dict(first.network.state_dict())
    fresh.step = 2
    fit(fresh)
    assert not all(map(torch.equal, weights(fresh.network), weights(whole.network)))


def test_training_lowers_the_loss() -> None:
    data = torch.full((1, 1, 8, 8), 0.5)
    training = Training(Settings("vp", steps=60, batch=16, learning_rate=1e-2), data, **TINY)
    fit(training)
    assert training.recent_loss(10) < 0.5 * sum(training.losses[:10]) / 10


def test_the_program_keeps_its_checkpoint_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--steps", "4", "--batch", "2", "--every", "2"]
    assert main(["psld", "--output", str(tmp_path / "whole"), *options]) == 0
    advance = Training.advance

    def stopped(training: Training) -> None:
        if training.step == 3:
            raise KeyboardInterrupt
        advance(training)

    monkeypatch.setattr(Training, "advance", stopped)
    command = ["psld", "--output", str(tmp_path / "part"), *options]
    assert main(command) == 130
    assert "goes on from it" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "part").iterdir()] == [CHECKPOINT]
    monkeypatch.undo()
    assert main(command) == 0
    assert "going on from step 2" in capsys.readouterr().err
    for name in ("diffusion_pytorch_model.safetensors", "config.json"):
        assert (tmp_path / "part" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    facts = json.loads((tmp_path / "part" / "training.json").read_text())
    assert facts["command"].endswith("psld --output ... --steps 4 --batch 2")
    assert facts["steps"] == 4
    assert set(facts["versions"]) == {"torch", "diffusers", "safetensors", "scikit-learn"}
    assert main([*command, "--seed", "1"]) == 2
    assert "was made with seed = 0, not 1" in capsys.readouterr().err


def test_a_saved_network_is_read_by_us_and_by_diffusers(tmp_path: Path) -> None:
    import diffusers

    network = make_network("psld", 0, **TINY)
    save_network(network, tmp_path, torch.float32)
    z, t = torch.randn(2, 2, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([0.2, 0.7])
    expected = network(z, t).detach()
    assert torch.equal(load_network("psld", tmp_path)(z, t), expected)
    unet = diffusers.UNet2DModel.from_pretrained(tmp_path)
    assert torch.equal(unet(z, 1000 * t).sample.detach(), expected)
    with pytest.raises(ValueError, match="takes 2 channels; vp has 1"):
        load_network("vp", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"config\.json is missing"):
        load_network("vp", tmp_path / "none")


def test_bad_input_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for settings, sentence in [
        ({"steps": 0}, "at least 1"),
        ({"batch": 0}, "at least 1"),
        ({"learning_rate": 0.0}, "positive number"),
        ({"average": 1.0}, r"in \[0, 1\)"),
    ]:
        with pytest.raises(ValueError, match=sentence):
            Settings("vp", **settings)
    data = torch.zeros(2, 1, 8, 8)
    with pytest.raises(ValueError, match="did you mean 'psld'"):
        Training(Settings("pslt"), data)
    one = Training(Settings("vp", steps=2), data, **TINY)
    one.advance()
    one.save(tmp_path / CHECKPOINT)
    with pytest.raises(ValueError, match="other sizes"):
        Training(Settings("vp", steps=2), data, block_out_channels=(4, 4), norm_num_groups=4).load(
            tmp_path / CHECKPOINT
        )
    (tmp_path / "other").write_bytes(b"PK\x03\x04 no tensors here")
    with pytest.raises(ValueError, match="no checkpoint of this program"):
        one.load(tmp_path / "other")
    one.losses = [float("nan")]
    monkeypatch.setattr(Training, "advance", lambda training: None)
    with pytest.raises(FloatingPointError, match="lower learning rate"):
        fit(one)
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(ImportError, match=r"training needs diffusers.*integrator-analysis\[training\]"):
        make_network("vp", 0)
