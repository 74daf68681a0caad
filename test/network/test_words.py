"""Words that a model has never seen: gibberish, other languages, other things."""

from __future__ import annotations

import dataclasses

import pytest
from builders import crowded_scenes

from vltp_ros.checkpoints.model_directory import read_description
from vltp_ros.network.words import unseen_words, vocabulary_of
from vltp_ros.paths import default_model, shipped
from vltp_ros.simulation import TASKS
from vltp_ros.training.new_model import new_model
from vltp_ros.training.vocabulary import sentences_of, vocabulary_after


@pytest.mark.parametrize(
    ("task", "unseen"),
    [
        ("Something to DRIVE a nail!", ()),
        ("asdf qwer asdf", ("asdf", "qwer")),
        ("etwas zum Brotschneiden", ("etwas", "zum", "brotschneiden")),
        ("drive a \uff4eail", ()),  # full width, as a tokenizer normalises it too
        ("driveanail", ("driveanail",)),
        ("?!", ("?!",)),
        ("7", ("7",)),
    ],
)
def test_what_was_not_in_the_sentences_is_unseen(task, unseen):
    vocabulary = vocabulary_of(["something to drive a nail", "I'd cut bread"])
    assert unseen_words(task, vocabulary) == unseen
    assert unseen_words(task, "") == ()


def test_a_new_model_knows_the_words_of_its_sentences():
    assert new_model(["cut bread", "Cut it"], 0).config.words == "bread cut it"


@pytest.mark.parametrize(
    ("directory", "edition"), [(default_model(), 1), (shipped("models/crowded"), 2)]
)
def test_what_ships_lists_the_words_of_its_training(directory, edition):
    config, _ = read_description(directory)
    assert not any(unseen_words(text, config.words) for text in sentences_of(edition))
    assert unseen_words("asdf qwer", config.words) == ("asdf", "qwer")
    assert len(config.words.split()) < 500


def test_a_training_on_scenes_adds_words_and_one_on_public_data_ends_the_list(tmp_path):
    scenes = crowded_scenes(tmp_path, 1)
    more = vocabulary_after("asdf", scenes)
    assert not unseen_words("asdf", more) and not unseen_words("find the lamp", more)
    assert vocabulary_after("", scenes) == ""  # it may have seen any
    assert vocabulary_after("asdf", dataclasses.make_dataclass("Public", [])()) == ""


def test_held_out_phrasings_have_few_unseen_words():
    vocabulary = vocabulary_of(sentences_of(1))
    held_out = [text for task in TASKS for text in task.heldout_phrasings]
    assert sum(bool(unseen_words(text, vocabulary)) for text in held_out) < len(held_out) / 2
