"""vltp segment: what in pictures, videos or a bag serves a task."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from vltp_ros.cli.options import Command, ModelOptions
from vltp_ros.runtime.settings import InferenceSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vltp_ros.imaging.instances import Instance
    from vltp_ros.imaging.sources import Source
    from vltp_ros.runtime.session import Session
    from vltp_ros.types import Segmentation

LOG = logging.getLogger(__name__)


@dataclass
class Segment(ModelOptions, Command):
    """Segment pictures or videos, to masks and overlays for each task, or a bag, to another bag."""

    sources: tyro.conf.Positional[tuple[str, ...]]
    """Pictures and videos in any common format, folders of them, patterns such as '*.jpg', - for
    standard input, camera:0 for a webcam; or a recorded ROS bag (rosbag2's directory)."""
    task: Annotated[tuple[str, ...], tyro.conf.UseAppendAction]
    """What is to be done, e.g. "something to drive a nail"; --task may be given more than once."""
    out: Path = Path()
    """Directory to write to, made if missing; for a bag, the new bag, which must not exist yet."""
    probability: bool = False
    """Also write each pixel's probability as grey, 0 to 255."""
    kept: bool = False
    """Also write how much work each part of the picture got as grey, 255 where all stages ran."""
    frames: int | None = None
    """Frames or pages of each source to take at most; all, but of a webcam one, if not given."""
    image_topic: str = ""
    """Topic of a bag's images, raw or compressed; not needed where it has only one."""
    settings: Annotated[InferenceSettings, tyro.conf.arg(name="")] = field(
        default_factory=InferenceSettings
    )


def run(args: Segment) -> dict:
    """Segment and write the files; ValueError for a bad picture, bag, task, model or setting.

    Of several pictures, one that cannot be read costs itself alone.
    """
    from vltp_ros.imaging.sources import is_bag
    from vltp_ros.runtime.caveat import caveat_of

    if not args.sources or not args.task:
        missing = "--task" if args.sources else "a picture"
        raise ValueError(f"{missing} is missing; give at least one")
    if args.frames is not None and args.frames < 1:
        raise ValueError(f"--frames is {args.frames}; it must be at least 1")
    bags = [source for source in args.sources if is_bag(Path(source))]
    answer = _segment_bag(bags[0], args) if bags else _segment_pictures(args)
    if caveat := caveat_of(args.model_directory):
        LOG.warning(caveat)
    return {**answer, "caveat": caveat}


def _segment_bag(bag: str, args: Segment) -> dict:
    """Segment a bag."""
    from vltp_ros.imaging.bags import segment_bag

    if len(args.sources) > 1:
        raise ValueError(f"{bag} is a bag; a bag is segmented alone")
    for name in ("probability", "kept", "frames"):
        if getattr(args, name):
            raise ValueError(f"--{name} has no effect on a bag; {bag} is one")
    session = _loaded(args)
    return segment_bag(Path(bag), args.image_topic, args.out, session, args.task)


def _loaded(args: Segment) -> Session:
    """Load the model, and warn of tasks whose words it has not seen."""
    from vltp_ros.network.words import unseen_words
    from vltp_ros.runtime.caveat import doubt_about

    session = args.load(args.settings)
    for task in args.task:
        if doubt := doubt_about(task, unseen_words(task, session.model.config.words)):
            LOG.warning(doubt)
    return session


def _segment_pictures(args: Segment) -> dict:
    """Segment pictures and videos, with one model; say what each answer is, and what failed."""
    from vltp_ros.imaging.sources import find_sources
    from vltp_ros.progress import progress_bar

    if args.image_topic:
        raise ValueError(f"--image-topic is {args.image_topic}, but {args.sources[0]} is no bag")
    sources = find_sources(args.sources)
    session = _loaded(args)
    answer: dict = {"model": session.name, "results": [], "failed": {}}
    with progress_bar(unit="picture", leave=False) as bar:
        for source in sources:
            try:
                for found in _segment(source, session, args):
                    answer["results"].append(found)
                    bar.update()
            except ValueError as error:
                if len(sources) == 1:
                    raise
                LOG.error("%s", error)
                answer["failed"][source.name] = str(error)
    return answer


def _segment(source: Source, session: Session, args: Segment) -> Iterator[dict]:
    """Segment the pictures of a source, write the files, and say what they answer."""
    from vltp_ros.imaging.answer_files import AnswerFiles
    from vltp_ros.imaging.instances import separate
    from vltp_ros.imaging.tracking import Tracker

    tracker = Tracker()
    with AnswerFiles(source, args.out, args.probability, args.kept) as files:
        for shot in source.shots(args.frames):
            if shot.seconds is None:  # no picture of a file says anything about the next
                tracker = Tracker()
            answers = session.segment(
                shot.pixels, args.task, stamp=shot.seconds, stream=source.name
            )
            separated = dict(enumerate(map(separate, answers)))
            numbered = tracker.update(separated, seconds=shot.seconds or 0.0)
            for result, instances in zip(answers, numbered.values(), strict=True):
                yield {
                    "source": source.name,
                    **({} if shot.frame is None else {"frame": shot.frame}),
                    **_described(result, instances),
                    **files.write(shot, result, instances),
                }


def _described(result: Segmentation, instances: tuple[Instance, ...]) -> dict:
    """Return what the JSON says of an answer; boxes and centroids in pixels of the picture."""
    return {
        "task": result.task,
        "found": result.found,
        "score": round(result.score, 4),
        "unseen_words": result.unseen_words,
        "box": result.box,
        "area": result.area,
        "instances": [
            {
                "id": instance.track,
                "box": instance.box,
                "centroid": [round(value, 1) for value in instance.centroid],
                "area": instance.area,
                "score": round(instance.score, 4),
            }
            for instance in instances
        ],
        "rates": result.rates,
        "kept_tokens": [int(kept.sum()) for kept in result.kept],
        "total_tokens": result.kept[0].size if result.kept else 0,
        "csp": result.csp,
        "times_ms": {name: round(ms, 2) for name, ms in result.times_ms.items()},
    }


def describe(answer: dict) -> str:
    """Return one line per answer, or one about the bag."""
    if "bag" in answer:
        broken_off = f"; the bag breaks off: {answer['broken_off']}" * bool(answer["broken_off"])
        counts = f"{answer['answered']} of {answer['images']} images answered"
        return f"{counts}: {answer['bag']}{broken_off}"
    return "\n".join(map(_line, answer["results"]))


def _line(found: dict) -> str:
    """Return one answer in words."""
    where = " ".join(str(found[key]) for key in ("source", "frame") if key in found)
    what = f"{found['area']} px" if found["found"] else "nothing here serves this"
    return f"{where}: {found['task']}: {what}, {found['score']:.2f}: {found['overlay_path']}"


def status(answer: dict) -> int:
    """Return the exit status: 1 when one of several pictures could not be read."""
    return int(bool(answer.get("failed")))
