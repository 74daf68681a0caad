"""Qualities of service that parameters override."""

from __future__ import annotations

import json

import pytest
from bench import Camera, diagnosis, start, state
from diagnostic_msgs.msg import DiagnosticStatus
from fake_session import FakeSession
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from vltp_ros.node.node import THREADS, VltpNode
from vltp_ros.node.qos import LATCHED, NEWEST

RELIABLE, BEST_EFFORT = ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT
OF_RCLPY = ("/rosout", "/parameter_events", "/vltp/transition_event", "/clock")


@pytest.fixture
def make_overridden(bench, tmp_path):
    """Makes the node with parameters from a file, as a user gives them."""

    def make(*arguments, **parameters):
        file = tmp_path / "parameters.yaml"
        file.write_text(json.dumps({"/**": {"ros__parameters": parameters}}))  # YAML as well
        arguments = ["--ros-args", "--params-file", str(file), *arguments]
        return bench.add(VltpNode(FakeSession.load, cli_args=arguments), THREADS)

    return make


def offered(bench, topic):
    """Quality of service of the one publisher of a topic."""
    return bench.wait(lambda: bench.node.get_publishers_info_by_topic(topic))[0].qos_profile


def asked_for(bench, topic):
    """Quality of service of the one subscription to a topic."""
    return bench.wait(lambda: bench.node.get_subscriptions_info_by_topic(topic))[0].qos_profile


def test_every_topic_has_parameters(make_vltp):
    vltp = make_vltp(depth=True, cameras=["front", "wrist"])
    start(vltp)
    for kind, names in (
        ("publisher", vltp.get_publisher_names_and_types_by_node("vltp", "/")),
        ("subscription", vltp.get_subscriber_names_and_types_by_node("vltp", "/")),
    ):
        topics = [name for name, _ in names if name not in OF_RCLPY and "/_action/" not in name]
        assert len(topics) >= 8
        for topic in topics:
            for policy in ("reliability", "depth", "history"):
                assert vltp.has_parameter(f"qos_overrides.{topic}.{kind}.{policy}")


def test_parameters_override_what_the_topics_offer_and_ask_for(bench, make_overridden):
    best_effort = {"reliability": "best_effort"}
    vltp = make_overridden(
        "-r",
        "image:=/eye/image_raw",
        depth=True,
        qos_overrides={
            "/vltp/mask": {"publisher": best_effort},
            "/vltp/overlay": {"publisher": {"durability": "transient_local", "depth": 3}},
            "/vltp/active_tasks": {"publisher": {"durability": "volatile"}},
            "/diagnostics": {"publisher": best_effort},
            "/eye/image_raw": {"subscription": best_effort},
            "/camera_info": {"subscription": {"durability": "transient_local"}},
            "/task": {"subscription": best_effort},
        },
    )
    start(vltp)
    for again in (False, True):
        if again:  # publishers and subscriptions are others, the parameters the same
            for transition in ("deactivate", "cleanup", "configure", "activate"):
                trigger = getattr(vltp, f"trigger_{transition}")
                assert trigger() == TransitionCallbackReturn.SUCCESS
        assert offered(bench, "/vltp/mask").reliability == BEST_EFFORT
        assert offered(bench, "/vltp/kept").reliability == RELIABLE
        assert offered(bench, "/vltp/overlay").durability == DurabilityPolicy.TRANSIENT_LOCAL
        assert offered(bench, "/vltp/active_tasks").durability == DurabilityPolicy.VOLATILE
        assert offered(bench, "/diagnostics").reliability == BEST_EFFORT
        assert asked_for(bench, "/eye/image_raw").reliability == BEST_EFFORT
        assert asked_for(bench, "/depth").reliability == RELIABLE
        assert asked_for(bench, "/camera_info").durability == DurabilityPolicy.TRANSIENT_LOCAL
        assert asked_for(bench, "/task").reliability == BEST_EFFORT
        assert asked_for(bench, "/tasks").reliability == RELIABLE
    assert NEWEST.reliability == RELIABLE  # what several share is nobody's to change
    assert LATCHED.durability == DurabilityPolicy.TRANSIENT_LOCAL
    masks = bench.listen(Image, "vltp/mask", QoSProfile(depth=1, reliability=BEST_EFFORT))
    bench.wait(lambda: masks, meanwhile=Camera(bench, "/eye/image_raw"))


def test_a_sensor_s_reliability_no_longer_follows_the_publishers(bench, make_overridden):
    reliable = {"/image": {"subscription": {"reliability": "reliable"}}}
    start(make_overridden(qos_overrides=reliable))
    bench.node.create_publisher(Image, "image", QoSProfile(depth=1, reliability=BEST_EFFORT))
    status = diagnosis(bench, lambda status: "quality of service" in status.message)
    assert "or what overrides it" in status.message
    assert asked_for(bench, "/image").reliability == RELIABLE


def test_a_sensor_s_reliability_follows_the_publishers_by_an_override(bench, make_overridden):
    auto = {"/image": {"subscription": {"reliability": "auto"}}}
    vltp = make_overridden(image_reliability="best_effort", depth=True, qos_overrides=auto)
    start(vltp)
    assert asked_for(bench, "/depth").reliability == BEST_EFFORT
    assert asked_for(bench, "/image").reliability == RELIABLE
    publisher = bench.node.create_publisher(
        Image, "image", QoSProfile(depth=1, reliability=BEST_EFFORT)
    )
    bench.wait(lambda: asked_for(bench, "/image").reliability == BEST_EFFORT)
    bench.node.destroy_publisher(publisher)
    bench.wait(lambda: asked_for(bench, "/image").reliability == RELIABLE)


@pytest.mark.parametrize(
    ("topic", "kind", "override", "words"),
    [
        ("/vltp/mask", "publisher", {"history": "keep_all"}, "history is 'keep_all'; allowed"),
        ("/image", "subscription", {"history": "keep_all"}, "history is 'keep_all'; allowed"),
        ("/vltp/timing", "publisher", {"depth": 0}, "depth is 0; it must be between 1 and 10000"),
        ("/tasks", "subscription", {"depth": -1}, "depth is -1"),
        (
            "/image",
            "subscription",
            {"reliability": "fast"},
            "is 'fast'; allowed: auto, best_effort",
        ),
        ("/vltp/mask", "publisher", {"reliability": "fast"}, "fast"),
        ("/image", "subscription", {"depth": "many"}, "depth"),
    ],
)
def test_refused_overrides(bench, make_overridden, topic, kind, override, words):
    vltp = make_overridden(qos_overrides={topic: {kind: override}})
    vltp.autostart()
    status = diagnosis(bench, lambda status: words in status.message)
    assert status.level == DiagnosticStatus.ERROR
    assert state(bench) == "unconfigured" and not FakeSession.open
