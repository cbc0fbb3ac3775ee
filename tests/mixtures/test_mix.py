"""try"""

import json

from vladata.mixtures.mix import mix


def test_it(recipe, parts, tmp_path):
    path = recipe(*parts("arm", "aloha", "small"), epoch_rows=300)
    import time

    t = time.time()
    done = mix(path, tmp_path / "out", workers=0)
    print(time.time() - t)
    print(json.dumps(done.to_dict(), indent=1))
    print((tmp_path / "out/README.md").read_text())
    print((tmp_path / "out/manifest.json").read_text())
    path = recipe(*parts("arm", "aloha", "small"), epoch_rows=300, layout="apart")
    done = mix(path, tmp_path / "out2", workers=0)
    print((tmp_path / "out2/README.md").read_text())
    import pyarrow.parquet as pq

    print(pq.read_table(tmp_path / "out2/epoch.parquet").slice(0, 10).to_pylist())
    assert 0
