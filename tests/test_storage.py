"""The file of a network: it comes back to the bit, is whole or not there, and nothing else passes for one."""

import errno
import io
import json
import os
import stat
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

import fastnn
from fastnn import storage

HEADER = {"layer_sizes": [3, 4, 1], "l2": 0.1, "nothing": None, "näme": [True, {"a": 1e-300}]}
ARRAYS = {
    "parameters": np.linspace(-1, 1, 21, dtype="float32"),
    "optimizer.m": np.full((2, 3), 1 / 3),
    "no_rows": np.zeros((0, 5), "float32"),
    "step": np.array(7),
    "special": np.array([np.nan, np.inf, -0.0, 5e-324]),
    "flags": np.array([True, False]),
    "rng": np.array([2**64 - 1, 0], np.uint64),
}
FEW = {"parameters": np.linspace(-1, 1, 5, dtype="float32"), "step": np.array(7)}  # for what is read a thousand times
posix = pytest.mark.skipif(os.name != "posix", reason="permissions and links as POSIX has them")


@pytest.fixture
def path(tmp_path):
    """Return the path of a good file, alone in its folder."""
    folder = tmp_path / "folder"
    folder.mkdir()
    storage.write(folder / "net.npz", HEADER, ARRAYS)
    return folder / "net.npz"


def assert_same(read, header=HEADER, arrays=ARRAYS):
    found_header, found = read
    assert found_header == header
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype.newbyteorder("=")
        assert found[name].shape == array.shape
        assert found[name].tobytes() == array.astype(array.dtype.newbyteorder("=")).tobytes()


def refuses(path, message):
    return pytest.raises(ValueError, match=f"^cannot load .*{path.name}: {message}")


