"""The default preset on a GPU, on ResNet-50 at 224 px and GPT-2 small:  python -m benchmarks.gpu

Prints the time of all checks, of one training step, and their ratio. Without a GPU it says so and
ends with 0.
"""

from __future__ import annotations

import argparse

import torch

from benchmarks.speed_models import ON_A_GPU
from benchmarks.speed_preset import run
from recipe_check.reports._costs import cost_words, slowest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=ON_A_GPU, action="append", help="repeatable")
    given = parser.parse_args()
    if not torch.cuda.is_available():
        print("no GPU: torch.cuda.is_available() is False here, nothing was run")
        return
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}")
    for name in given.model or ON_A_GPU:
        report = run(name, "--device", "cuda")
        found = ", ".join(f"{count} {word}" for word, count in report.counts.items() if count)
        print(f"\n{name}, {report.target.parameters:,} parameters on {report.run.device}: {found}")
        print(f"cost: {cost_words(report.run)}; {report.run.seconds:.1f} s in all")
        print(slowest(report.results, 8))


if __name__ == "__main__":
    main()
