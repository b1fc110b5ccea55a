import pytest

from retrieval.beir_eval.leaderboard.board import Board, Price, make_board
from retrieval.beir_eval.leaderboard.data import read_scores
from tests.beir_eval.leaderboard.making import several


@pytest.fixture(scope="session")
def board(tmp_path_factory: pytest.TempPathFactory) -> Board:
    """Four systems on two sets, with a price."""
    folder = several(tmp_path_factory.mktemp("results"))
    return make_board(read_scores(folder), price=Price(per_hour=0.2), baseline="bad")
