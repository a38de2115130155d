"""A run's life: it works in ``OUT.work/``, goes on after any interruption, and ends by renaming a folder to OUT."""

import errno
import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from lathe.core import parallel
from lathe.core.bundle import Ancestor, Bundle, Manifest, is_bundle, seal
from lathe.core.card import card
from lathe.core.digest import digest_of, files_below, printable, sync_folder, sync_tree, write_json
from lathe.core.disk import writing
from lathe.core.errors import BundleError, DiskError, Stopped
from lathe.core.recipe import differences, dump
from lathe.core.report import quiet, say
from lathe.core.runtime import versions

LOG = "log.jsonl"
IDENTITY = "run.json"
OURS = {IDENTITY, f".{IDENTITY}.part", "lock"}
"""What every work folder has, and has first."""


@dataclass(frozen=True)
class Work:
    """The folder of a run that is under way."""

    path: Path  # OUT.work: what is put here survives a kill
    parents: tuple[Ancestor, ...]
    _unwritten: list[str] = field(default_factory=list)  # lines of the log that a full disk did not take

    @property
    def result(self) -> Path:
        """The folder that becomes OUT; empty when ``make`` starts."""
        return self.path / "result"

    @property
    def checkpoints(self) -> Path:
        """Where a training run saves itself; made with the first checkpoint."""
        return self.path / "checkpoints"

    def log(self, event: str, **values: Any) -> None:
        """Append one line to the run's log, which becomes part of the result; a full disk gets it later."""
        self._unwritten.append(
            json.dumps({"event": event, "time": round(time.time(), 3)} | values, ensure_ascii=False) + "\n"
        )
        try:
            self.flush_log()
        except DiskError as error:
            if len(self._unwritten) == 1:
                say(f"{error.found}; lines of the log wait in memory")

    def flush_log(self) -> None:
        """Write the lines that wait. Raises ``DiskError`` where the disk still takes none, and then writes no part."""
        if not self._unwritten:
            return
        lines = "".join(self._unwritten).encode()
        with writing(self.path / LOG, len(lines)), (self.path / LOG).open("ab", buffering=0) as stream:
            end = stream.seek(0, os.SEEK_END)
            if stream.write(lines) != len(lines):
                stream.truncate(end)
                raise OSError(errno.ENOSPC, "not written whole")
        self._unwritten.clear()

    def settle(self, name: str, choose: Callable[[], str]) -> str:
        """What was chosen when this run began: a choice that a later process might make otherwise is made once."""
        file = self.path / f"{name}.settled"
        if not file.is_file():
            write_json(file, choose())
        return str(_read_json(file))

    def described(self, made: Manifest) -> Manifest:
        """A manifest with what is known of the run."""
        identity = _read_json(self.path / IDENTITY)
        used = made.versions or versions()
        return replace(made, **identity, parents=self.parents, versions=used, rates=_rates(self))

    def finish_part(self, name: str, made: Manifest) -> None:
        """A folder of the result, whose files are complete, becomes a model by itself."""
        known = self.described(made)
        _write_card(self.result / name, known, name)
        seal(self.result / name, known)

    def rewind_log(self, step: int) -> None:
        """Drop lines of steps after ``step``: a run that goes on from a checkpoint takes them again."""
        kept = [line for line in read_log(self.path) if line.get("step", 0) <= step]
        part = self.path / f"{LOG}.part"
        part.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in kept), encoding="utf-8")
        part.replace(self.path / LOG)


def work_folder(out: Path) -> Path:
    """Where the run that makes ``out`` works, beside it; nothing is touched.

    Raises ``BundleError`` where ``out`` is no name for a new folder: ".", "..", or a folder that everything lives in.
    """
    everything = (os.path.realpath(os.sep), os.path.realpath(os.path.expanduser("~")))
    if out.name in ("", "..") or os.path.realpath(out) in everything:
        raise BundleError(f"{out}: is no name for a result; name a new folder, such as runs/mine")
    return out.with_name(out.name + ".work")


