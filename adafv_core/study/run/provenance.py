"""The provenance of results: model, versions and machine, without paths or host names."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import torch
import transformers

import adafv_core
from adafv_core.engine.backend import Backend


def model_facts(engine: Backend) -> dict[str, Any]:
    """name: "pocket", a hub id, or the last part of a folder's name. weights: see `adafv_core.loading.fingerprint`."""
    name = Path(engine.name).name if Path(engine.name).is_dir() else engine.name
    return {
        "name": name,
        "class": engine.model_class,
        "revision": engine.revision,
        "weights": engine.weights,
        "dtype": str(engine.dtype).removeprefix("torch."),
    }


def versions() -> dict[str, str]:
    """Versions of the software that computes the answers."""
    return {
        "adafv": adafv_core.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def machine_facts(device: torch.device) -> dict[str, Any]:
    """Processor, cores, threads in use, and the accelerator, if any."""
    facts: dict[str, Any] = {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": platform.system(),
        "device": device.type,
    }
    if device.type == "cuda" and torch.cuda.is_available():  # on a cluster the GPU may be another machine's
        facts["device"] = torch.cuda.get_device_name(device)
    return facts


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
