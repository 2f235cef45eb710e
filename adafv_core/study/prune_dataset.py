"""`adafv prune-dataset`: the kept tokens of a whole data set, for training or serving.

    OUT/dataset.json              model, method, keep ratio, and how many rows and files there are
    OUT/part-00000.parquet        per row: key, image, question, n_visual, kept (indices, ascending), tensor
    OUT/part-00000.safetensors    the kept visual tokens as the LLM gets them, (K', D), under the row's `tensor`

Every part is written by the process that pruned it, and appears at once when it is whole; the same command again makes
what is missing. With --ray the parts are made by a pool of workers on a cluster.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from adafv_core.errors import AdaFVError, ImageError, InputError
from adafv_core.study.data.pocket import STUDY_SCENES
from adafv_core.study.data.source import DataSource, path_of

if TYPE_CHECKING:
    from adafv_core.engine import Engine

FORMAT = 1
FACTS = "dataset.json"


@dataclass(frozen=True)
class Pruning:
    """What is done to every row; plain values. batch_size: pictures that are encoded together."""

    model: str
    method: str
    keep_ratio: float
    device: str = "auto"
    dtype: str = "auto"
    batch_size: int = 8


@dataclass(frozen=True)
class Part:
    """Rows start..stop-1 of the data set, and the name of their files without its ending."""

    name: str
    start: int
    stop: int


@dataclass(frozen=True)
class PartDone:
    """A part that was written. omitted: rows left out, with the reason."""

    part: Part
    rows: int
    omitted: tuple[str, ...]


class PartPruner:
    """Prunes parts of a data set; made from plain values in the process where it works."""

    def __init__(self, source: DataSource, pruning: Pruning, out: str) -> None:
        from adafv_core.engine import load
        from adafv_core.engine.request import Request

        self.data, self.pruning, self.out = source.open(), pruning, path_of(out)
        self.request = Request(pruning.method, keep_ratio=pruning.keep_ratio)
        self.engine: Engine = load(pruning.model, pruning.device, pruning.dtype)

    def __call__(self, part: Part) -> PartDone:
        """Prune and write one part. Raises OSError where it cannot be written."""
        import pyarrow as pa
        from pyarrow import parquet
        from safetensors.torch import save

        rows: list[dict[str, Any]] = []
        tensors: dict[str, Any] = {}
        omitted: list[str] = []
        for row, tensor in self._rows(part, omitted):
            rows.append(row)
            tensors[row["tensor"]] = tensor
        schema = pa.schema(
            [
                ("key", pa.string()),
                ("image", pa.string()),
                ("question", pa.string()),
                ("n_visual", pa.int32()),
                ("kept", pa.list_(pa.int32())),
                ("tensor", pa.string()),
            ]
        )
        sink = pa.BufferOutputStream()
        parquet.write_table(pa.Table.from_pylist(rows, schema=schema), sink)
        _write(self.out / f"{part.name}.safetensors", save(tensors))
        _write(self.out / f"{part.name}.parquet", sink.getvalue().to_pybytes())  # last: its presence says "whole"
        return PartDone(part, len(rows), tuple(omitted))

    def _rows(self, part: Part, omitted: list[str]) -> Iterator[tuple[dict[str, Any], Any]]:
        from adafv_core.engine.batch import kept_features
        from adafv_core.grid import kept_places

        items = self.data.items[part.start : part.stop]
        for begin in range(0, len(items), self.pruning.batch_size):
            chunk = items[begin : begin + self.pruning.batch_size]
            pictures = {}
            for image in dict.fromkeys(item.image for item in chunk):
                try:
                    pictures[image] = self.data.picture(image)
                except ImageError as error:
                    omitted.append(f"{image}: {error}")
            visuals = dict(zip(pictures, self.engine.encode_many(list(pictures.values())), strict=True))
            for place, item in enumerate(chunk, part.start + begin):
                if item.image not in visuals:
                    continue
                visual = visuals[item.image]
                try:
                    scores = self.engine.score(visual, item.question)
                    selection = self.engine.select(scores, self.request)
                except InputError as error:
                    omitted.append(f"{item.key}: {error}")
                    continue
                places, _ = kept_places(visual, selection, self.request.newline)
                row = {
                    "key": item.key,
                    "image": item.image,
                    "question": item.question,
                    "n_visual": visual.size,
                    "kept": selection.indices.tolist(),
                    "tensor": str(place),
                }
                yield row, kept_features(visual, selection, places).cpu().contiguous()


def parts_of(count: int, size: int) -> list[Part]:
    """The parts of a data set of `count` rows."""
    return [
        Part(f"part-{number:05d}", start, min(start + size, count))
        for number, start in enumerate(range(0, count, size))
    ]


def make_parser(prog: str = "adafv prune-dataset") -> argparse.ArgumentParser:
    """Every option with its meaning and default."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Write which visual tokens are kept, and their embeddings, for every row of a data set. Interrupt "
        "it and run the same line again: it goes on where it stopped.",
    )
    add = parser.add_argument
    add(
        "source",
        metavar="IN",
        nargs="+",
        help="Parquet files or a folder of them (columns image and question), a folder of pictures (with --question or "
        "--annotations), or pocket for the bundled scenes; paths, or URLs such as s3://bucket/folder",
    )
    add("out", metavar="OUT", help="folder to write to; a path or a URL")
    add("--model", default="pocket", help="pocket, a hub id, or a folder with a model [pocket]")
    add("--method", default="adafv", help="pruning method that selects before the LLM [adafv]")
    add("--keep", type=float, default=0.1, metavar="RATIO", help="share of the visual tokens to keep [0.1]")
    add("--question", help="asked of every row that has none")
    add("--annotations", nargs="+", default=[], metavar="FILE", help="COCO- or VQA-style files about the pictures")
    add("--scenes", type=int, default=STUDY_SCENES, help=f"scenes of the bundled data set [{STUDY_SCENES}]")
    add("--rows-per-file", type=int, default=1024, metavar="N", help="rows of one part [1024]")
    add("--batch-size", type=int, default=8, help="pictures encoded together [8]")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps [auto]")
    add("--dtype", default="auto", help="auto, float32, bfloat16, float16 [auto]")
    add("--ray", action="store_true", help="make the parts on a Ray cluster (needs Ray)")
    add("--ray-address", default="", metavar="ADDRESS", help="the cluster, such as auto [one on this machine]")
    add("--ray-workers", type=int, default=2, metavar="N", help="the most workers there, a model each [2]")
    return parser


