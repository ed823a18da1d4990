"""Turn signatures into a training set: canvases in shards, with folds that share no writer.

    python -m training.prepare CEDAR.zip --out sets/cedar
    python -m training.prepare scans/ --out sets/own --name own                     a folder with manifest.csv
    python -m training.prepare s3://bucket/raw/ --out sets/own --upload s3://bucket/sets/own

SOURCE is a folder, an archive (zip, tar; rar and 7z through libarchive) or an S3 prefix. Inside is CEDAR's own layout
(full_org/original_W_N.png, full_forg/forgeries_W_N.png), genuine/WRITER/*.png with forged/WRITER/*.png, or a
manifest.csv with columns path, writer, kind (genuine or forged) and, where several people write the same words, text.

Whoever has two genuine signatures and a forgery at least is held out in one of five folds, which training and
evaluation go by; everyone else adds breadth. A bundle needs ten such writers, better fifty.

Interrupt it whenever you like: the same command goes on where it stopped, and does nothing when all is done. Images
that preprocessing refuses are counted, not kept. The set holds canvases, no scans: 4 kB a signature at most.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from embeddings.preprocess import PREPROCESSING_VERSION
from training import aws, canvases, datasets, folds, sources, training_set
from training.archives import HostileArchive, Limits, UnreadableArchive
from training.datasets import BrokenDataset, Signature
from training.training_set import SET, BrokenTrainingSet, Fold

SHARD = 256
MENDABLE = (BrokenDataset, BrokenTrainingSet, HostileArchive, UnreadableArchive, aws.CloudProblem)
console = Console(stderr=True)


def prepare(signatures: Sequence[Signature], out: Path, source: str, progress: Progress, seed: int = 1) -> dict:
    """Writes the training set of these signatures to `out`, or what is still missing of it; answers `set.json`."""
    out.mkdir(parents=True, exist_ok=True)
    (out / SET).unlink(missing_ok=True)  # whoever reads it meanwhile must not take a mixture for a set
    task = progress.add_task("preprocessing", total=len(signatures))
    shards = []
    for number, first in enumerate(range(0, len(signatures), SHARD)):
        part = signatures[first : first + SHARD]
        path = out / training_set.shard_name(number, digest(part))
        if not path.exists():
            training_set.write_shard(path, canvases.load(part, quiet=True))
        shards.append(path)
        progress.advance(task, len(part))
    for path in set(out.glob("shard-*")) - set(shards):  # of signatures that changed since
        path.unlink()
    return training_set.finish(out, shards, split(signatures, seed), source)


def digest(part: Sequence[Signature]) -> str:
    """Of contents and labels: the same signatures give the same name on every machine."""
    facts = hashlib.sha256(PREPROCESSING_VERSION.encode())
    for one in part:
        facts.update(f"\n{one.owner} {one.text} {one.genuine} ".encode())
        facts.update(hashlib.sha256(one.path.read_bytes()).digest())
    return facts.hexdigest()


def split(signatures: Sequence[Signature], seed: int = 1) -> list[Fold]:
    """Five folds. CEDAR keeps its frozen ones; a writer without forgeries or with a single genuine signature only
    adds breadth and is never tested on, unless there is nobody else. Raises BrokenDataset."""
    genuine = Counter(one.owner for one in signatures if one.genuine)
    forged = {one.owner for one in signatures if not one.genuine}
    owners = sorted(owner for owner in forged if genuine[owner] > 1) or datasets.owners(signatures)
    if owners == sorted(owner for fold in range(5) for owner in folds.split(fold)[2]):
        return [Fold(test, calibrate) for _, calibrate, test in map(folds.split, range(5))]
    try:
        return [Fold(test, calibrate) for test, calibrate in folds.draw(owners, seed)]
    except ValueError as problem:
        raise BrokenDataset(str(problem)) from problem


def options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m training.prepare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", help="folder, archive or s3://bucket/prefix")
    parser.add_argument("--out", type=Path, required=True, help="folder of the training set")
    parser.add_argument("--name", default="own", help="what your collection is called in the model card")
    parser.add_argument("--seed", type=int, default=1, help="which writers share a fold; CEDAR's folds are frozen")
    parser.add_argument("--upload", metavar="s3://BUCKET/PREFIX", help="copy the finished set there")
    parser.add_argument("--kms-key", help="KMS key that encrypts the copy; by default the bucket decides")
    parser.add_argument("--work", type=Path, help="where archives are unpacked; by default OUT.work")
    parser.add_argument("--max-gib", type=int, default=8, help="an archive that unpacks to more is refused")
    parser.add_argument("--max-files", type=int, default=500_000, help="an archive with more files is refused")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> dict:
    """The command line; answers what `set.json` says."""
    chosen = options(arguments)
    limits = Limits(bytes=chosen.max_gib << 30, files=chosen.max_files)
    with aws.explained(MENDABLE), _progress() as progress:
        work = chosen.work or chosen.out.with_name(f"{chosen.out.name}.work")
        signatures = sources.read(sources.bring(chosen.source, work, progress, limits), chosen.name)
        described = prepare(signatures, chosen.out, Path(chosen.source).name, progress, chosen.seed)
        if chosen.upload:
            aws.upload_folder(chosen.out, chosen.upload, progress, last=SET, kms_key=chosen.kms_key)
    console.print(
        f"{chosen.upload or chosen.out}: {described['signatures']} signatures of {described['owners']} owners, "
        f"{described['unusable']} unusable, data {described['data_hash'][:12]}"
    )
    return described


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console
    )


if __name__ == "__main__":
    main(sys.argv[1:])
