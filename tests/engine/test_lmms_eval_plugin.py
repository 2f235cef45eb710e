"""`--model adafv` in the real lmms-eval, on the bundled model and a small local task.

Runs where lmms-eval is installed (`pip install 'adafv[eval]'`); its command line is run as a user would.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from adafv_core.errors import AdaFVError, InputError
from adafv_core.study.data.pocket import PocketSet

pytest.importorskip("lmms_eval")
ROOT = Path(__file__).resolve().parents[2]
POCKET = ROOT / "assets" / "pocket"
N = 12
ENTRY = "[lmms_eval.models]\nadafv = adafv_core.eval.manifest:ADAFV\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The task with its data, and the entry point of an installed package."""
    from datasets import Dataset, Features, Value
    from datasets import Image as ImageFeature

    made = tmp_path_factory.mktemp("lmms")
    shutil.copytree(ROOT / "tests" / "helpers" / "lmms_task", made / "task")
    data = PocketSet("validation", 2)
    rows = [{"image": data.picture(i.image), "question": i.question, "answer": i.answers[0]} for i in data.items[:N]]
    features = Features({"image": ImageFeature(), "question": Value("string"), "answer": Value("string")})
    Dataset.from_list(rows, features=features).to_parquet(made / "task" / "scenes.parquet")
    yaml = made / "task" / "pocket_scenes.yaml"
    yaml.write_text(yaml.read_text().replace("scenes.parquet", str(made / "task" / "scenes.parquet")))
    info = made / "site" / "adafv-0.dist-info"
    info.mkdir(parents=True)
    (info / "entry_points.txt").write_text(ENTRY)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: adafv\nVersion: 0\n")
    return made


def command(folder: Path, model: str, arguments: str, batch_size: int) -> dict[int, str]:
    """Answers by document of one run of the command line. Raises CalledProcessError if it fails."""
    out = folder / f"{model}-{abs(hash(arguments))}"
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join((str(ROOT), str(folder / "site"))),
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(folder / "hf"),
        "OMP_NUM_THREADS": "1",
    }
    line = [sys.executable, "-m", "lmms_eval", "--model", model, "--model_args", arguments, "--tasks", "pocket_scenes"]
    line += ["--include_path", str(folder / "task"), "--batch_size", str(batch_size), "--device", "cpu"]
    line += ["--output_path", str(out), "--log_samples", *(["--force_simple"] if model == "llava_hf" else [])]
    subprocess.run(line, env=environment, check=True, capture_output=True, timeout=300)
    (samples,) = out.rglob("*samples_pocket_scenes.jsonl")
    rows = [json.loads(one) for one in samples.read_text().splitlines()]
    given = {row["doc_id"]: row["filtered_resps"] for row in rows}
    return {number: (one if isinstance(one, str) else one[0]).strip() for number, one in given.items()}


def test_all_tokens_give_the_answers_of_llava_hf_and_a_tenth_those_of_the_engine(folder: Path) -> None:
    from adafv_core.engine import load

    stock = command(folder, "llava_hf", f"pretrained={POCKET},device_map=cpu", 1)
    whole = command(folder, "adafv", f"pretrained={POCKET},method=adafv,keep_ratio=1.0", 4)
    assert len(stock) == N and whole == stock
    pruned = command(folder, "adafv", f"pretrained={POCKET},method=adafv,keep_ratio=0.1", 4)
    engine, data = load("pocket", device="cpu"), PocketSet("validation", 2)
    for number, item in enumerate(data.items[:N]):
        assert pruned[number] == engine.answer(data.picture(item.image), item.question, 0.1, max_new_tokens=8).text


def model_for(images: list[list[Image.Image]], **arguments: Any) -> Any:
    """The plugin's class with documents at hand, as lmms-eval sets it up."""
    from adafv_core.eval.lmms_model import PrunedModel

    made = PrunedModel(str(POCKET), device="cpu", **arguments)
    made.task_dict = {"t": {"test": images}}
    return made


def requests(count: int) -> list[Any]:
    limits = {"max_new_tokens": 3, "until": ["\n"]}
    return [
        SimpleNamespace(args=("What color is the ring?", dict(limits), lambda doc: doc, number, "t", "test"))
        for number in range(count)
    ]


def test_batches_several_images_and_counts_of_the_whole_run() -> None:
    data = PocketSet("validation", 3)
    scenes = [data.picture(image) for image in list(data.scenes)[:3]]
    documents = [[scenes[0]], [scenes[1], scenes[2]], [scenes[2]]]
    together, alone = model_for(documents, batch_size=3, keep_ratio=0.1), model_for(documents, keep_ratio=0.1)
    assert together.generate_until(requests(3)) == alone.generate_until(requests(3))
    assert together.totals.n_images == alone.totals.n_images == 4 and alone.totals.n_calls == 3
    assert together.totals.n_visual == 4 * 196 and together.totals.n_kept == 4 * 20


def test_errors_end_the_run_and_log_likelihoods_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from adafv_core.methods import METHODS

    made = model_for([[Image.new("RGB", (64, 64))]])
    with pytest.raises(InputError, match="log-likelihood"):
        made.loglikelihood([])
    with pytest.raises(InputError, match="single rounds"):
        made.generate_until_multi_round([])

    def failing(self: Any, scores: Any, budget: int) -> Any:
        raise ZeroDivisionError("injected")

    monkeypatch.setattr(METHODS["adafv"], "choose", failing)
    with pytest.raises(ZeroDivisionError, match="injected"):
        made.generate_until(requests(1))
    for wrong in ({"method": "nothing"}, {"keep_ratio": 7.0}, {"speed": 3}):
        with pytest.raises(AdaFVError):
            model_for([], **wrong)