def run_stage(
    stage: str,
    recipe: Any,
    out: Path,
    inputs: Sequence[Path | None],
    make: Callable[[Work], Manifest],
    states: Mapping[str, str] = MappingProxyType({}),
) -> Bundle:
    """Run ``make`` once, whatever happens in between; the same call again returns or continues the same run.

    ``inputs`` are all files and folders the stage reads: their digests, with the recipe, say what run this is. What is
    read and is no file of the user's has its digest in ``states``, by name.
    ``make`` fills ``work.result`` and returns the manifest without what is known here.
    Raises ``BundleError`` where ``out`` or its work folder belongs to a different run.
    """
    parallel.refuse_several(stage)
    out = Path(out)
    work_path = work_folder(out)
    paths = list(dict.fromkeys(path for path in inputs if path is not None))
    options, digests = dump(recipe), {printable(path): digest_of(path) for path in paths} | dict(states)
    identity = {"stage": stage, "recipe": options, "inputs": digests}
    if not (out.exists() or out.is_symlink()):
        work = Work(work_path, tuple(Bundle.open(path).as_ancestor() for path in paths if is_bundle(path)))
        new_folders = [folder for folder in work_path.parents if not folder.exists()]  # the innermost one first
        with _locked(work_path):
            if not out.exists():  # nor has another process made it meanwhile
                _claim(work_path, identity)
                return _made(work, make, out, new_folders)
    bundle = _finished(out, identity)
    _clear(work_path, identity)
    return bundle


def _made(work: Work, make: Callable[[Work], Manifest], out: Path, new_folders: Sequence[Path]) -> Bundle:
    shutil.rmtree(work.result, ignore_errors=True)
    work.result.mkdir()
    try:
        with writing(work.path):
            made = make(work)
            work.flush_log()
            _publish(work, work.described(made), out)
    except Exception as error:  # whatever it was: a run that has saved nothing must not block the corrected one
        if not isinstance(error, Stopped) and not work.checkpoints.is_dir():
            _remove(work.path)
            _remove_empty(new_folders)
        raise
    return Bundle.open(out)


def run_together(
    stage: str, recipe: Any, out: Path, inputs: Sequence[Path | None], make: Callable[[Work], Manifest]
) -> Bundle:
    """`run_stage` in as many processes as torchrun started, for a stage that trains by `fit`.

    Rank 0 runs the stage. The others run ``make`` too, quietly, until its training releases them; what ``make`` writes
    before, it must write by `parallel.once`.
    """
    with parallel.joined():
        if not parallel.leads():
            return _follow(Path(out), make)
        bundle = run_stage(stage, recipe, out, inputs, partial(_lead, make))
        parallel.once(lambda: "made")
        return bundle


def _lead(make: Callable[[Work], Manifest], work: Work) -> Manifest:
    began, now = work.settle("ranks", lambda: str(parallel.ranks().size)), parallel.ranks().size
    if began != str(now):
        raise BundleError(
            f"{work.path}: this run began with {began} processes and would go on with {now}, not to the same weights; "
            f"go on with torchrun --nproc_per_node={began}, choose another -o, or delete it"
        )
    parallel.once(lambda: "make")
    with parallel.told_first():  # the others still read in the work folder that an error removes
        return make(work)


def _follow(out: Path, make: Callable[[Work], Manifest]) -> Bundle:
    if parallel.once(str) == "make":
        with quiet(), suppress(parallel.Released):
            make(Work(work_folder(out), ()))
        parallel.once(str)
    return Bundle.open(out)


def _remove_empty(folders: Sequence[Path]) -> None:
    for folder in folders:
        try:
            folder.rmdir()
        except OSError:  # another run has put something there
            return


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's log; what is no line of one, such as a last line cut off by a kill, is left out."""
    file = folder / LOG
    if not file.is_file():
        return []
    lines = []
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict) and "event" in found:
            lines.append(found)
    return lines


