"""Files that are damaged, foreign, of a newer version or malicious: a named error, never half an operator."""

from __future__ import annotations

import hashlib
import json
import re

import numpy as np
import pytest
from safetensors.numpy import save_file

import curvature as cv
from curvature.operators import Block, BlockDiagonal, Dense, Diagonal, Kronecker, Partition


def sample():
    space = cv.ParameterSpace.of({"a": {"b": np.zeros(2), "w": np.zeros((2, 3))}, "z": np.zeros(3)})
    partition = Partition(space, (Block("l", (1, 0), ((2, 3), (2, 1)), axis=1), Block("z", (2,), ((3, 1),))))
    factors = [np.array([[2.0, 1.0], [1.0, 3.0]]), np.diag([1.0, 2.0, 3.0, 4.0])]
    return BlockDiagonal({"l": Kronecker(factors), "z": Dense(np.eye(3))}, partition=partition)


@pytest.fixture
def path(tmp_path):
    target = tmp_path / "x.safetensors"
    cv.save(sample(), target)
    return target


def header_end(raw):
    return 8 + int.from_bytes(raw[:8], "little")


def resealed(path, change=None, *, raw_change=None, arrays=None):
    """The file with another structure, metadata or arrays, and a digest that fits: damage that no checksum finds."""
    raw = path.read_bytes()
    end = header_end(raw)
    header = json.loads(raw[8:end])
    metadata = header["__metadata__"]
    structure = json.loads(metadata["structure"])
    if change is not None:
        structure = change(structure) or structure
    metadata["structure"] = json.dumps(structure)
    if raw_change is not None:
        raw_change(metadata)
    if arrays is not None:
        header = {"__metadata__": metadata} | arrays({k: v for k, v in header.items() if k != "__metadata__"})
    metadata["sha256"] = "0" * 64
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    content = len(text).to_bytes(8, "little") + text + raw[end:]
    digest = hashlib.sha256(content).hexdigest().encode()
    path.write_bytes(content.replace(b'"sha256":"' + b"0" * 64, b'"sha256":"' + digest))


def is_refused(path):
    """Whether loading raises our error and names the file."""
    try:
        cv.load(path)
    except cv.FileFormatError as error:
        return str(path) in str(error)
    return False


def test_resealing_by_itself_changes_nothing(path):
    resealed(path)
    np.testing.assert_array_equal(cv.load(path).to_dense(), sample().to_dense())


def test_every_truncation_is_found(path):
    raw = path.read_bytes()
    with path.open("r+b", buffering=0) as file:
        for length in reversed(range(len(raw))):
            file.truncate(length)
            assert is_refused(path), length
    path.write_bytes(raw + b"\0")
    with pytest.raises(cv.FileFormatError, match="SHA-256 differs"):
        cv.load(path)


@pytest.mark.parametrize("mask", [0x01, 0x20, 0x80, 0xFF])
def test_every_flipped_byte_is_found(path, mask):
    raw = path.read_bytes()
    with path.open("r+b", buffering=0) as file:
        for position, byte in enumerate(raw):
            file.seek(position)
            file.write(bytes([byte ^ mask]))
            assert is_refused(path), position
            file.seek(position)
            file.write(bytes([byte]))
    assert path.read_bytes() == raw
    np.testing.assert_array_equal(cv.load(path).to_dense(), sample().to_dense())


def test_bytes_that_changed_places_are_found(path):
    raw = path.read_bytes()
    end = header_end(raw)
    path.write_bytes(raw[:end] + raw[end + 8 :] + raw[end : end + 8])
    with pytest.raises(cv.FileFormatError, match="SHA-256 differs"):
        cv.load(path)


def test_no_file(tmp_path):
    with pytest.raises(cv.MissingFileError, match=r"there is no file .*nothing\.safetensors"):
        cv.load(tmp_path / "nothing.safetensors")
    assert issubclass(cv.MissingFileError, FileNotFoundError)
    assert issubclass(cv.MissingFileError, cv.FileFormatError)


def test_a_folder(tmp_path):
    with pytest.raises(cv.FileFormatError, match="no file but a folder"):
        cv.load(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 7,
        b"\0" * 8,
        b"\0" * 200,
        b"PK\x03\x04" + b"\0" * 100,
        b"\x80\x04N." * 20,
        b"\xff" * 100,
        b"name,value\n1,2\n" * 9,
    ]
    + [len(text).to_bytes(8, "little") + text for text in (b"{}", b"[]", b"null", b"{", b"[" * 100_000, b'{"__metadata__":[]}')],
    ids=lambda content: f"{len(content)} bytes {content[:12]!r}",
)
def test_foreign_files(tmp_path, content):
    path = tmp_path / "x"
    path.write_bytes(content)
    with pytest.raises(cv.FileFormatError, match=re.escape(str(path))):
        cv.load(path)


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {"structure": "{}", "sha256": "0" * 64}])
def test_a_safetensors_file_of_somebody_else(tmp_path, metadata):
    save_file({"weight": np.ones(3)}, tmp_path / "x", metadata=metadata)
    with pytest.raises(cv.FileFormatError, match=r"not written by curvature.save; try safetensors.numpy.load_file"):
        cv.load(tmp_path / "x")


