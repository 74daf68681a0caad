"""docs/ros.md and the security policy name every topic, service and action of the node."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from bench import start

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "ros.md").read_text()
POLICY = ElementTree.parse(ROOT / "config" / "sros2" / "vltp.policy.xml")
ACTION = re.compile(r"(.*)/_action/\w+")
COMMON = {"/parameter_events", "/rosout", "/vltp/transition_event"}  # every lifecycle node's


def full(name: str) -> str:
    """A topic's name as the node without a namespace has it."""
    return name.replace("~", "/vltp") if name.startswith("~") else f"/{name.lstrip('/')}"


def documented(heading: str) -> set[str]:
    """The names in the first column of the tables under a heading."""
    section = DOCUMENT.split(f"## {heading}\n")[1].split("\n## ")[0]
    return {full(name) for name in re.findall(r"^\| `([^`]+)`", section, re.MULTILINE)}


def allowed(kind: str, right: str) -> set[str]:
    groups = POLICY.findall(f".//{kind}s[@{right}='ALLOW']")
    return {full(element.text) for group in groups for element in group.findall(kind)}


@pytest.fixture
def graph(make_vltp, vision):
    """Subscriptions, publications and services of a node that does everything, by its own word."""
    node = make_vltp(depth=True)
    start(node)
    name = (node.get_name(), node.get_namespace())
    return [
        {topic for topic, _ in names(*name)}
        for names in (
            node.get_subscriber_names_and_types_by_node,
            node.get_publisher_names_and_types_by_node,
            node.get_service_names_and_types_by_node,
        )
    ]


def test_every_name_is_documented_and_allowed(graph):
    subscribed, published, served = graph
    topics = {name for name in subscribed | published if not ACTION.fullmatch(name)} - COMMON
    assert documented("Topics") == topics | {"/image/compressed"}
    own = {"/vltp/segment", "/vltp/enable", "/vltp/find_affordance"}
    assert documented("Services and action") == own
    assert allowed("topic", "subscribe") == subscribed | {"/image/compressed", "/clock"}
    assert allowed("topic", "publish") == {n for n in published if not ACTION.fullmatch(n)}
    services = {name for name in served if not ACTION.fullmatch(name)}
    assert allowed("service", "reply") >= services
    assert {ACTION.fullmatch(n)[1] for n in served if ACTION.fullmatch(n)} == allowed(
        "action", "execute"
    )
