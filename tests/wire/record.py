"""`python -m tests.wire.record`: write the snapshots anew. Read every difference before you keep it."""

import asyncio
import json

from tests.wire.capture import HERE, VARIANTS, snapshot_of

SNAPSHOTS = HERE / "snapshots"


def written(snapshot: object) -> str:
    """Write a snapshot as it is stored."""
    return json.dumps(snapshot, indent=1, ensure_ascii=False) + "\n"


async def main() -> None:
    """Write one file for each kind of account."""
    for variant in VARIANTS:
        path = SNAPSHOTS / f"{variant}.json"
        path.write_text(written(await snapshot_of(variant)), "utf-8")
        print(f"wrote {path.name}")


if __name__ == "__main__":
    asyncio.run(main())
