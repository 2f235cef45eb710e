"""The files of docs/serving: the Serve application and the arguments it has, on Kubernetes too, and the containers."""

from __future__ import annotations

import ast
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from adafv_core.cost import LLMShape, VisionShape, kv_cache_bytes, prefill_flops, projector_flops, vision_flops
from adafv_core.loading.known_models import find_known
from app.settings import RAY, read_settings

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "serving"
VERSION = RAY.partition("==")[2]


def read(name: str) -> Any:
    return yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))


def arguments_of(path: str) -> set[str]:
    """The arguments that the application of an import path takes; read, not imported: Ray may not be installed."""
    module, _, function = path.partition(":")
    tree = ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8"))
    (found,) = [one for one in tree.body if isinstance(one, ast.FunctionDef) and one.name == function]
    (defaults,) = [
        one.value for one in ast.walk(found) if isinstance(one, ast.AnnAssign) and one.target.id == "defaults"
    ]
    assert isinstance(defaults, ast.Dict)
    return {key.value for key in defaults.keys if isinstance(key, ast.Constant)}


def applications() -> list[Any]:
    inner = yaml.safe_load(read("kuberay.yaml")["spec"]["serveConfigV2"])
    return [read("serve.yaml")["applications"], inner["applications"]]


@pytest.mark.parametrize("found", applications(), ids=["serve", "kuberay"])
def test_the_application_takes_its_arguments(found: Any) -> None:
    (application,) = found
    assert application["name"] == "adafv", "the name by which a page joins it"
    assert set(application["args"]) <= arguments_of(application["import_path"])
    assert find_known(application["args"]["model"])


def test_kubernetes_runs_the_same_application() -> None:
    one, other = applications()
    assert one == other
    spec = read("kuberay.yaml")["spec"]["rayClusterConfig"]
    assert spec["rayVersion"] == VERSION
    (group,) = spec["workerGroupSpecs"]
    assert group["maxReplicas"] == one[0]["args"]["max_replicas"]


def test_the_containers_start_a_page_with_flags_that_it_has() -> None:
    services = read("compose.yaml")["services"]
    assert RAY.replace("[serve]", "[serve,data]") in services["page"]["build"]["dockerfile_inline"]
    assert services["page"]["ports"] == ["127.0.0.1:7860:7860"] and "ports" not in services["worker"]
    ray, _, page = services["page"]["command"][2].partition(" && ")
    assert shlex.split(ray)[:3] == ["ray", "start", "--head"]
    words = shlex.split(page)
    assert words[0] == "python" and (ROOT / words[1]).is_file()
    settings = read_settings(words[2:], services["page"]["environment"])
    assert (settings.backend, settings.ray_address, settings.answers_at_once) == ("ray", "auto", 2)


def test_the_arithmetic_for_eight_gpus_is_as_the_document_describes_it() -> None:
    tera_flops, tera_bytes, weights_gb, batch, text, new = 989, 3.35, 13.5, 32, 60, 32
    llm = LLMShape(32, 4096, 11008, 32, 32, 128, 32064)

    def requests_per_s(n_visual: int, crops: int, keep_ratio: float) -> float:
        vision = vision_flops(VisionShape(23, 1024, 4096, 576, 577, 14), crops) + projector_flops(n_visual, 1024, 4096)
        n = round(n_visual * keep_ratio) + text
        decode_s = new * (weights_gb * 1e9 / batch + kv_cache_bytes(llm, n)) / (tera_bytes * 1e12)
        return 8 / ((prefill_flops(llm, n) + vision) / (tera_flops * 1e12 / 2) + decode_s)

    lines = [
        f"An H100: {tera_flops} TFLOP/s in bfloat16, half of it reached; {tera_bytes} TB/s. {weights_gb} GB of "
        f"weights, {batch} requests in a batch, {text} text tokens, {new} new ones.",
        "",
        "| requests a second | all tokens | keep 25 % | keep 10 % | keep 5 % |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, n_visual, crops in (("LLaVA-1.5-7B", 576, 1), ("LLaVA-NeXT-7B", 2880, 5)):
        cells = " | ".join(f"{requests_per_s(n_visual, crops, keep):,.0f}" for keep in (1, 0.25, 0.1, 0.05))
        lines.append(f"| {name}, {n_visual:,} tokens | {cells} |")
    document = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
    assert document.split("<!-- gpus:begin -->\n")[1].split("\n<!-- gpus:end -->")[0] == "\n".join(lines)
