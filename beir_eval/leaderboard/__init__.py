"""Results become a leaderboard: read, compared, and shown as a page, as pictures and as tables."""
