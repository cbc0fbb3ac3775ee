#!/bin/sh
# The main job: recordings become episodes, are checked, and leave as an action-tokenized dataset.
set -eu
out=${1:-demo}
here=$(dirname "$0")
rm -rf "$out"
mkdir -p "$out"

run() {
    printf '\n$ vladata'
    printf ' %s' "$@"
    printf '\n'
    vladata "$@"
}

run inspect "$here/recordings/demo_000.mcap"
run ingest "$here/recordings" --schema sample_arm -o "$out/dataset"
run ls "$out/dataset"
run show "$out/dataset" 0 --contact-sheet "$out/episode_0.png"
run validate "$out/dataset" --fail-on never --html "$out/report.html" --quarantine
# Exit code 3: two steps of demo_002 have no image of the wrist camera and are left out.
run export "$out/dataset" -o "$out/shards" --split train=0.8 --split validation=0.2 || test $? -eq 3
run verify "$out/shards"

printf '\n$ python: datasets.load_dataset("%s/shards")\n' "$out"
HF_HUB_OFFLINE=1 HF_DATASETS_DISABLE_PROGRESS_BARS=1 python - "$out" <<'PYTHON'
import sys

from datasets import load_dataset

out = sys.argv[1]
shards = load_dataset(f"{out}/shards", cache_dir=f"{out}/cache")
print(shards)
row = shards["train"][0]
print("task        ", row["task"])
print("action      ", [round(v, 3) for v in row["action"]])
print("action_codes", row["action_codes"][:7], "…")
PYTHON
