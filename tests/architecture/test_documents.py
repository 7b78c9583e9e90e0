"""Pages that repeat the code are the code's."""

from docs.generate import pages


def test_generated_pages_are_in_sync() -> None:
    stale = [path.name for path, text in pages().items() if not path.exists() or path.read_text("utf-8") != text]
    assert not stale, f"run `make docs`: {stale}"