def archive_of(members, **options):
    """Return the bytes of a zip archive with these members: bytes, or arrays in NumPy's format."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", **options) as archive:
        for name, content in members:
            if isinstance(content, np.ndarray):
                data = io.BytesIO()
                np.save(data, content)
                content = data.getvalue()
            archive.writestr(name, content)
    return buffer.getvalue()


def header_of(**changes):
    """Return a header member for one array `a` of two numbers, with such changes."""
    description = {"format": "fastnn.MLP", "version": 1, "fastnn": "0.1.0", "arrays": {"a": ["<f8", [2]]}, "header": {}}
    text = json.dumps({key: value for key, value in (description | changes).items() if value != "gone"})
    return "header.npy", np.frombuffer(text.encode(), np.uint8)


class TestRoundTrip:
    """What is written comes back."""

    def test_everything(self, path):
        assert_same(storage.read(path))
        assert all(array.flags.writeable for array in storage.read(path)[1].values())

    def test_numpy_reads_it(self, path):
        with np.load(path, allow_pickle=False) as archive:
            for name, array in ARRAYS.items():
                np.testing.assert_array_equal(archive[name], array)
            description = json.loads(archive["header"].tobytes())
        assert (description["format"], description["version"]) == ("fastnn.MLP", 1)
        assert (description["fastnn"], description["header"]) == (fastnn.__version__, HEADER)

    def test_nothing_much(self, tmp_path):
        storage.write(tmp_path / "a", {}, {})
        assert storage.read(tmp_path / "a") == ({}, {})

    @pytest.mark.parametrize("dtype", storage.DTYPES)
    def test_dtypes_and_layouts(self, tmp_path, dtype):
        array = np.arange(24).reshape(4, 6).astype(dtype)
        arrays = {
            "C": array,
            "F": np.asfortranarray(array),
            "view": array[::-2, ::3],
            "big": array.astype(f">{dtype[1:]}"),
        }
        storage.write(tmp_path / "a", {}, arrays)
        assert_same(storage.read(tmp_path / "a"), {}, arrays)

    def test_more_than_a_chunk(self, tmp_path):
        arrays = {"a": np.random.default_rng(0).random((3, 2**17 + 1))}
        storage.write(tmp_path / "a", {}, arrays)
        assert_same(storage.read(tmp_path / "a"), {}, arrays)

    def test_same_content_same_bytes(self, path):
        before = path.read_bytes()
        storage.write(path, HEADER, ARRAYS)
        assert path.read_bytes() == before

    def test_a_path_with_a_null_character(self):
        for act in (lambda path: storage.write(path, {}, {}), storage.read):
            with pytest.raises(ValueError, match=r"^path must not hold a null character; got 'a\\x00b'"):
                act("a\0b")

    def test_paths(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        for path in ("net", "net.npz", b"net.model", Path("ü.npz"), "n" * 250):
            storage.write(path, HEADER, {})
            assert os.path.exists(path)
            assert storage.read(path) == (HEADER, {})
        assert len(os.listdir()) == 5


class TestWriting:
    """The old file or the new one, and nothing beside it."""

    def test_replaces(self, path):
        storage.write(path, {"new": 1}, {})
        assert storage.read(path) == ({"new": 1}, {})
        assert os.listdir(path.parent) == [path.name]

    @pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, OSError(errno.ENOSPC, "No space left")])
    @pytest.mark.parametrize("where", ["np.lib.format.write_array", "os.fsync", "os.replace"])
    def test_a_failure_leaves_the_old_file(self, path, monkeypatch, error, where):
        before = path.read_bytes()

        def fail(*arguments, **options):
            raise error

        owner = np.lib.format if where.startswith("np.") else os
        with monkeypatch.context() as patched:
            patched.setattr(owner, where.rpartition(".")[2], fail)
            with pytest.raises(error if isinstance(error, type) else type(error)):
                storage.write(path, {"new": 1}, ARRAYS)
            with pytest.raises(error if isinstance(error, type) else type(error)):
                storage.write(path.with_name("other"), {"new": 1}, ARRAYS)
        assert os.listdir(path.parent) == [path.name]
        assert path.read_bytes() == before

    def test_the_file_is_on_the_disk_before_it_is_in_place(self, path, monkeypatch):
        calls = []
        for name in ("fsync", "replace"):
            original = getattr(os, name)
            monkeypatch.setattr(os, name, lambda *a, f=original, n=name: (calls.append(n), f(*a)))
        storage.write(path, HEADER, ARRAYS)
        assert calls[:2] == ["fsync", "replace"]
        assert calls[2:] == (["fsync"] if os.name == "posix" else calls[2:])

    @pytest.mark.parametrize(
        ("header", "arrays", "error", "message"),
        [
            ({"a": {1, 2}}, {}, TypeError, "JSON serializable"),
            ({}, {"header": np.zeros(1)}, ValueError, "names of arrays must be .*; got 'header'"),
            ({}, {"": np.zeros(1)}, ValueError, "names of arrays must be .*; got ''"),
            ({}, {"../a": np.zeros(1)}, ValueError, "names of arrays must be .*; got '../a'"),
            ({}, {"a": np.array([None])}, TypeError, "array 'a' must hold booleans, .*; got object"),
            ({}, {"a": np.array(["x"])}, TypeError, "array 'a' must hold"),
            ({}, {"a": np.zeros(1, complex)}, TypeError, "array 'a' must hold"),
            ({}, {"a": np.zeros(1, "f4,f4")}, TypeError, "array 'a' must hold"),
            ({}, {"a": np.zeros(1, "M8[s]")}, TypeError, "array 'a' must hold"),
        ],
        ids=str,
    )
    def test_what_cannot_be_written(self, tmp_path, header, arrays, error, message):
        with pytest.raises(error, match=message):
            storage.write(tmp_path / "a", header, arrays)
        assert os.listdir(tmp_path) == []

    def test_no_folder(self, tmp_path):
        """The error names the path that was asked for, not the temporary file's."""
        path = tmp_path / "no" / "net.npz"
        with pytest.raises(FileNotFoundError) as caught:
            storage.write(path, {}, {})
        assert os.fspath(caught.value.filename) == os.path.realpath(path)

    def test_no_file(self, tmp_path):
        with pytest.raises(ValueError, match="path must name a file; got"):
            storage.write(tmp_path, {}, {})
        for function in (lambda path: storage.write(path, {}, {}), storage.read):
            for path in (3, None, ["a"]):
                with pytest.raises(TypeError, match=r"path must be a str or os\.PathLike; got"):
                    function(path)

    @posix
    def test_no_device(self):
        with pytest.raises(ValueError, match="path must name a file; got '/dev/null'"):
            storage.write("/dev/null", {}, {})
        assert stat.S_ISCHR(os.stat("/dev/null").st_mode)

    @posix
    @pytest.mark.parametrize("mask", [0o022, 0o077, 0o002, 0])
    def test_permissions_of_a_new_file(self, tmp_path, mask):
        before = os.umask(mask)
        try:
            storage.write(tmp_path / "a", {}, {})
        finally:
            os.umask(before)
        assert stat.S_IMODE(os.stat(tmp_path / "a").st_mode) == 0o666 & ~mask

    @posix
    @pytest.mark.parametrize("mode", [0o600, 0o640, 0o666])
    def test_permissions_are_kept(self, path, mode):
        path.chmod(mode)
        storage.write(path, {}, {})
        assert stat.S_IMODE(path.stat().st_mode) == mode

    @posix
    def test_a_link_stays(self, path):
        link = path.with_name("link")
        link.symlink_to(path.name)
        storage.write(link, {"new": 1}, {})
        assert link.is_symlink()
        assert storage.read(path) == ({"new": 1}, {})


