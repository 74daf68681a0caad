"""What the command says about itself, and completes in a shell."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from importlib.metadata import version

import pytest

from vltp_ros.cli.finetune import Finetune
from vltp_ros.cli.main import COMMANDS, main
from vltp_ros.cli.parsing import parse
from vltp_ros.cli.train import Train
from vltp_ros.training.config import FINETUNING, TrainConfig
from vltp_ros.training.presets import PRESETS


def test_help_names_every_command(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name, capsys):
    with pytest.raises(SystemExit) as stop:
        main([name, "--help"])
    assert stop.value.code == 0 and "--json" in capsys.readouterr().out


def test_help_and_version(capsys):
    assert main(["help"]) == 0 and capsys.readouterr().out.startswith("usage: vltp COMMAND")
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"vltp {version('vltp_ros')}\n"
    with pytest.raises(SystemExit) as stop:
        main(["help", "flops"])
    assert stop.value.code == 0 and "usage: vltp flops" in capsys.readouterr().out


NEEDED = {
    "finetune": ["--init", "a", "--data", "b", "--run", "c", "--out", "d"],
    "train": ["--stage", "prune", "--init", "a", "--data", "b", "--run", "c", "--out", "d"],
}


@pytest.mark.parametrize(("command", "cls"), [("finetune", Finetune), ("train", Train)])
@pytest.mark.parametrize("preset", ["paper", "authors"])
def test_a_preset_gives_way_to_what_is_given(command, cls, preset):
    settings = PRESETS[command][preset]
    config = parse(cls, [*NEEDED[command], "--preset", preset], command).config
    assert {name: getattr(config, name) for name in settings} == settings
    words = ["--warmup", "7", f"--preset={preset}", *NEEDED[command], "--betas", "0.5", "0.6"]
    config = parse(cls, words, command).config
    assert (config.warmup, config.betas, config.learning_rate) == (7, (0.5, 0.6), 3e-4)


def test_presets_differ_where_the_papers_and_the_authors_settings_do():
    for command, named in PRESETS.items():
        differences = {
            key: (named["paper"].get(key), named["authors"].get(key))
            for key in named["paper"] | named["authors"]
            if named["paper"].get(key) != named["authors"].get(key)
        }
        assert (
            differences
            == {
                "finetune": {"token_weight": (None, 1.0), "train_words": (None, True)},
                "train": {"steps": (4500, 5000), "top_k": ("soft", None)},
            }[command]
        )


def test_a_preset_that_does_not_exist_is_refused(capsys):
    assert main(["finetune", *NEEDED["finetune"], "--preset", "mine"]) == 2
    assert "--preset is 'mine'; allowed: paper, authors" in capsys.readouterr().err
    words = [*NEEDED["train"], "--preset", "paper"]
    words[1] = "dense"
    assert main(["train", *words]) == 2
    assert "--preset is paper; it is for --stage prune" in capsys.readouterr().err


LARGE = ("torch", "transformers", "segment_anything", "cv2", "PIL", "mujoco")
EXTRAS = ("bitsandbytes", "google.protobuf", "openvino", "peft", "rosbags", "websockets")

HELP = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        assert name not in sys.argv[1:], f"{name} is imported"

sys.meta_path.insert(0, Missing())
from vltp_ros.cli.main import COMMANDS, main
for name in COMMANDS:
    try:
        main([name, "--help"])
    except SystemExit as stop:
        assert stop.code == 0, name
"""


def test_help_needs_no_library_that_is_large_or_may_be_missing():
    command = [sys.executable, "-c", HELP, *LARGE, *EXTRAS, "rclpy"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == "", done.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_in_words(name, capsys):
    with pytest.raises(SystemExit):
        main([name, "--help"])
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for internal in ("None", "(default: )", "False", "MISSING", "[INT", "Config", "FLOAT", "STR"):
        assert internal not in text, internal


def options_of(name, capsys):
    with pytest.raises(SystemExit):
        main([name, "--help"])
    return set(re.findall(r"--[\w.-]+", capsys.readouterr().out))


def test_commands_that_train_have_the_settings_that_they_use(capsys):
    shown = {
        name: options_of(name, capsys) for name in ("train", "finetune", "baselines", "tables")
    }
    assert all(options >= {"--steps", "--learning-rate"} for options in shown.values())
    for option, commands in (
        ("--gradient-checkpointing", {"finetune"}),
        ("--freeze-encoder", {"train"}),
        ("--mosaic", {"train", "finetune", "baselines"}),
        ("--rates", {"train", "baselines"}),
    ):
        assert {name for name, options in shown.items() if option in options} == commands


def test_what_a_command_does_not_show_keeps_its_default():
    words = [word for name in ("data", "run", "out") for word in (f"--{name}", "x")]
    assert parse(Finetune, ["--init", "x", *words], "finetune").config == FINETUNING
    parsed = parse(
        Train, ["--stage", "dense", *words, "--no-bfloat16", "--rates", "0", "1e-1"], "train"
    )
    assert parsed.config == TrainConfig(bfloat16=False, rates=(0.0, 0.1))


def completed(words, script):
    """What bash offers for the last of some words."""
    line = f". {script}; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _tyro_vltp"
    done = subprocess.run(
        ["bash", "-c", f"{line}; echo ${{COMPREPLY[@]}}"], capture_output=True, text=True
    )
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return done.stdout.split()


def test_bash_completes_commands_and_options(tmp_path, capsys):
    script = tmp_path / "vltp.bash"
    assert main(["completion", "bash"]) == 0
    script.write_text(capsys.readouterr().out)
    subprocess.run(["bash", "-n", script], check=True)
    assert completed("vltp fl", script) == ["flops"]
    assert completed("vltp benchmark enc", script) == ["encoder"]
    assert set(completed("vltp flops --ra", script)) == {"--rates"}
    assert set(completed("vltp flops --sam vit_h", script)) == {"vit_h"}
    assert "--gradient-checkpointing" in completed("vltp finetune --gr", script)


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_a_script_too(shell, capsys):
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(name in script for name in COMMANDS) and "--prune-after" in script
    if shutil.which(shell):
        checked = subprocess.run([shell, "-n"], input=script, capture_output=True, text=True)
        assert checked.returncode == 0, checked.stderr


def test_a_reader_that_has_gone_ends_the_command_quietly():
    for words in ("help", "segment --help", "flops --sam vit_h"):
        command = f"{sys.executable} -m vltp_ros.cli.main {words} | true"
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
        assert done.stderr == ""
