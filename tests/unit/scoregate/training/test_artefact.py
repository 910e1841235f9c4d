"""An artefact is written whole, under the name of its content, for its owner alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scoregate.errors import ArtefactCorrupt
from scoregate.models.artefact import MANIFEST, Artefact, champion, manifest_digest
from scoregate.training import artefact

FILES = {"model.ubj": b"forest", "card.md": b"# a card\n"}


def test_the_folder_is_named_by_the_digest_of_its_manifest(tmp_path: Path) -> None:
    """Whoever has the name can tell whether the content is what it names."""
    folder = artefact.write(tmp_path, FILES)
    manifest = json.loads((folder / MANIFEST).read_text())

    assert folder.name == manifest_digest(manifest)[:12]
    assert {*FILES, MANIFEST} == {p.name for p in folder.iterdir()}
    assert FILES == {name: (folder / name).read_bytes() for name in manifest}


def test_the_same_content_is_written_once(tmp_path: Path) -> None:
    """Writing again finds the folder and leaves nothing else behind; other content gets another name."""
    first = artefact.write(tmp_path, FILES)

    assert first == artefact.write(tmp_path, FILES)
    assert [first] == list(tmp_path.iterdir())
    assert first != artefact.write(tmp_path, {**FILES, "card.md": b"# another\n"})


def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    """Golden requests are real records: nobody else on the machine reads them."""
    folder = artefact.write(tmp_path, FILES)

    assert {0o600} == {p.stat().st_mode & 0o777 for p in folder.iterdir()}
    assert 0o700 == folder.stat().st_mode & 0o777


def test_a_failed_writing_leaves_nothing(tmp_path: Path) -> None:
    """A folder that is only half there never has a name that can be served."""
    with pytest.raises(IsADirectoryError):
        artefact.write(tmp_path, {"ok": b"1", ".": b"not a file"})

    assert [] == list(tmp_path.iterdir())


def test_the_first_artefact_becomes_the_champion(tmp_path: Path) -> None:
    """Without a champion there is nothing to serve, so the first one is taken."""
    folder = artefact.write(tmp_path, FILES)

    assert artefact.promote(tmp_path, folder, replace=False)
    assert folder == champion(tmp_path)


def test_a_later_artefact_waits_for_its_promotion(tmp_path: Path) -> None:
    """Training alone never changes what is served."""
    first = artefact.write(tmp_path, FILES)
    artefact.promote(tmp_path, first, replace=False)
    later = artefact.write(tmp_path, {**FILES, "card.md": b"# later\n"})

    assert not artefact.promote(tmp_path, later, replace=False)
    assert first == champion(tmp_path)
    assert artefact.promote(tmp_path, later, replace=True)
    assert later == champion(tmp_path)


def test_json_is_canonical_and_refuses_nan() -> None:
    """Equal values give equal bytes, and no reader meets a word that JSON does not have."""
    assert artefact.as_bytes({"b": 1, "a": 2.5}) == artefact.as_bytes({"a": 2.5, "b": 1})
    with pytest.raises(ValueError, match="JSON"):
        artefact.as_bytes({"a": float("nan")})


def test_a_changed_file_is_noticed_when_it_is_loaded(tmp_path: Path) -> None:
    """One byte of difference is enough to refuse the folder."""
    folder = artefact.write(tmp_path, FILES)
    (folder / "card.md").write_bytes(b"# A card\n")

    with pytest.raises(ArtefactCorrupt, match=r"card\.md"):
        Artefact.load(folder)