def test_a_newer_version(path):
    def newer(metadata):
        metadata["format_version"], metadata["library_version"] = "2", "7.1"

    resealed(path, raw_change=newer)
    with pytest.raises(cv.FileFormatError, match=r"version 2 of the format, written by curvature 7\.1; .* pip install --upgrade"):
        cv.load(path)


@pytest.mark.parametrize("stated", ["", "0", "-1", "1.0", "one", "²", "9" * 5000])
def test_a_version_that_is_none(path, stated):
    resealed(path, raw_change=lambda metadata: metadata.update(format_version=stated))
    with pytest.raises(cv.FileFormatError, match="states the format version"):
        cv.load(path)


@pytest.mark.parametrize("name", ["format", "format_version", "structure", "sha256"])
def test_metadata_that_is_missing(path, name):
    raw = path.read_bytes()
    end = header_end(raw)
    header = json.loads(raw[8:end])
    del header["__metadata__"][name]
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + raw[end:])
    with pytest.raises(cv.FileFormatError):
        cv.load(path)


# With a digest that fits ---------------------------------------------------------------------------


def nodes(structure, kind):
    """All nodes of one type."""
    if isinstance(structure, dict):
        if structure.get("type") == kind:
            yield structure
        structure = list(structure.values())
    if isinstance(structure, list):
        for entry in structure:
            yield from nodes(entry, kind)


def first(kind, **changes):
    return lambda structure: next(nodes(structure, kind)).update(changes)


def without(kind, name):
    def change(structure):
        del next(nodes(structure, kind))[name]

    return change


def wrap(node, name):
    node[name] = {"type": "list", "items": [node[name]]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (first("array", name="elsewhere"), "'elsewhere' is missing"),
        (first("array", dtype="float32"), "stored as .*float64.* where .*float32.* is expected"),
        (first("array", dtype="object"), "unknown dtype, 'object'"),
        (first("array", shape=[4, 1]), "where .*4, 1.* is expected"),
        (first("array", shape="2"), "where a list of sizes should be"),
        (first("array", shape=[-1]), "where a list of sizes should be"),
        (first("array", type="list"), "belongs nowhere"),
        (first("ordered-dict", items=3), "belongs nowhere"),
        (first("parameter", shape=[7]), "its partition does not fit together: 'a.b' has 7 entries, not 2 × 1"),
        (first("parameter", shape=[10**9] * 9), "a shape in its parameter space does not fit"),
        (first("parameter", shape=[1] * 100), "a shape in its parameter space does not fit"),
        (first("parameter", type="wish"), "where a parameter should be"),
        (first("partition", blocks=[]), "its partition does not fit together: .* missing"),
        (first("partition", blocks=[{"name": "l", "leaves": [9], "shapes": [[1, 1]], "axis": 0}]), "has the block"),
        (first("operator", parts=None), "belongs nowhere"),
        (lambda structure: wrap(next(nodes(structure, "operator")), "parts"), "its BlockDiagonal does not fit together"),
        (lambda structure: wrap(list(nodes(structure, "operator"))[-1], "parts"), "its Dense does not fit together"),
        (lambda structure: wrap(structure["parts"]["items"][1], 1), "its BlockDiagonal does not fit together"),
        (first("operator", **{"class": 3}), "without the field 'class'"),
        (lambda structure: structure["parts"]["items"].append(["a"]), "a key and a value"),
        (without("space", "tree"), "without the field 'tree'"),
        (lambda structure: next(nodes(structure, "space"))["tree"].update(items=3), "without the field 'items'"),
        (without("array", "name"), "without the field 'name'"),
        (lambda structure: {"type": "code", "value": "import os"}, "belongs nowhere"),
        (lambda structure: [structure], "a node that nobody knows"),
        (lambda structure: {"type": "list", "items": [structure, structure]}, "is used twice"),
        (lambda structure: {"type": "list", "items": [structure, {"type": "code"}]}, "a node that nobody knows"),
        (lambda structure: {"type": "list", "items": [structure, {"type": "float", "value": "1"}]}, "is no number"),
        (lambda structure: {"type": "dict", "items": [["a", 1], ["a", structure]]}, "a key twice"),
        (lambda structure: {"type": "dict", "items": [[[], structure]]}, "no key of a dictionary"),
    ],
)
def test_a_structure_that_does_not_fit(path, change, message):
    resealed(path, change)
    with pytest.raises(cv.FileFormatError, match=message) as caught:
        cv.load(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "the structure cannot be read"),
        ("[" * 100_000, "the structure cannot be read"),
        ("", "the structure cannot be read"),
    ],
)
def test_a_structure_that_is_no_json(path, text, message):
    resealed(path, raw_change=lambda metadata: metadata.update(structure=text))
    with pytest.raises(cv.FileFormatError, match=message):
        cv.load(path)