def main(arguments: Sequence[str] | None = None, prog: str = "adafv prune-dataset") -> int:
    """Prune a data set. Returns 0; 1 if a part could not be written; 2 on wrong input; 130 if interrupted."""
    options = make_parser(prog).parse_args(arguments)
    try:
        return _run(options)
    except AdaFVError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {options.out} cannot be written ({error.strerror or error})", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here", file=sys.stderr)
        return 130


def source_of(options: argparse.Namespace) -> DataSource:
    """The data set that a command line names. Raises InputError for a mixture."""
    places = tuple(options.source)
    if places == ("pocket",):
        return DataSource(scenes=options.scenes)
    folder = path_of(places[0])
    if options.annotations or (options.question and folder.is_dir() and not any(folder.rglob("*.parquet"))):
        if len(places) > 1:
            raise InputError(f"Expected one folder of pictures, got {len(places)}.")
        return DataSource(images=places[0], annotations=tuple(options.annotations), question=options.question)
    return DataSource(parquet=places, question=options.question)


def _run(options: argparse.Namespace) -> int:
    from adafv_core.checks import whole
    from adafv_core.engine.request import Request

    pruning = Pruning(options.model, options.method, options.keep, options.device, options.dtype, options.batch_size)
    whole("--rows-per-file", options.rows_per_file, 1)
    whole("--batch-size", options.batch_size, 1)
    if Request(pruning.method, keep_ratio=pruning.keep_ratio).chooser.inside_llm:
        raise InputError(f"{pruning.method} selects inside the LLM, for one answer; choose a method before the LLM.")
    source = source_of(options)
    data, out = source.open(), path_of(options.out)
    facts = {
        "format": FORMAT,
        "data": data.name,
        "fingerprint": data.fingerprint(),
        "rows": len(data.items),
        "rows_per_file": options.rows_per_file,
        **{name: value for name, value in asdict(pruning).items() if name not in ("device", "batch_size")},
    }
    out.mkdir(parents=True, exist_ok=True)
    _check_facts(out, facts)
    parts = parts_of(len(data.items), options.rows_per_file)
    left = [part for part in parts if not (out / f"{part.name}.parquet").exists()]
    print(f"{data.name}: {len(data.items):,} rows, {len(left):,} of {len(parts):,} parts to go")
    omitted: list[str] = []
    for done in tqdm(_done(options, source, pruning, left), total=len(left), unit=" parts", disable=not left):
        omitted += done.omitted
    for line in omitted[:10]:
        print(f"left out: {line}", file=sys.stderr)
    if len(omitted) > 10:
        print(f"… and {len(omitted) - 10:,} more", file=sys.stderr)
    return 0


def _done(
    options: argparse.Namespace, source: DataSource, pruning: Pruning, parts: Sequence[Part]
) -> Iterator[PartDone]:
    if not parts:
        return
    arguments = (source, pruning, options.out)
    if options.ray:
        from adafv_core.backends.ray_data import mapped

        yield from mapped(PartPruner, arguments, parts, address=options.ray_address, workers=options.ray_workers)
    else:
        yield from map(PartPruner(*arguments), parts)


def _check_facts(out: Any, facts: dict[str, Any]) -> None:
    """Write what the folder holds, or hold it against what it was begun with."""
    file = out / FACTS
    if not file.exists():
        _write(file, (json.dumps(facts, indent=1) + "\n").encode())
        return
    try:
        there = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        there = {}
    for name, value in facts.items():
        if there.get(name) != value:
            raise InputError(
                f"{out.name} was begun with another {name}: {there.get(name)!r} there, {value!r} here. Name another "
                "folder."
            )


def _write(file: Any, content: bytes) -> None:
    """Write a file so that it is never there in part."""
    draft = file.with_name(f".{file.name}.part")
    draft.write_bytes(content)
    draft.rename(file)
