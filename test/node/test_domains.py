"""ROS domains: one for each who asks, whoever the lock files belong to."""

from __future__ import annotations

import os

from vltp_ros.rig.processes import DOMAINS, free_domain


def test_who_asks_at_the_same_time_gets_another():
    with free_domain() as first, free_domain() as second:
        assert first != second and {first, second} <= set(range(1, DOMAINS + 1))


def test_a_domain_is_free_again(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for _ in range(DOMAINS + 1):
        with free_domain():
            pass
    files = list(tmp_path.iterdir())
    assert len(files) == DOMAINS and not any(path.stat().st_size for path in files)


def test_the_one_that_was_given_back_longest_ago_is_taken(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    taken = []
    for _ in range(DOMAINS):
        with free_domain() as domain:
            taken.append(domain)
    assert sorted(taken) == list(range(1, DOMAINS + 1))
    for seconds, domain in enumerate((44, 7), 1):
        os.utime(tmp_path / f"vltp_ros_domain_{domain}", (seconds, seconds))
    with free_domain() as first, free_domain() as second:
        assert (first, second) == (44, 7)
    with free_domain() as third:
        assert third not in (44, 7)


def test_another_users_files_can_be_locked(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for number in range(1, DOMAINS + 1):
        (tmp_path / f"vltp_ros_domain_{number}").touch(mode=0o444)
    with free_domain():
        pass