def _read_json(file: Path) -> Any:
    """What a run has noted in its work folder. Raises ``BundleError`` where that is damaged."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        raise BundleError(f"{file}: damaged; delete {file.parent} and run again, or choose another -o") from None


def _rates(work: Work) -> dict[str, float]:
    """Rows and tokens a second, over the optimizer steps that the log holds."""
    steps = [line for line in read_log(work.path) if line["event"] == "step"]
    seconds = sum(line["seconds"] for line in steps)
    return (
        {f"{unit}_per_second": round(sum(s[unit] for s in steps) / seconds, 1) for unit in ("rows", "tokens")}
        if steps
        else {}
    )


def _finished(out: Path, identity: Mapping[str, Any]) -> Bundle:
    if not out.exists():
        raise BundleError(f"{out}: is a link that leads nowhere; remove it, or choose another -o")
    if not is_bundle(out):
        raise BundleError(f"{out}: exists and is not a result of Lathe; choose another -o, or move it away")
    bundle = Bundle.open(out)
    made = bundle.manifest
    changed = differences({"stage": made.stage, "recipe": made.recipe, "inputs": made.inputs}, identity)
    if changed:
        raise BundleError(
            f"{out}: exists and was made by a different run; choose another -o, or delete it. What differs:\n"
            + "\n".join(f"  {line.removeprefix('recipe.')}" for line in changed)
        )
    return replace(bundle, reused=True)


def _clear(path: Path, identity: Mapping[str, Any]) -> None:
    """Remove what this run left where it was killed between its last rename and its end; another's folder stays."""
    if path.is_dir():
        with suppress(BundleError, OSError), _locked(path):  # suppressed: somebody works there, or we may not write
            file = path / IDENTITY
            if not file.is_file() or not differences(_read_json(file), dict(identity)):
                _remove(path)


def _remove(path: Path) -> None:
    """Remove a work folder; what every one has goes last, so that one which a kill leaves halfway is known as ours."""
    with suppress(OSError):  # what cannot be removed stays
        for inner in path.iterdir():
            if inner.is_dir() and not inner.is_symlink():
                shutil.rmtree(inner, ignore_errors=True)
            elif inner.name not in OURS:
                inner.unlink()
    shutil.rmtree(path, ignore_errors=True)


def _claim(path: Path, identity: Mapping[str, Any]) -> None:
    """Make sure that the work folder belongs to this run; a new one is marked as ours."""
    file = path / IDENTITY
    if not file.is_file():
        write_json(file, identity)
        return
    changed = differences(_read_json(file), dict(identity))
    if changed:
        raise BundleError(
            f"{path}: holds an unfinished run of another recipe; finish that one, choose another -o, or delete it. "
            "What differs:\n" + "\n".join(f"  {line.removeprefix('recipe.')}" for line in changed)
        )
    say(f"{path}: going on with an unfinished run")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One process a work folder; the lock falls with the process, however it ends."""
    try:
        _refuse_foreign(path)
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise BundleError(f"{path}: is in the way of the work folder; choose another -o") from None
    with (path / "lock").open("w", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BundleError(
                f"{path}: another process is working on this run; wait for it, or choose another -o"
            ) from None
        yield


def _refuse_foreign(path: Path) -> None:
    """A folder that no run has marked as its own is somebody else's, whatever its name."""
    if path.is_dir() and not (path / IDENTITY).is_file() and {file.name for file in path.iterdir()} - OURS:
        raise BundleError(f"{path}: exists and is not a work folder of Lathe; choose another -o, or move it away")


def _publish(work: Work, manifest: Manifest, out: Path) -> None:
    for name in (LOG, "quarantine.jsonl"):
        if (work.path / name).is_file():
            shutil.copyfile(work.path / name, work.result / name)
    if manifest.kind == "model":
        _write_card(work.result, manifest, out.name)
    seal(work.result, manifest)
    sync_tree(work.result)
    work.result.rename(out)
    sync_folder(out.parent)
    _remove(work.path)


def _write_card(folder: Path, manifest: Manifest, name: str) -> None:
    """Describe a model in its README, unless it came with one of its own."""
    readme = folder / "README.md"
    if not readme.exists():
        sizes = {file.relative_to(folder).as_posix(): file.stat().st_size for file in files_below(folder)}
        config = folder / "config.json"
        values = json.loads(config.read_text(encoding="utf-8")) if config.is_file() else {}
        readme.write_text(card(name, manifest, sizes, values.get("model_type", "")), encoding="utf-8")
