"""Saved runs: one question about its images as a JSON file, with scores, selection, settings, answers and pictures.

    run = adafv_core.read_run(Path("adafv-run.json").read_bytes())
    run.scores.t2i, run.selection.indices, run.answers["pruned"]["text"]
    adafv_core.get_method("adafv").select(run.scores, budget=10)    # another keep ratio, no model needed

`write_run` returns the text of such a file. The format is declared in `format.py`.
"""

from adafv_core.saved_run.format import MOST_BYTES, VERSION
from adafv_core.saved_run.read import read_run
from adafv_core.saved_run.run import SavedImage, SavedRun
from adafv_core.saved_run.write import write_run

__all__ = ["MOST_BYTES", "VERSION", "SavedImage", "SavedRun", "read_run", "write_run"]
