"""The study: how much accuracy each method retains at each budget, and why, on data with known objects.

    python -m adafv_core.study --model pocket --methods all --keep 1.0 0.25 0.10 0.05
    python -m adafv_core.study.report.draw assets/results/pocket.json
    python -m adafv_core.study.report

items → runner (answers and measurements as JSON lines, resumable) → summary (one JSON file) → figures and tables.
"""
