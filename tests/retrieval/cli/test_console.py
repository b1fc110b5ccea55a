"""What a terminal is shown."""

import pytest

from retrieval.cli.console import progress


def test_a_bar_says_how_training_goes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """One bar for the stage, with what stands behind its comma, and steps as its unit; slow ones with two digits."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    with progress() as show:
        for done in (1, 2):
            show(f"training, loss {1 / done:.4f}", done, 4)
    shown = capsys.readouterr().err
    assert "training, loss 0.5000" in shown
    assert "2/4" in shown
    assert "steps/s" in shown