class TestReading:
    """Whatever the file, it is the network that was saved or one line that says what is wrong."""

    @pytest.fixture
    def data(self, path):
        """Return the bytes of a small file."""
        storage.write(path, HEADER, FEW)
        return path.read_bytes()

    def test_missing(self, tmp_path):
        with pytest.raises(FileNotFoundError):
            storage.read(tmp_path / "net.npz")

    def test_folder(self, tmp_path):
        with pytest.raises(OSError):  # noqa: PT011 - which one is the system's choice
            storage.read(tmp_path)

    @staticmethod
    def attempt(path, data):
        """Return whether data is refused; if not it must be what was saved."""
        path.write_bytes(data)
        try:
            read = storage.read(path)
        except ValueError as error:
            read, message = None, str(error)
        if read is None:
            assert message.startswith(f"cannot load {path}: it ")
            assert len(message.splitlines()) == 1
        else:
            assert_same(read, arrays=FEW)
        return read is None

    def test_truncated_anywhere(self, path, data):
        for length in range(len(data)):
            assert self.attempt(path, data[:length]), length

    def test_the_middle_missing(self, path, data):
        for cut in np.random.default_rng(2).integers(1, len(data), (500, 2)):
            start, end = sorted(cut)
            assert start == end or self.attempt(path, data[:start] + data[end:])

    def test_flipped_bits(self, path, data):
        """A byte that is not a date or another thing of no consequence is found out."""
        rng = np.random.default_rng(3)
        refused = [
            self.attempt(path, data[:i] + bytes([data[i] ^ 1 << rng.integers(8)]) + data[i + 1 :])
            for i in range(len(data))
        ]
        n_content = sum(info.file_size for info in zipfile.ZipFile(io.BytesIO(data)).infolist())
        assert sum(refused) >= n_content

    def test_scrambled(self, path, data):
        """Several bytes at once, from the file's own alphabet."""
        data, rng = np.frombuffer(data, np.uint8), np.random.default_rng(4)
        for _ in range(1000):
            scrambled = data.copy()
            where = rng.integers(0, len(data), rng.integers(2, 20))
            scrambled[where] = rng.choice(data, len(where))
            self.attempt(path, scrambled.tobytes())

    @pytest.mark.parametrize("start", [b"", b"PK\3\4", b"PK\5\6", b"\x93NUMPY"])
    def test_noise(self, path, start):
        rng = np.random.default_rng(5)
        for length in [0, 1, 18, 22, *rng.integers(0, 3000, 100)]:
            assert self.attempt(path, start + rng.bytes(length))

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"\x80\x04\x95pickle",
            json.dumps({"format": "fastnn.MLP", "version": 1}).encode(),
            archive_of([]),
            archive_of([("a.npy", np.zeros(2))]),
            archive_of([("word/document.xml", b"<xml/>")]),
            archive_of([header_of(format="another"), ("a.npy", np.zeros(2))]),
            archive_of([("header.npy", np.frombuffer(b"[]", np.uint8))]),
        ],
        ids=["empty", "pickle", "json", "no members", "npz", "docx", "another format", "list"],
    )
    def test_foreign(self, path, content):
        path.write_bytes(content)
        with refuses(path, "it is not a file of fastnn.MLP$"):
            storage.read(path)

    def test_newer(self, path):
        path.write_bytes(archive_of([header_of(version=2, fastnn="9.9.9", arrays="another layout")]))
        with refuses(path, "it has version 2 of the format, and fastnn .* reads up to version 1; use fastnn 9.9.9, "):
            storage.read(path)

    @pytest.mark.parametrize(
        "changes",
        [
            {"version": "1"},
            {"version": 0},
            {"version": True},
            {"version": "gone"},
            {"arrays": "gone"},
            {"arrays": ["a"]},
            {"header": "gone"},
            {"header": []},
            {"arrays": {"a": "<f8"}},
            {"arrays": {"a": ["<f8"]}},
            {"arrays": {"a": ["<f8", [2], 0]}},
            {"arrays": {"a": ["|O", [2]]}},
            {"arrays": {"a": ["<c16", [2]]}},
            {"arrays": {"a": ["O", [2]]}},
            {"arrays": {"a": [["<f8"], [2]]}},
            {"arrays": {"a": ["<f8", 2]}},
            {"arrays": {"a": ["<f8", [-2]]}},
            {"arrays": {"a": ["<f8", [2.0]]}},
            {"arrays": {"a": ["<f8", [True, 2]]}},
            {"arrays": {"a": ["<f8", [1] * 100]}},
            {"arrays": {"a": ["<f8", [3]]}},
            {"arrays": {"a": ["<f8", [2, 1]]}},
            {"arrays": {"a": ["<f8", [2**62]]}},
            {"arrays": {"a": ["<f8", [0, 2**62]]}},
            {"arrays": {"a": ["<i8", [2]]}},
            {"arrays": {"a": ["<f4", [2]]}},
            {"arrays": {}},
            {"arrays": {"a": ["<f8", [2]], "b": ["<f8", [2]]}},
            {"arrays": {"b": ["<f8", [2]]}},
        ],
        ids=str,
    )
    def test_header_and_arrays_that_disagree(self, path, changes):
        path.write_bytes(archive_of([header_of(), ("a.npy", np.zeros(2))]))
        assert list(storage.read(path)[1]) == ["a"]
        path.write_bytes(archive_of([header_of(**changes), ("a.npy", np.zeros(2))]))
        with refuses(path, "it"):
            storage.read(path)

    @pytest.mark.parametrize("text", [b"\xff", b"{", b"[" * 10**5, b"9" * 10**5, b'{"format": "fastnn.MLP"}x'])
    def test_header_that_is_no_json(self, path, text):
        path.write_bytes(archive_of([("header.npy", np.frombuffer(text, np.uint8))]))
        with refuses(path, "it is truncated or damaged"):
            storage.read(path)

    @pytest.mark.parametrize(
        "array",
        [np.zeros(2, ">f8"), np.zeros(2, "f4,f4"), np.zeros(3), np.zeros(1), np.zeros((2, 1)), np.zeros((1, 2)).T],
        ids=repr,
    )
    def test_array_of_another_kind(self, path, array):
        path.write_bytes(archive_of([header_of(), ("a.npy", array)]))
        with refuses(path, "it is damaged: a.npy has not the size and dtype that the header gives it"):
            storage.read(path)

    def test_object_array(self, path):
        """A pickle in an array's place is not even looked at."""

        class Bomb:
            def __reduce__(self):
                return (sys.exit, ("the pickle was executed",))

        for arrays in ({"a": ["<f8", [2]]}, {"a": ["|O", [1]]}):
            path.write_bytes(archive_of([header_of(arrays=arrays), ("a.npy", np.array([Bomb()], object))]))
            with refuses(path, "it"):
                storage.read(path)

    def test_zip_bombs(self, path):
        zeros = np.zeros(10**6)
        arrays = {"a": ["<f8", [10**6]]}
        path.write_bytes(archive_of([header_of(arrays=arrays), ("a.npy", zeros)], compression=zipfile.ZIP_DEFLATED))
        assert path.stat().st_size < 50_000
        with refuses(path, "it is compressed, and fastnn writes no compressed files$"):
            storage.read(path)

    def test_members_that_share_their_bytes(self, path):
        """Many entries of the directory that lead to one array."""
        data = archive_of([header_of(), ("a.npy", np.zeros(2)), ("b.npy", np.zeros(2))])
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            first, second = archive.getinfo("a.npy").header_offset, archive.getinfo("b.npy").header_offset
        at = data.rindex(b"PK\1\2") + 42  # where the last entry says where its member begins
        assert data[at : at + 4] == second.to_bytes(4, "little")
        path.write_bytes(data[:at] + first.to_bytes(4, "little") + data[at + 4 :])
        with refuses(path, "it"):
            storage.read(path)

    @pytest.mark.filterwarnings("ignore:Duplicate name")
    def test_two_members_of_one_name(self, path):
        path.write_bytes(archive_of([header_of(), ("a.npy", np.zeros(2)), ("a.npy", np.ones(2))]))
        with refuses(path, "it is damaged: its parts overlap"):
            storage.read(path)

    @pytest.mark.parametrize("offset", [2**32, 2**62, 2**63, 2**64 - 1])
    def test_members_that_begin_nowhere(self, path, offset):
        buffer = io.BytesIO(archive_of([header_of(), ("a.npy", np.zeros(2))]))
        with zipfile.ZipFile(buffer, "a") as archive:
            archive.getinfo("a.npy").header_offset = offset
            archive.writestr("another", b"")
        path.write_bytes(buffer.getvalue())
        with refuses(path, "it is"):
            storage.read(path)

    def test_a_member_that_is_shorter_than_it_says(self, path):
        """With the checksum of what is there."""
        array = io.BytesIO()
        np.save(array, np.zeros(2))
        short = array.getvalue()[:-8]
        data = bytearray(archive_of([header_of(), ("a.npy", short)]))
        at = data.rindex(b"PK\1\2")
        assert data[at + 24 : at + 28] == len(short).to_bytes(4, "little")
        data[at + 24 : at + 28] = (len(short) + 8).to_bytes(4, "little")
        path.write_bytes(data)
        with refuses(path, "it is damaged: a.npy is shorter than it says"):
            storage.read(path)

    def test_a_size_beyond_the_file(self, path):
        """The directory promises 2 GB: refused without asking for the memory."""
        data = bytearray(archive_of([header_of(), ("a.npy", np.zeros(2))]))
        at = data.rindex(b"PK\1\2")
        data[at + 20 : at + 28] = (2**31 - 1).to_bytes(4, "little") * 2
        path.write_bytes(data)
        with refuses(path, "it is damaged: its parts overlap"):
            storage.read(path)
