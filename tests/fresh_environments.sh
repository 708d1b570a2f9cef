#!/bin/sh
# Exported files in fresh virtual environments: one that holds torch alone, one that holds torch, numpy and diffusers.
# Before that, the generated sources with every other supported Python that is found: derived without torch, byte by byte.
# Not part of the test suite: it installs torch twice. Run by `make fresh`, or with the python to export with:
#     sh tests/fresh_environments.sh .venv/bin/python
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
python=$(cd "$(dirname "${1:?the python of an environment with this project}")" && pwd)/$(basename "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
mkdir "$work/files"

echo "== export"
for pair in psld/RVV:module:rvv vp/DPM-Solver++3M:module:dpm edm/DPM-Solver++2M:k-diffusion:edm \
    vp/DPM-Solver++2M:diffusers:vp_dpm psld/RVV:diffusers:psld_rvv; do
    spec=${pair%%:*}; rest=${pair#*:}; form=${rest%%:*}; name=${rest#*:}
    (cd "$root" && PYTHONPATH=. "$python" -c "from integrator_analysis.cli import main; main()" \
        export "$spec" --format "$form" -o "$work/files/$name.py")
done

fresh() {  # a virtual environment of this name with these packages, made by $maker
    name=$1; shift
    echo "== $name: $*"
    "$maker" -m venv "$work/$name"
    "$work/$name/bin/python" -m pip install --disable-pip-version-check --progress-bar off --quiet -c "$root/constraints.txt" "$@"
    "$work/$name/bin/python" -m pip list --disable-pip-version-check --format=freeze | tr '\n' ' '
    echo
}

find_python() {  # the path of a python of this version, on PATH or among those of pyenv; nothing if there is none
    for found in "$(command -v "python$1" || true)" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1."*"/bin/python$1"; do
        if [ -x "$found" ] && "$found" -c 'import ensurepip' 2>/dev/null; then
            echo "$found"
            return
        fi
    done
}

cd "$work/files"
export PYTHONDONTWRITEBYTECODE=1
unset PYTHONPATH || true

own=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
for version in 3.11 3.12 3.13; do
    [ "$version" != "$own" ] || continue
    maker=$(find_python "$version")
    if [ -z "$maker" ]; then
        echo "== no python$version here: generated sources are not compared with it"
        continue
    fi
    # shellcheck disable=SC2046  # one word per package
    fresh "without_torch_$version" $("$python" - "$root/pyproject.toml" <<'CODE'
import sys
import tomllib

with open(sys.argv[1], "rb") as stream:
    needed = tomllib.load(stream)["project"]["dependencies"]
print(*(name for name in needed if not name.startswith("torch")))
CODE
)
    for seed in 0 1 random; do
        (cd "$root" && PYTHONHASHSEED=$seed INTEGRATOR_ANALYSIS_CACHE='' PYTHONPATH=. \
            "$work/without_torch_$version/bin/python" -c "from integrator_analysis.cli import main; main()" generate --check)
        echo "python$version, hash seed $seed: generated sources are the committed ones"
    done
done
maker=$python

fresh torch_alone torch
"$work/torch_alone/bin/python" rvv.py
"$work/torch_alone/bin/python" dpm.py
"$work/torch_alone/bin/python" edm.py
"$work/torch_alone/bin/python" - <<'CODE'
import importlib.util

import torch

import edm
import rvv

present = [name for name in ("numpy", "diffusers", "scipy", "integrator_analysis") if importlib.util.find_spec(name)]
assert not present, present

z = rvv.sample(lambda z, t: 0.5 * z, rvv.prior(3, (1, 4, 6), seed=0), steps=10, grid="quadratic")
assert z.shape == (3, 2, 4, 6) and z.isfinite().all()
# data that are one point, at 0.25: every walk ends on it
point = edm.sample_edm_dpm_solver_pp_2m(lambda x, sigma: torch.full_like(x, 0.25), torch.randn(2, 3), [9.0, 3.0, 1.0, 0.0])
assert torch.equal(point, torch.full((2, 3), 0.25))
print("torch alone: modules sample")
CODE

fresh torch_diffusers torch numpy diffusers
"$work/torch_diffusers/bin/python" - "$root/benchmarks/trained_weights" <<'CODE'
import importlib.util
import sys

import diffusers
import torch
from psld_rvv import PhaseSpacePipeline, PSLDRVVScheduler
from vp_dpm import VPDPMSolverPP2MScheduler

present = [name for name in ("scipy", "sklearn", "torch_backend", "integrator_analysis") if importlib.util.find_spec(name)]
assert not present, present

networks = sys.argv[1]
unet = diffusers.UNet2DModel.from_pretrained(f"{networks}/vp", torch_dtype=torch.float32)
pipeline = diffusers.DDPMPipeline(unet, diffusers.DDPMScheduler())
pipeline.scheduler = VPDPMSolverPP2MScheduler.from_config(pipeline.scheduler.config)
pipeline.set_progress_bar_config(disable=True)
images = pipeline(batch_size=4, num_inference_steps=10, generator=torch.Generator().manual_seed(0)).images
assert [image.size for image in images] == [(8, 8)] * 4
unet = diffusers.UNet2DModel.from_pretrained(f"{networks}/psld", torch_dtype=torch.float32)
pipeline = PhaseSpacePipeline(unet, PSLDRVVScheduler(timestep_scale=1000.0))
pipeline.set_progress_bar_config(disable=True)
images = pipeline(4, torch.Generator().manual_seed(0), num_inference_steps=10).images
assert [image.size for image in images] == [(8, 8)] * 4
print("torch, numpy, diffusers: pipelines make images of the trained networks")
CODE
echo "all environments pass"
