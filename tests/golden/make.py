"""Makes every golden fixture again, byte for byte, with the versions of requirements.txt:

    OMP_NUM_THREADS=1 python tests/golden/make.py            (all)
    OMP_NUM_THREADS=1 python tests/golden/make.py models     (make_models.py and so on)

Each make_*.py runs in a process of its own, so that what one of them patches or warms up cannot reach another.
make_ldm.py is a part of make_models.py.
"""

import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
# Adapters and files build on the models, so those come first; whatever else is there follows.
FIRST = ["models", "adapters", "merges"]


def main() -> int:
    found = {p.stem.removeprefix("make_"): p for p in HERE.glob("make_*.py") if p.stem != "make_ldm"}
    order = FIRST + sorted(set(found) - set(FIRST))
    wanted = sys.argv[1:] or order
    if unknown := set(wanted) - set(found):
        print(f"no such part: {', '.join(sorted(unknown))} (there are {', '.join(order)})", file=sys.stderr)
        return 2
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0", "HF_HUB_OFFLINE": "1"}
    for name in [n for n in order if n in wanted]:
        print(f"== {found[name].name}", flush=True)
        subprocess.run([sys.executable, str(found[name])], check=True, env=env, cwd=HERE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
