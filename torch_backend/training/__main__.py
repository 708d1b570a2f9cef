"""The program: train a network on the digits, from the last checkpoint if there is one, and write it to a folder.

python -m torch_backend.training vp --output networks/vp
python -m torch_backend.training psld --output networks/psld
"""

import argparse
import json
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from importlib.metadata import version
from pathlib import Path

import torch

from torch_backend.scores import digits
from torch_backend.training.fit import CHECKPOINT, Settings, Training, fit
from torch_backend.training.networks import PROBLEMS, save_network, write_bytes

FACTS = "training.json"


def make_parser() -> argparse.ArgumentParser:
    """The parser of the command line; the options are the fields of ``Settings``."""
    found = argparse.ArgumentParser(prog="python -m torch_backend.training", description=__doc__.split("\n", 1)[0])
    found.add_argument("problem", choices=list(PROBLEMS), help="the process that the network is for")
    found.add_argument("--output", type=Path, required=True, help="the folder of the network and its checkpoint")
    defaults = Settings("vp")
    for field in fields(Settings)[1:]:
        default = getattr(defaults, field.name)
        flag = "--" + field.name.replace("_", "-")
        found.add_argument(flag, type=type(default), default=default, help=f"default {default}")
    found.add_argument("--every", type=int, default=250, help="steps between checkpoints, default 250")
    return found


def progress_line(began: float, first: int) -> Callable[[Training], object]:
    """A report for ``fit`` that rewrites one line on stderr: step, loss, and the time that is left.

    ``began``: when the program started, by the monotonic clock; ``first``: the step that it started from.
    """

    def line(training: Training) -> None:
        step, steps = training.step, training.settings.steps
        if step % 10 and step != steps:
            return
        left = (time.monotonic() - began) / (step - first) * (steps - step)
        text = f"step {step} of {steps}, loss {training.recent_loss():.4f}, {left:.0f} s left"
        print(f"\r{text:<60}", end="\n" if step == steps else "", file=sys.stderr, flush=True)

    return line


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, and write the network. Exit status: 0 done, 2 unusable arguments, 130 stopped by Ctrl-C."""
    given = make_parser().parse_args(arguments)
    folder: Path = given.output
    try:
        if given.every < 1:
            raise ValueError(f"every = {given.every}; at least 1 is needed")
        settings = Settings(**{field.name: getattr(given, field.name) for field in fields(Settings)})
        folder.mkdir(parents=True, exist_ok=True)
        training = Training(settings, digits())
        if (folder / CHECKPOINT).exists():
            training.load(folder / CHECKPOINT)
            print(f"going on from step {training.step}", file=sys.stderr)
        network = fit(training, folder / CHECKPOINT, given.every, progress_line(time.monotonic(), training.step))
        save_network(network, folder)
        write_bytes(folder / FACTS, (json.dumps(training_facts(training), indent=2) + "\n").encode())
    except (ImportError, ValueError, OSError, FloatingPointError) as error:
        print(f"\nerror: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        kept = f"{folder / CHECKPOINT} is kept" if (folder / CHECKPOINT).exists() else "there is no checkpoint yet"
        print(f"\nstopped; {kept}, the same command goes on from it", file=sys.stderr)
        return 130
    print(f"wrote {folder}", file=sys.stderr)
    return 0


def training_facts(training: Training) -> dict[str, object]:
    """How a network was made: enough to make it again."""
    settings, defaults = training.settings, Settings(training.settings.problem)
    changed = [f for f in fields(Settings)[1:] if getattr(settings, f.name) != getattr(defaults, f.name)]
    options = [part for f in changed for part in ("--" + f.name.replace("_", "-"), str(getattr(settings, f.name)))]
    return {
        "command": shlex.join(
            ["python", "-m", "torch_backend.training", settings.problem, "--output", "...", *options]
        ),
        "data": "the 1797 digits of scikit-learn, 8 x 8, in [-1, 1]",
        **asdict(settings),
        "weights": sum(parameter.numel() for parameter in training.network.parameters()),
        "final_loss": training.recent_loss(),
        "final_loss_is": "mean square error of eps per entry, over the last 200 batches",
        "precision": "the running average of the weights, rounded to half precision",
        "versions": {name: version(name) for name in ("torch", "diffusers", "safetensors", "scikit-learn")},
        "threads": torch.get_num_threads(),
    }


if __name__ == "__main__":
    sys.exit(main())
