"""The theory layer on a CUDA device: the laws of the CPU, in both precisions."""

import math

import pytest
import torch
from scipy import stats

from parfait.sde import PROCESSES, Target, conditioned

pytestmark = pytest.mark.gpu

N, STEPS, YEARS = 16_384, 60, 0.5


def sample(name, ref, device, n=N, dtype=torch.float32, **options):
    regime = (ref.mixed if name in ("regime", "fgbm", "ou") else ref.batch)(n)
    process = PROCESSES[name].from_regime(regime, **options)
    generator = torch.Generator(device=device).manual_seed(3)
    return regime, process.sample(n, STEPS, YEARS, generator=generator, dtype=dtype)


@pytest.mark.parametrize("name", PROCESSES)
@pytest.mark.filterwarnings("ignore::parfait.sde.SdeWarning")
def test_paths_on_the_device_have_the_laws_of_the_cpu(name, ref):
    regime, there = sample(name, ref, "cuda")
    assert there.log_price.device.type == "cuda"
    mu = torch.as_tensor(regime.drift).to("cuda")
    assert max(abs(z) for z in ref.martingale_z(there, mu, YEARS)) < 4
    _, here = sample(name, ref, "cpu")
    ends = (p.log_price[:, -1].double().cpu().numpy() for p in (there, here))
    assert stats.ks_2samp(*ends).pvalue > 1e-4


@pytest.mark.parametrize("name", PROCESSES)
@pytest.mark.filterwarnings("ignore::parfait.sde.SdeWarning")
def test_precisions_agree_on_the_same_numbers(name, ref):
    single, double = (sample(name, ref, "cuda", dtype=d)[1] for d in (torch.float32, torch.float64))
    gap = single.log_price.double() - double.log_price
    assert float(gap.square().mean().sqrt()) < 1e-4


@pytest.mark.parametrize("name", ["gbm", "heston", "bates", "regime"])
def test_a_path_does_not_depend_on_how_many_follow(name, ref):
    regime = ref.batch(1)[0]
    process = PROCESSES[name].from_regime(regime)

    def paths(n):
        generator = torch.Generator(device="cuda").manual_seed(3)
        return process.sample(n, STEPS, YEARS, generator=generator).log_price

    torch.use_deterministic_algorithms(True)
    try:
        assert torch.equal(paths(5000)[:1000], paths(1000))
    finally:
        torch.use_deterministic_algorithms(False)


def test_conditions_hold_on_the_device(ref):
    process = PROCESSES["bates"].from_regime(ref.batch(1000))
    generator = torch.Generator(device="cuda").manual_seed(0)
    target = Target(waypoints=((20, math.log(0.8)), (STEPS, 0.1)))
    found = conditioned(
        process, target, 1000, STEPS, YEARS, generator=generator, mode="conditional"
    )
    assert torch.equal(
        found.paths.log_price[:, [20, STEPS]].cpu(),
        torch.tensor([math.log(0.8), 0.1]).expand(1000, 2),
    )
    assert found.ess is not None
    assert 1 <= found.ess <= 1000
