"""Models as torch sees them: every module here imports it, so import them where they are used."""
