"""pixelrnn serve, before it serves: what it says, and what it refuses. The page itself is tested in tests/web."""

from __future__ import annotations

import socket
import sys

import pytest
from command import Cli


def test_a_port_in_use_is_one_sentence(cli: Cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = cli("serve", "mnist", "--port", taken.getsockname()[1])
    assert result.status == 2
    assert "cannot listen on 127.0.0.1" in result.err
    assert "--port 0" in result.err


def test_what_is_no_model_is_refused(cli: Cli) -> None:
    result = cli("serve", "mnst")
    assert result.status == 1
    assert "Did you mean 'mnist'?" in result.err


def test_without_its_packages_it_says_what_to_install(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pixelrnn.web.server", None)
    result = cli("serve")
    assert result.status == 2
    assert "pip install 'pixelrnn[web]'" in result.err


def test_others_on_the_network_are_mentioned(cli: Cli) -> None:
    with socket.create_server(("0.0.0.0", 0)) as taken:
        result = cli("serve", "mnist", "--host", "0.0.0.0", "--port", taken.getsockname()[1])
    assert "everyone who can reach 0.0.0.0" in result.err