@pytest.mark.parametrize("depth", [300, 5000])
def test_a_structure_that_is_too_deep(path, depth):
    def deep(metadata):
        start, stop = '{"type":"list","items":[' * depth, "]}" * depth
        metadata["structure"] = start + metadata["structure"] + stop

    resealed(path, raw_change=deep)
    if not is_refused(path):
        loaded = cv.load(path)
        for _ in range(depth):
            (loaded,) = loaded
        np.testing.assert_array_equal(loaded.to_dense(), sample().to_dense())


def test_an_array_that_is_not_stored(path):
    resealed(path, arrays=lambda entries: dict(list(entries.items())[:-1]))
    with pytest.raises(cv.FileFormatError, match=re.escape(str(path))):
        cv.load(path)


def test_an_array_that_belongs_nowhere(path):
    def added(entries):
        (stop,) = {max(entry["data_offsets"][1] for entry in entries.values())}
        return entries | {"stowaway": {"dtype": "F64", "shape": [0], "data_offsets": [stop, stop]}}

    resealed(path, arrays=added)
    with pytest.raises(cv.FileFormatError, match="'stowaway' belongs nowhere"):
        cv.load(path)


@pytest.mark.parametrize("offsets", [[0, 8], [0, 10**9], [-8, 0], "0", [72, 0]])
def test_offsets_that_do_not_fit(path, offsets):
    def moved(entries):
        name = next(iter(entries))
        return entries | {name: entries[name] | {"data_offsets": offsets}}

    resealed(path, arrays=moved)
    with pytest.raises(cv.FileFormatError, match=re.escape(str(path))):
        cv.load(path)


def test_nothing_is_imported_for_a_file(path):
    """A namedtuple or an operator of a module that is not imported does not import it."""
    import sys

    assert "this" not in sys.modules
    resealed(path, first("operator", module="this"))
    with pytest.raises(cv.UnknownKindError, match="import 'this' before loading"):
        cv.load(path)
    cv.save({"x": 1}, path)
    node = {"type": "namedtuple", "module": "this", "class": "s", "fields": ["a"], "items": [1]}
    resealed(path, lambda structure: node)
    with pytest.warns(cv.ContainerWarning, match="s of this is not there"):
        assert cv.load(path)._fields == ("a",)
    assert "this" not in sys.modules


@pytest.mark.parametrize(("name", "fields"), [("s", ["a b"]), ("import", ["a"]), ("s", ["a=__import__('os')"]), ("s()", ["a"])])
def test_a_namedtuple_with_code_in_its_names(path, name, fields):
    cv.save({"x": 1}, path)
    resealed(path, lambda structure: {"type": "namedtuple", "module": "m", "class": name, "fields": fields, "items": [1]})
    with pytest.raises(cv.FileFormatError, match="is no namedtuple"):
        cv.load(path)


def test_a_class_that_is_no_namedtuple_is_not_called(path):
    cv.save({"x": 1}, path)
    node = {"type": "namedtuple", "module": "subprocess", "class": "Popen", "fields": ["args"], "items": ["true"]}
    resealed(path, lambda structure: node)
    with pytest.warns(cv.ContainerWarning, match="Popen of subprocess is not there"):
        loaded = cv.load(path)
    assert isinstance(loaded, tuple)
    assert loaded == ("true",)


def test_a_class_that_is_no_operator_is_unknown(path):
    resealed(path, first("operator", **{"class": "Popen", "module": "subprocess", "written_by": "evil 1.0"}))
    with pytest.raises(cv.UnknownKindError, match=r"the kind 'Popen', written by evil 1\.0"):
        cv.load(path)


def test_parts_of_another_shape_are_refused(tmp_path):
    """The constructor's own checks are the last ones."""
    path = tmp_path / "x"
    cv.save(Diagonal(np.ones(4), space=cv.ParameterSpace.of({"w": np.ones((2, 2))})), path)
    resealed(path, first("parameter", shape=[3]))
    with pytest.raises(cv.FileFormatError, match="its Diagonal does not fit together: 4 diagonal entries do not fit 3"):
        cv.load(path)
